"""Copies at rest, on real servers with TLS: equal ones are equal, and what differs is named."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadgen.clients import etcd_copies, etcd_keys, redis_copies
from loadgen.clients.grpc_call import GrpcChannel
from loadgen.clients.redis_call import RedisCalls
from loadgen.contract.plan import Auth
from loadgen.engine.protobuf import bytes_field, uint_field
from loadgen.engine.tls import client_context
from loadgen.keyspace import Values, key_bytes
from loadgen.quiesced import quiesced
from soakbed.records.quiesced import Quiesced
from soakbed.stages.consistency_replicas import check_replicas
from soakbed.stages.quiesce import hashes_in
from tests.benchmarks.binaries import find_etcd
from tests.benchmarks.failover_shows import caught_up, led_by
from tests.benchmarks.scripted_clients import leader_of
from tests.benchmarks.throwaway import Etcd, make_cluster, start_together
from tests.integration.engine_runs import PROJECT, plan_for

WITHIN_S = 300.0  # far beyond what any of this takes
KEYS = 300
USER = (
    "on >secret ~* &* +@all -@admin -@dangerous +info "
    "+cluster|slots +cluster|shards +cluster|nodes +cluster|info +cluster|myid +cluster|keyslot"
)


def fill(calls: RedisCalls, keys: range) -> None:
    values = Values("/bench/", 256, rank=0)
    commands = [
        (b"SET", key_bytes("/bench/", key), values.identity(key) + values.filler) for key in keys
    ]
    assert set(calls.ask(commands, until=time.monotonic() + WITHIN_S)) <= {b"OK"}


def read_as_a_record(found) -> Quiesced:
    return Quiesced.model_validate_json(json.dumps(found.to_json()))


@pytest.fixture
def pair(redis_members, throwaway_pki):
    master, replica = redis_members(2, "--repl-diskless-sync-delay", "0")
    make_cluster([master], [replica])
    calls = RedisCalls(master.endpoint, client_context(throwaway_pki.tls()))
    fill(calls, range(KEYS))
    yield master, replica, calls
    calls.close()


def test_a_replica_is_found_equal_and_then_what_it_lacks_is_found_with_slot_and_key(
    pair, throwaway_pki
):
    master, replica, calls = pair
    plan = plan_for("redis_cluster", [master.endpoint], throwaway_pki.tls())
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    (group,) = found.groups
    assert group.verdict == "equal", group.why
    assert [copy.keys for copy in group.copies] == [KEYS, KEYS]
    assert len(group.ranges) == 64
    assert check_replicas(found).verdict == "ok"

    # A command without a key is not redirected to the master; then all but one key come again,
    # and to one of them something is added that the replica did not have.
    replica.cli("CONFIG", "SET", "replica-read-only", "no")
    replica.cli("FLUSHALL")
    fill(calls, range(KEYS - 2))
    calls.one(b"APPEND", key_bytes("/bench/", KEYS - 2), b"more", until=time.monotonic() + 60)
    caught_up(master, replica)
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    (group,) = found.groups
    assert (group.verdict, group.behind, group.differing) == ("differ", "", "2 slots")
    named = {one.key: one for one in group.differences}
    assert set(named) == {f"/bench/{KEYS - 2:012d}", f"/bench/{KEYS - 1:012d}"}
    lacking = named[f"/bench/{KEYS - 1:012d}"]
    slot = master.cli("CLUSTER", "KEYSLOT", lacking.key).strip()
    assert lacking.where == f"slot {slot}"
    assert lacking.holds[replica.endpoint] == ""
    assert lacking.holds[master.endpoint].startswith(f"k{KEYS - 1:012d}w0000s")
    assert sum(not one.equal for one in group.ranges) in (1, 2)
    check = check_replicas(found)
    assert check.verdict == "violation"
    assert f"{lacking.key} (slot {slot})" in check.sentence


def test_a_replica_that_no_longer_follows_is_behind_and_its_difference_is_not_promised(
    pair, throwaway_pki, tmp_path, monkeypatch
):
    """Asked as the deployed load's user, with its rights and its password in a file."""
    monkeypatch.setattr(redis_copies, "SETTLING_SHARE", 0.002)  # it never settles
    master, replica, calls = pair
    for member in (master, replica):
        member.cli("ACL", "SETUSER", "bench", "reset", *USER.split())
    caught_up(master, replica)
    replica.cli("CONFIG", "SET", "masterauth", "of somebody else")
    master.cli("CLIENT", "KILL", "TYPE", "replica")
    replica.wait_for(["INFO", "replication"], "master_link_status:down")
    calls.one(b"SET", key_bytes("/bench/", 7), b"new", until=time.monotonic() + WITHIN_S)
    password = tmp_path / "password"
    password.write_text("secret\n")
    plan = plan_for("redis_cluster", [master.endpoint], throwaway_pki.tls(),
                    auth=Auth("bench", str(password)))  # fmt: skip
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    (group,) = found.groups
    assert group.verdict == "differ", (group.why, found.unasked)
    assert "its link is down" in group.behind
    assert [one.key for one in group.differences] == [f"/bench/{7:012d}"]
    assert check_replicas(found).verdict == "not_promised"


@pytest.fixture
def etcd_three(tmp_path, throwaway_pki):
    made: list[Etcd] = []

    def start(name: str) -> list[Etcd]:
        members = [Etcd(tmp_path / f"{name}{number}", pki=throwaway_pki) for number in range(3)]
        made.extend(members)
        start_together(members)
        context = client_context(throwaway_pki.tls(), protocols=("h2",))
        led_by(members, lambda endpoint: leader_of(endpoint, context))
        return members

    yield start
    for member in made:
        member.stop(kill=True)


