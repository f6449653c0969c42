"""events.jsonl: each thing once, whole up to its last line, and in the table with the rest."""

from __future__ import annotations

import gzip
import json
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from soakbed.archive.data.host_events import host_events
from soakbed.archive.data.samples import samples_of_target
from soakbed.archive.data.watched import FILE, append_events, joined, read_events
from soakbed.records.policy import POLICY, event, left_out
from soakbed.stages.blocks import phase_blocks
from soakbed.stages.measure import measure
from soakbed.stages.probes.samples import COLUMNS, SCHEMA
from soakbed.stats.phase_data import of_windows
from soakbed.stats.windows import phase_numbers
from tests.unit.soakbed.archive.spools import BEGAN_S, target, window
from tests.unit.soakbed.archive.test_host_events import AT_S, folder_of, journal

SOURCES = {"cpu_steal": ["host", "any"], "network": ["host", "any"], "disk_operations": None}


def write_counters(folder, began_s, used):
    """Samples every 5 s of a sampler that counts nothing but what is `used` in each of them."""
    names = ("at_s", "mono_s", *(name for name in COLUMNS[2:]))
    start = {
        "schema": SCHEMA, "interval_s": 5, "boot": "one", "cores": 2, "sources": SOURCES,
        "columns": names, "unit_columns": [],
    }  # fmt: skip
    records: list[object] = [start]
    for place in range(5):
        counters = {name: sum(rises[: place + 1]) for name, rises in used.items()}
        at_s = 5.0 * place
        records.append([began_s + at_s, at_s, *(counters.get(name) for name in names[2:]), {}])
    folder.mkdir(parents=True)
    lines = (json.dumps(record).encode() for record in records)
    content = b"".join(b"%08x %s\n" % (zlib.crc32(line), line) for line in lines)
    (folder / "samples.jsonl.gz").write_bytes(gzip.compress(content))


WATCHED = tuple(row.kind for row in POLICY if "watch" in row.sources)


def told(kind: str, at_s: float, text: str = "said", *, until_s=None, host="d1"):
    return event(kind, at_s, until_s=until_s, host=host, source="watch", text=text)


EVENTS = st.builds(
    told,
    st.sampled_from(WATCHED),
    st.floats(1, 1e9),
    st.text(max_size=20),
    host=st.sampled_from(["d1", "l1"]),
)


@settings(max_examples=40)
@given(st.lists(EVENTS, max_size=5), st.integers(1, 60))
def test_what_was_written_is_read_again_whatever_a_crash_cut_off_the_end(
    tmp_path_factory, held, cut
):
    folder = tmp_path_factory.mktemp("t")
    news = append_events(folder, held)
    assert read_events(folder) == (news, 0)
    assert append_events(folder, held) == []
    path = folder / FILE
    if news:
        path.write_bytes(path.read_bytes()[:-cut])
        before, _ = read_events(folder)
        more = told("alarm", 2e9, "NOSPACE")
        assert append_events(folder, [more]) == [more]
        assert read_events(folder)[0] == [*before, more]


def test_a_state_is_told_once_and_again_after_hours(tmp_path):
    full = [
        told("disk_filling", at_s, f"/data: {at_s} %") for at_s in (0.0, 30.0, 21_599.0, 22_000)
    ]
    assert append_events(tmp_path, full) == [full[0], full[3]]
    other = told("disk_filling", 60.0, "/var: 91 %")
    assert append_events(tmp_path, [other]) == [other]


def test_looks_that_follow_each_other_tell_one_stretch():
    looks = [told("throttled", at_s, until_s=at_s + 30.0) for at_s in (0.0, 30.2, 60.1, 300.0)]
    assert [(one.at_s, one.until_s) for one in joined(looks)] == [(0.0, 90.1), (300.0, 330.0)]
    apart = [told("leader_change", at_s) for at_s in (1.0, 2.0)]
    assert list(joined(apart)) == apart


def test_what_a_journal_tells_too_is_told_once_and_the_rest_stays(tmp_path):
    died = "systemd[1]: soakbed-etcd.service: Main process exited, code=killed, status=9/KILL"
    folder = folder_of(tmp_path, journal("soakbed-etcd", died), name="etcd")
    append_events(
        folder,
        [told("died", AT_S + 12), told("died", AT_S + 90), told("member_down", AT_S + 12)],
    )
    (folder / FILE).write_text((folder / FILE).read_text() + '{"kind": "al')
    found = host_events(folder)
    assert [(one.kind, one.source) for one in found.events] == [
        ("died", "journal"),
        ("member_down", "watch"),
        ("died", "watch"),
    ]
    assert found.unread == {f"{FILE}: a line that was cut": 1}


def test_what_several_hosts_said_while_it_was_watched_is_told_by_the_first_of_them(tmp_path):
    said = 'etcd[1]: {"msg":"raft.node: 1b lost leader 5a at term 3"}'
    folder = folder_of(tmp_path, journal("soakbed-etcd", said), name="etcd")
    seen = event("leader_lost", AT_S + 0.2, host="d3", source="journal", text="lost leader")
    later = event("leader_lost", AT_S + 90, host="d3", source="journal", text="lost leader")
    append_events(folder, [seen, later])
    assert [one.host for one in host_events(folder).events] == ["d1", "d3"]


def test_figures_from_the_archive_are_without_the_seconds_that_the_watch_saw_spoiled(tmp_path):
    windows = [[window(seq, worker=rank) for seq in range(40)] for rank in (0, 1)]
    target(tmp_path / "etcd", *windows)
    spoiled = told("throttled", BEGAN_S + 10.0, until_s=BEGAN_S + 12.5)
    outcome = f'{{"started_s": {BEGAN_S}, "ended_s": {BEGAN_S + 60}}}'
    (tmp_path / "etcd" / "load" / "steady.json").write_text(outcome)
    append_events(tmp_path / "etcd", [spoiled])
    made = measure(tmp_path / "etcd").phase("steady", "steady")
    expected = phase_numbers(
        of_windows([*windows[0], *windows[1]])["steady"],
        planned_s=60,
        offered_per_s=100.0,
        arrivals="poisson",
        workers=2,
        without=left_out([spoiled]),
    )
    assert made == expected
    assert (made.left_out.seconds, made.seconds, made.left_out.spans) == (3, 37.0, ((10, 13),))
    blocks = phase_blocks(tmp_path / "etcd", "steady", "steady", block_s=1)
    assert len(blocks.at_s) == 37


def test_figures_are_without_the_samples_in_which_a_host_was_throttled(tmp_path):
    windows = [window(seq) for seq in range(40)]
    folder = target(tmp_path / "etcd", windows)
    outcome = f'{{"started_s": {BEGAN_S}, "ended_s": {BEGAN_S + 60}}}'
    (folder / "load" / "steady.json").write_text(outcome)
    # From the fifth second to the tenth a packet in ten was held back, on one of two hosts.
    throttled = {"bw_out_allowance_exceeded": [0, 0, 0, 50, 0], "net_sent_packets": [500] * 5}
    for host, changed in (("d1", throttled), ("d2", {})):
        write_counters(folder / "hosts" / host, BEGAN_S - 5.0, changed)
    made = measure(folder).phase("steady", "steady")
    assert (made.left_out.seconds, made.left_out.spans) == (6, ((5, 11),))
    (one,) = host_events(folder, samples_of_target(folder, {"d1": "data"}).by_host).events
    assert (one.kind, one.host, one.severity) == ("network_throttled", "d1", "window")
