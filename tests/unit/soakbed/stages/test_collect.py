"""Evidence from hosts: nothing secret in it, nothing unbounded, nothing dropped in silence."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from soakbed.records.testbed import Testbed
from soakbed.stages.collect import secrets_of, strike_out
from soakbed.stages.probes.evidence import configuration_files, struck_out, tail
from soakbed.stages.probes.facts import chosen, facts

SECRET = "w0rd-that-nobody-may-see"


def hosts_of(state: Path) -> Testbed:
    return Testbed(
        name="t",
        provider="local",
        shares_machine=True,
        known_hosts_file=str(state / "ssh" / "known_hosts"),
        hosts={},
    )


def test_the_secrets_of_a_testbed_are_found_in_json_and_in_plain_files(tmp_path):
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "redis.json").write_text(json.dumps({"bench": SECRET, "users": ["x"]}))
    (tmp_path / "secrets" / "token").write_text("another-secret\n")
    assert secrets_of(hosts_of(tmp_path)) == ("another-secret", SECRET)


def test_a_testbed_without_secrets_has_none(tmp_path):
    assert secrets_of(hosts_of(tmp_path)) == ()


def test_a_secret_and_its_hash_are_struck_out_wherever_they_stand(tmp_path):
    file = tmp_path / "journal.log"
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    file.write_text(f"user bench on #{digest}\nAUTH {SECRET}\n")
    notes = strike_out([file], [SECRET])
    assert file.read_text() == "user bench on #<secret>\nAUTH <secret>\n"
    assert notes == ["journal.log: a secret was struck out"]


def test_a_file_with_a_private_key_is_removed_and_said_to_be(tmp_path):
    file = tmp_path / "oops.conf"
    file.write_text("-----BEGIN EC PRIVATE KEY-----\nabc\n")
    assert strike_out([file], []) == ["oops.conf was removed: it held a private key"]
    assert not file.exists()


def test_an_innocent_file_is_left_as_it_is(tmp_path):
    file = tmp_path / "redis.conf"
    file.write_bytes(b"port 0\n\xff\xfe")
    assert strike_out([file], [SECRET]) == []
    assert file.read_bytes() == b"port 0\n\xff\xfe"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("masterauth abc", "masterauth <secret>"),
        ("requirepass abc def", "requirepass <secret>"),
        ("  password: abc", "  password: <secret>"),
        ('db_password = "x"', "db_password = <secret>"),
        ("Environment=API_TOKEN=x", "Environment=API_TOKEN=<secret>"),
        ("masteruser replication", "masteruser replication"),
        ("password_file: /etc/soakbed/x", "password_file: /etc/soakbed/x"),
        ("ETCD_INITIAL_CLUSTER_TOKEN=soakbed-t", "ETCD_INITIAL_CLUSTER_TOKEN=soakbed-t"),
        ("tls-key-file /etc/soakbed/pki/host.key", "tls-key-file /etc/soakbed/pki/host.key"),
        ("appendonly yes", "appendonly yes"),
    ],
)
def test_values_of_passwords_are_struck_out_on_the_host(line, left):
    assert struck_out(f"a 1\n{line}\nb 2") == f"a 1\n{left}\nb 2"


def test_keys_certificates_and_password_files_are_never_fetched(tmp_path):
    for name in ("pki/host.key", "secrets/redis_bench", "redis/users.acl", "redis/redis.conf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = configuration_files((str(tmp_path),), units=str(tmp_path / "none"))
    assert [path.name for path in found] == ["redis.conf"]


def test_a_long_file_keeps_its_end_in_whole_lines_and_says_so(tmp_path):
    file, notes = tmp_path / "kernel.log", []
    file.write_text("".join(f"line {i:04}\n" for i in range(1000)))
    tail(file, 95, notes)
    assert file.read_text().splitlines()[0] == "line 0991"
    assert notes == ["kernel.log: the last 90 of 10,000 bytes are kept"]


def test_facts_of_this_machine_hold_the_groups_that_the_judge_asks_for():
    found = facts(["/"])
    assert {"sysctl", "thp", "scheduler", "limits", "mounts", "units", "counters"} <= set(found)
    assert found["cpu"]["cores"] >= 1
    assert found["disk"]["/"]["free_bytes"] > 0
    json.dumps(found)


def test_the_chosen_value_of_a_kernel_setting_is_the_one_in_brackets():
    assert chosen("always [madvise] never") == "madvise"
    assert chosen("none") == "none"
