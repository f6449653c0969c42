"""The look at a target's copies after the load, as the controller asks for it."""

import json
from dataclasses import dataclass, field

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Result
from soakbed.archive.run_folder import RunFolder
from soakbed.records.quiesced import Copies, CopyFound, KeyDifference, Quiesced, Unasked
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.consistency_replicas import check_replicas
from soakbed.stages.quiesce import asked, hashes_in, quiesce

L1 = Host(name="l1", duty="load", address="10.0.0.9", key_file="k", cpus=(1,))
D1 = Host(name="d1", duty="data", address="10.0.0.1", key_file="k")
TESTBED = Testbed(name="t", provider="local", shares_machine=True, known_hosts_file="k",
                  hosts={"l1": L1, "d1": D1})  # fmt: skip
MEMBERS = ("10.0.0.1:2379", "10.0.0.2:2379")


def group(verdict="equal", *, behind="", **more) -> dict:
    copies = [{"member": one, "role": "member", "digest": "ab", "keys": 5} for one in MEMBERS]
    copies[1]["behind"] = behind
    return {"name": "slots 0-9", "verdict": verdict, "copies": copies, **more}


def answer(*groups, unasked=()) -> str:
    made = {"schema": 1, "target": "etcd", "asked": "all", "groups": groups, "unasked": unasked}
    return json.dumps({**made, "at_s": 1.0, "took_s": 2.0})


def hashkv(*told) -> str:
    return json.dumps(
        [
            {"Endpoint": f"https://{member}",
             "HashKV": {"header": {"revision": at}, "hash": value, "compact_revision": compacted}}
            for member, value, at, compacted in told
        ]
    )  # fmt: skip


@dataclass
class FakeHosts:
    """Answers by host."""

    answers: dict[str, Result | Exception]
    commands: list[tuple[str, list[str]]] = field(default_factory=list)

    def run(self, host, command, *, timeout_s=60, check=True):
        self.commands.append((host.name, list(command)))
        found = self.answers[host.name]
        if isinstance(found, Exception):
            raise found
        return found


def plan(target="redis_cluster") -> Plan:
    return Plan("r", "steady", target, MEMBERS, Keyspace(10, "/bench/"),
                (Phase("steady", "open", 1, 1.0),), None)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / "redis_cluster" / "load" / "steady").mkdir(parents=True)
    plan().write(tmp_path / "redis_cluster" / "load" / "steady" / "plan.json")
    folder.write("redis_cluster/load/steady", {"schema": 1})
    return folder


def test_what_the_load_host_found_is_kept_and_not_asked_for_twice(run):
    hosts = FakeHosts({"l1": Result(0, answer(group("differ", differing="2 slots")), "")})
    told = []
    for _ in range(2):
        quiesce(run, "redis_cluster", TESTBED, shell=hosts, progress=told.append)
    ((name, command),) = hosts.commands
    assert (name, command[-2]) == (
        "l1",
        "/var/lib/soakbed/sessions/r-redis_cluster-steady/plan.json",
    )
    assert run.read("redis_cluster/quiesced", Quiesced).groups[0].verdict == "differ"
    assert "warning: redis_cluster: slots 0-9: copies differ in 2 slots" in told


def test_a_target_without_a_steady_session_is_not_looked_at(tmp_path):
    hosts = FakeHosts({})
    quiesce(RunFolder(tmp_path), "etcd", TESTBED, shell=hosts, progress=print)
    assert hosts.commands == []
    assert not (tmp_path / "etcd").exists()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        pytest.param(HostUnreachable("l1 is away", remedy="wait"), "l1 is away", id="away"),
        pytest.param(CommandFailed("it took too long", remedy="wait"), "too long", id="late"),
        pytest.param(Result(1, "", "Traceback\nsomething broke"), "something broke", id="failed"),
        pytest.param(Result(137, "", ""), "ended with 137", id="killed"),
        pytest.param(Result(0, "{}", ""), "no answer of ours", id="another answer"),
        pytest.param(Result(0, "", ""), "no answer of ours", id="no answer"),
    ],
)
def test_a_look_that_failed_is_a_record_that_says_so(run, said, why):
    quiesce(run, "redis_cluster", TESTBED, shell=FakeHosts({"l1": said}), progress=print)
    found = run.read("redis_cluster/quiesced", Quiesced)
    assert why in found.unasked[0].why
    assert check_replicas(found).verdict == "unknown"


