"""PD's and TiKV's readiness, against a local server that asks for certificates, as they do."""

import datetime as dt
import types

import pytest

from soakbed.adapters.pki import ensure_pki
from tests.ports import free_port
from tests.standins import pd_server, tikv_server
from tests.standins.local import STORES, endpoint_of, load

pd_health, tikv_health = load("pd_health"), load("tikv_health")

from ansible.module_utils import member_report, mutual_tls, pd_api  # noqa: E402

DAY = dt.timedelta(days=1)


def pd_at(pki, *endpoints):
    return pd_api.Pd(list(endpoints), mutual_tls.context(str(pki.ca), *map(str, pki.pair("root"))))


# ---- asking over mutual TLS


def test_a_member_that_is_away_is_passed_over(pki, serve):
    pd = pd_at(pki, f"127.0.0.1:{free_port()}", endpoint_of(serve()))
    assert pd.ask("/stores")["count"] == 3


def test_when_nobody_answers_every_member_is_named(pki):
    pd = pd_at(pki, "127.0.0.1:1", "127.0.0.1:2")
    with pytest.raises(pd_api.NotYet, match=r"127\.0\.0\.1:1: .*; 127\.0\.0\.1:2: "):
        pd.ask("/stores")


def test_a_change_that_is_refused_is_not_sent_to_every_member(pki, serve):
    """Each of them would hand it to the same leader."""
    member = serve()
    asked = []
    answer = member.answer

    def refusing(method, path, body):
        asked.append(method)
        return (500, "no") if method == "POST" else answer(method, path, body)

    member.answer = refusing
    pd = pd_at(pki, *[endpoint_of(member)] * 3)
    with pytest.raises(pd_api.NotYet, match="POST /pd/api/v1/operators with 500"):
        pd.ask("/operators", {"name": "transfer-leader"})
    assert asked == ["POST"]


def test_a_change_goes_to_another_member_where_one_knows_no_leader(pki, serve, tmp_path):
    leaderless, member = serve(), serve()
    leaderless.answer = lambda *_: (503, "no leader")
    pd = pd_at(pki, endpoint_of(leaderless), endpoint_of(member))
    assert pd.ask("/config", {"schedule.merge-schedule-limit": 0}) == "The config is updated."


def test_a_client_of_another_ca_is_turned_away(pki, serve, tmp_path):
    others = ensure_pki(tmp_path / "x", {"d1": ["127.0.0.1"]}, lifetime=2 * DAY, renew_below=DAY)
    tls = mutual_tls.context(str(pki.ca), *map(str, others.pair("root")))
    with pytest.raises(pd_api.NotYet, match=r"(?i)tls|ssl|reset|eof"):
        pd_api.Pd([endpoint_of(serve())], tls).ask("/stores")


def test_pd_admits_no_strangers(pki, serve):
    port = int(endpoint_of(serve()).rpartition(":")[2])
    assert not mutual_tls.admits_strangers("127.0.0.1", port, str(pki.ca))


@pytest.mark.parametrize("text", ["<html>", "{"])
def test_an_answer_that_is_not_json_says_whose(text):
    with pytest.raises(pd_api.NotYet, match="d1 does not answer JSON"):
        pd_api.data(text, "d1")


# ---- PD's own readiness


def health_options(member, **more):
    port = int(endpoint_of(member).rpartition(":")[2])
    usual = {"name": "d1", "address": "127.0.0.1", "ports": [port], "limits": {}, "wants": {}}
    return usual | more


@pytest.fixture
def look(pki, serve):
    """One look of pd_health at a stand-in."""

    def made(member=None, *, check=False, **more):
        member = member or serve()
        options = {"ca": str(pki.ca), **health_options(member, **more)}
        return pd_health.look(pd_at(pki, endpoint_of(member)), options, check=check)

    return made


def test_pd_tells_its_version_and_settings(look):
    told = look()["soakbed"]
    assert told["health"] == {"members": 1, "leader": "d1"}
    effective = told["effective"]["d1-pd"]
    assert effective["version"] == pd_server.VERSION
    assert effective["replication.max-replicas"] == "3"
    assert effective["schedule.merge-schedule-limit"] == "8"