def put(member: Etcd, pki, values: dict[int, bytes]) -> None:
    channel = GrpcChannel(member.endpoint, client_context(pki.tls(), protocols=("h2",)))
    for key, value in values.items():
        message = bytes_field(1, key_bytes("/bench/", key)) + bytes_field(2, value)
        channel.call(b"/etcdserverpb.KV/Put", message, until=time.monotonic() + WITHIN_S)
    channel.close()


def test_members_of_one_etcd_are_equal_and_one_of_another_cluster_is_not(
    etcd_three, etcd_members, throwaway_pki, tmp_path
):
    members = etcd_three("e")
    stranger = etcd_members()
    put(members[0], throwaway_pki, {key: b"value of %d" % key for key in range(20)})
    put(stranger, throwaway_pki, {key: b"value of %d" % (key if key != 3 else 33)
                                  for key in range(20)})  # fmt: skip
    plan = plan_for("etcd", [member.endpoint for member in members], throwaway_pki.tls())
    plan.write(tmp_path / "plan.json")
    command = [sys.executable, "-m", "loadgen.quiesced", str(tmp_path / "plan.json")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    found = Quiesced.model_validate_json(done.stdout)
    (group,) = found.groups
    assert group.verdict == "equal", group.why
    assert found.unasked == ()
    assert check_replicas(found).verdict == "ok"

    mixed = [members[0].endpoint, stranger.endpoint]
    plan = plan_for("etcd", mixed, throwaway_pki.tls())
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    hashes, keys = found.groups
    assert hashes.verdict == keys.verdict == "differ"
    (difference,) = keys.differences
    assert difference.key == f"/bench/{3:012d}"
    assert difference.holds == {
        mixed[0]: "value of 3 of revision 5",
        mixed[1]: "value of 33 of revision 5",
    }
    assert check_replicas(found).verdict == "violation"
    assert any("the plan names 2 of them" in one.why for one in found.unasked)


def grant(members: list[Etcd], pki) -> None:
    """Authentication on, as the playbooks have it: users by certificate, one role for the load."""
    pki.issue("admin", "127.0.0.1", common_name="root")
    context = client_context(pki.tls("admin"), protocols=("h2",))
    channel = GrpcChannel(members[0].endpoint, context)
    no_password, prefix = bytes_field(3, uint_field(1, 1)), bytes_field(2, b"/bench/")
    readwrite = bytes_field(2, uint_field(1, 2) + prefix + bytes_field(3, b"/bench0"))
    calls = [("UserAdd", bytes_field(1, name) + no_password) for name in (b"root", b"bench")]
    calls += [("RoleAdd", bytes_field(1, name)) for name in (b"root", b"bench")]
    calls += [("RoleGrantPermission", bytes_field(1, b"bench") + readwrite)]
    calls += [("UserGrantRole", bytes_field(1, name) + bytes_field(2, name))
              for name in (b"root", b"bench")]  # fmt: skip
    for method, message in [*calls, ("AuthEnable", b"")]:
        path = f"/etcdserverpb.Auth/{method}".encode()
        channel.call(path, message, until=time.monotonic() + WITHIN_S)
    channel.close()


def test_where_the_loads_user_may_not_ask_for_hashes_keys_are_compared_and_etcdctl_tells_hashes(
    etcd_three, throwaway_pki, monkeypatch
):
    monkeypatch.setattr(etcd_keys, "KEYS_AT_ONCE", 7)  # several pages
    members = etcd_three("a")
    put(members[0], throwaway_pki, {key: b"value of %d" % key for key in range(20)})
    grant(members, throwaway_pki)
    plan = plan_for("etcd", [member.endpoint for member in members], throwaway_pki.tls())
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    (group,) = found.groups
    assert (group.verdict, [copy.keys for copy in group.copies]) == ("equal", [20] * 3)
    assert {one.what for one in found.unasked} == {f"HashKV of {one}" for one in plan.endpoints}

    etcd = find_etcd()
    tls = throwaway_pki.tls("admin")
    urls = ",".join(f"https://{one}" for one in plan.endpoints)
    said = subprocess.run(
        [Path(etcd.path).with_name("etcdctl"), f"--endpoints={urls}", f"--cacert={tls.ca}",
         f"--cert={tls.cert}", f"--key={tls.key}", "-w", "json", "endpoint", "hashkv"],
        env=etcd.environment(), capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    hashes = hashes_in(said, members=plan.endpoints)
    assert hashes.verdict == "equal", hashes.why
    assert len({copy.digest for copy in hashes.copies}) == 1


def test_what_cannot_be_asked_is_told_and_never_called_equal(
    throwaway_pki, etcd_members, monkeypatch
):
    monkeypatch.setattr(etcd_copies, "ATTEMPTS", 2)
    member = etcd_members()
    gone = "127.0.0.1:9"  # discard: nobody serves there
    plan = plan_for("etcd", [member.endpoint, gone], throwaway_pki.tls())
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    assert [group.verdict for group in found.groups] == ["unknown", "unknown"]
    assert {gone in one.what for one in found.unasked} == {True}
    assert check_replicas(found).verdict == "unknown"
    plan = plan_for("redis_cluster", [gone], throwaway_pki.tls())
    found = read_as_a_record(quiesced(plan, within_s=WITHIN_S))
    assert found.groups == ()
    assert gone in found.unasked[0].what
    assert check_replicas(found).verdict == "unknown"