def test_hashes_that_the_loads_user_may_not_ask_for_are_asked_by_the_administrator():
    refused = [{"what": f"HashKV of {MEMBERS[0]}", "why": "permission denied"}]
    told = hashkv((MEMBERS[0], 7, 90, 3), (MEMBERS[1], 7, 90, 3))
    hosts = FakeHosts({"l1": Result(0, answer(group(), unasked=refused), ""),
                       "d1": Result(0, told, "")})  # fmt: skip
    found = asked("etcd", plan("etcd"), TESTBED, shell=hosts)
    assert [one.name for one in found.groups] == ["HashKV", "slots 0-9"]
    assert found.unasked == ()
    assert check_replicas(found).verdict == "ok"
    command = hosts.commands[1][1]
    assert "--cert=/etc/soakbed/pki/admin.crt" in command
    assert f"--endpoints=https://{MEMBERS[0]},https://{MEMBERS[1]}" in command


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(CommandFailed("etcdctl ended with 1", remedy="look"), id="failed"),
        pytest.param(Result(0, "[{}]", ""), id="strange"),
    ],
)
def test_an_administrator_who_gets_nowhere_leaves_what_was_found(said):
    hosts = FakeHosts({"l1": Result(0, answer(group()), ""), "d1": said})
    found = asked("etcd", plan("etcd"), TESTBED, shell=hosts)
    assert [one.verdict for one in found.groups] == ["equal"]
    assert check_replicas(found).verdict == "unknown"
    assert "HashKV by the administrator could not be asked" in check_replicas(found).sentence


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        pytest.param([(7, 90, 3), (7, 90, 3)], "equal", id="the same"),
        pytest.param([(7, 90, 3), (8, 90, 3)], "differ", id="other hash"),
        pytest.param([(7, 90, 3), (8, 90, 4)], "unknown", id="compacted elsewhere"),
        pytest.param([(7, 90, 3), (7, 91, 3)], "unknown", id="at another revision"),
        pytest.param([(7, 90, 3)], "unknown", id="one is silent"),
    ],
)
def test_hashes_speak_only_where_they_cover_the_same_revisions(told, verdict):
    said = hashkv(*[(member, *one) for member, one in zip(MEMBERS, told, strict=False)])
    assert hashes_in(said, members=MEMBERS).verdict == verdict


def found(*groups: Copies, unasked=()) -> Quiesced:
    return Quiesced(target="redis_cluster", groups=groups, unasked=unasked, took_s=2.0)


def test_a_difference_is_a_violation_with_the_key_and_what_each_member_holds():
    key = KeyDifference(where="slot 5", key="/bench/1", holds={MEMBERS[0]: "new", MEMBERS[1]: ""})
    made = group("differ", differing="1 slots", differences=[key])
    check = check_replicas(found(Copies.model_validate(made)))
    assert check.verdict == "violation"
    assert f"/bench/1 (slot 5): {MEMBERS[0]} has new, {MEMBERS[1]} has nothing" in check.sentence


def test_of_a_replica_that_is_behind_nothing_better_is_promised():
    behind = Copies.model_validate(group("differ", behind="its link is down"))
    assert check_replicas(found(behind)).verdict == "not_promised"
    differs = Copies.model_validate(group("differ"))
    assert check_replicas(found(behind, differs)).verdict == "violation"


@pytest.mark.parametrize(
    ("quiesced", "verdict"),
    [
        pytest.param(None, "skipped", id="an older run"),
        pytest.param(found(), "unknown", id="nothing compared"),
        pytest.param(found(Copies.model_validate(group())), "ok", id="all equal"),
        pytest.param(
            found(Copies.model_validate(group()), unasked=(Unasked(what="m", why="away"),)),
            "unknown",
            id="one could not be asked",
        ),
        pytest.param(found(Copies.model_validate(group("unknown"))), "unknown", id="not known"),
    ],
)
def test_only_copies_that_were_all_asked_are_called_equal(quiesced, verdict):
    assert check_replicas(quiesced).verdict == verdict


def test_a_copy_says_what_it_is():
    assert Copies.model_validate(group("differ", behind="late")).behind == f"{MEMBERS[1]}: late"
    assert CopyFound(member="m", role="master").digest == ""
