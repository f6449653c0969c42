"""What tasks hand back, put together by host and topic."""

import io

from soakbed.adapters.ansible import _Listener


def handed_back(*results):
    listener = _Listener(log=io.StringIO(), on_event=lambda _: None)
    for host, soakbed in results:
        listener(
            {"event": "runner_on_ok", "event_data": {"host": host, "res": {"soakbed": soakbed}}}
        )
    return listener.returned


def test_two_members_of_one_host_both_tell_their_settings():
    found = handed_back(
        ("d1", {"effective": {"d1-pd": {"name": "d1"}}}),
        ("d1", {"effective": {"d1-tikv": {"addr": "x"}}}),
        ("d2", {"effective": {"d2-pd": {"name": "d2"}}}),
    )
    assert found["d1"]["effective"] == {"d1-pd": {"name": "d1"}, "d1-tikv": {"addr": "x"}}
    assert set(found["d2"]["effective"]) == {"d2-pd"}


def test_what_is_told_again_stands_in_place_of_what_was():
    found = handed_back(
        ("d1", {"effective": {"d1": {"name": "old"}}, "topology": ["a", "b"]}),
        ("d1", {"effective": {"d1": {"name": "new"}}, "topology": ["c"]}),
    )
    assert found["d1"] == {"effective": {"d1": {"name": "new"}}, "topology": ["c"]}