def test_limits_are_set_once(look, serve):
    member = serve()
    limits = {"merge-schedule-limit": 0, "leader-schedule-limit": 4}
    assert look(member, limits=limits)["did"] == ["merge-schedule-limit=0"]
    assert look(member, limits=limits)["did"] == []
    assert member.map.limits["merge-schedule-limit"] == 0


def test_checking_only_sets_nothing(look, serve):
    member = serve()
    assert look(member, check=True, limits={"merge-schedule-limit": 0})["did"]
    assert member.map.limits["merge-schedule-limit"] == 8


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"limits": {"merging": 0}}, "knows no schedule limit merging"),
        ({"wants": {"replication.max-replicas": 5}}, "max-replicas is '3', wanted '5'"),
        ({"name": "d2"}, "calls itself d1, wanted d2"),
    ],
)
def test_what_is_not_as_asked_for_is_named(look, more, says):
    with pytest.raises(pd_api.NotYet, match=says):
        look(**more)


def test_a_member_that_does_not_answer_is_not_healthy(look, serve):
    member = serve(**{"initial-cluster": "d1=https://127.0.0.1:2480,d2=https://127.0.0.2:2480"})
    with pytest.raises(pd_api.NotYet, match="2 of 1 members have joined"):
        look(member)


# ---- a store's readiness


@pytest.fixture
def store(pki, serve):
    """The status port of a stand-in store, which PD knows."""
    cert, key = pki.pair("d1")
    port, status_port = free_port(), free_port()
    config = {"storage": {"api-version": 1, "enable-ttl": False}, "raft-engine": {"enable": True}}
    security = {"cacert-path": str(pki.ca), "cert-path": str(cert), "key-path": str(key)}
    serving, _ = pd_server.tls_of(security, "cacert-path")
    for place, status in ((port, False), (status_port, True)):
        handler = tikv_server.handler_of(config, status=status)
        tikv_server.serve(f"127.0.0.1:{place}", serving, handler)
    member = serve(stores=(f"127.0.0.1:{port}", *STORES[1:]))
    options = {"ca": str(pki.ca), "address": "127.0.0.1", "port": port, "status_port": status_port}
    return types.SimpleNamespace(
        pd=pd_at(pki, endpoint_of(member)), options={**options, "wants": {}}, member=member
    )


def test_a_store_tells_its_version_and_settings(store):
    told = tikv_health.look(store.pd, store.options)
    assert told == {
        "raft-engine.enable": "true",
        "storage.api-version": "1",
        "storage.enable-ttl": "false",
        "version": "6.5.5",
    }


@pytest.mark.parametrize("wants", [{"storage.api-version": "2"}, {"storage.enable-ttl": "true"}])
def test_another_api_version_or_a_time_to_live_is_refused(store, wants):
    with pytest.raises(pd_api.NotYet, match=rf"{next(iter(wants))} is .*, wanted"):
        tikv_health.look(store.pd, {**store.options, "wants": wants})


def test_a_store_that_pd_does_not_know_is_not_ready(store):
    store.member.map.stores = dict(list(store.member.map.stores.items())[1:])
    with pytest.raises(pd_api.NotYet, match="PD does not know the store"):
        tikv_health.look(store.pd, store.options)


# ---- what is told of a unit that does not start


def test_a_report_has_status_journal_and_ports(monkeypatch):
    asked = []

    def said(*command):
        asked.append(command)
        return f"<{command[0]}>"

    monkeypatch.setattr(member_report, "said", said)
    text = member_report.report(["a.service", "b.service"])
    assert [line for line in text.splitlines() if line.startswith("---")] == [
        "--- status",
        "--- last 50 lines of the journal",
        "--- listening ports",
    ]
    assert asked[1][-5:] == ("--lines=50", "-u", "a.service", "-u", "b.service")


def test_a_command_that_a_host_lacks_says_so():
    assert member_report.said("no-such-command-here") == (
        "(no-such-command-here: No such file or directory)"
    )
