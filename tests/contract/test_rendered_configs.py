"""The files of both targets, rendered on this machine by the roles themselves: no root needed."""

import hashlib
import re
from pathlib import Path

import pytest

from tests.contract.rendering import HOSTS, rendered

PASSWORDS = {user: user * 10 for user in ("admin", "bench", "replication")}


def redis(folder: Path, **variables) -> dict[str, str]:
    places = {"redis_cluster_secrets_dir": str(folder / "secrets")}
    return rendered(
        folder, "redis_cluster", redis_cluster_passwords=PASSWORDS, **places, **variables
    )


def settings(text: str, separator: str) -> dict[str, str]:
    lines = (line for line in text.splitlines() if line and not line.startswith(("#", "[")))
    return dict(line.split(separator, 1) for line in lines)


@pytest.fixture(scope="module")
def etcd(tmp_path_factory):
    return rendered(tmp_path_factory.mktemp("etcd"), "etcd")


@pytest.fixture(scope="module")
def etcd_environment(etcd):
    return settings(etcd["etcd.env"], "=")


@pytest.fixture(scope="module")
def redis_tuned(tmp_path_factory):
    return redis(tmp_path_factory.mktemp("redis"))


def test_etcd_speaks_tls_on_every_port_and_asks_for_certificates(etcd_environment):
    urls = [value for key, value in etcd_environment.items() if key.endswith("_URLS")]
    assert urls
    assert all(value.startswith("https://") for value in urls)
    assert etcd_environment["ETCD_CLIENT_CERT_AUTH"] == "true"
    assert etcd_environment["ETCD_PEER_CLIENT_CERT_AUTH"] == "true"


def test_etcd_is_kept_from_its_small_quota_and_from_forgetting(etcd_environment):
    assert etcd_environment["ETCD_QUOTA_BACKEND_BYTES"] == str(8 * 1024**3)
    assert etcd_environment["ETCD_AUTO_COMPACTION_MODE"] == "periodic"
    assert etcd_environment["ETCD_AUTO_COMPACTION_RETENTION"] == "5m"
    assert etcd_environment["ETCD_UNSAFE_NO_FSYNC"] == "false"


def test_tuned_etcd_serves_grpc_apart_from_http_and_stock_as_it_comes(etcd_environment, tmp_path):
    stock = settings(rendered(tmp_path / "stock", "etcd", profile="stock")["etcd.env"], "=")
    http = etcd_environment["ETCD_LISTEN_CLIENT_HTTP_URLS"]
    assert http.endswith(":2382") and http != etcd_environment["ETCD_LISTEN_CLIENT_URLS"]
    assert "ETCD_LISTEN_CLIENT_HTTP_URLS" not in stock


def test_every_member_of_etcd_is_named_to_the_others(etcd_environment):
    assert etcd_environment["ETCD_INITIAL_CLUSTER"] == ",".join(
        f"{name}=https://{address}:2380" for name, address in HOSTS.items()
    )


def stamp_of(unit: str) -> str:
    return re.search(r"SOAKBED_CONFIG=(\w{64})", unit)[1]


def test_the_stamp_in_the_unit_changes_with_the_configuration_and_only_then(tmp_path):
    unit = "soakbed-etcd.service"
    first = stamp_of(rendered(tmp_path, "etcd")[unit])
    other = stamp_of(rendered(tmp_path, "etcd", etcd_snapshot_count=5)[unit])
    again = stamp_of(rendered(tmp_path, "etcd")[unit])
    assert first == again
    assert first != other


def test_stock_etcd_has_the_kernels_own_priority(etcd, tmp_path):
    stock = rendered(tmp_path / "stock", "etcd", profile="stock")
    assert "IOSchedulingPriority=4" in stock["soakbed-etcd.service"]
    assert "IOSchedulingPriority=0" in etcd["soakbed-etcd.service"]


def test_an_election_timeout_under_five_heartbeats_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(AssertionError, match="Set it to at least 1000"):
        rendered(
            tmp_path / "wrong", "etcd", etcd_heartbeat_interval_ms=200, etcd_election_timeout_ms=900
        )


def test_housekeeping_of_etcd_is_off_and_where_it_is_on_members_take_turns(etcd, tmp_path):
    assert not [name for name in etcd if "defrag" in name]
    on = rendered(tmp_path / "on", "etcd", etcd_defrag_every_s=21600)
    own, last = (on[f"soakbed-etcd-defrag@{turn}.timer"] for turn in ("own", "last"))
    # d1 is the first of three members, and the last turn is after them all: 1/5 and 4/5 of 6 h.
    assert "OnActiveSec=4320\nOnUnitActiveSec=21600\n" in own
    assert "OnActiveSec=17280\nOnUnitActiveSec=21600\n" in last
    service = on["soakbed-etcd-defrag@.service"]
    told = re.search(r"^ExecStart=.*$", service, re.MULTILINE)[0]
    assert " %i --own=https://10.0.0.1:2379 --endpoints=https://10.0.0.1:2379,https://" in told
    assert "--least-percent=45 --timeout-s=300 --move-leader " in told
    assert on["defrag.py"].startswith("#!/usr/bin/python3")


@pytest.mark.parametrize("member", ["master.conf", "replica.conf"])
def test_redis_speaks_tls_only_and_asks_for_certificates(redis_tuned, member):
    found = settings(redis_tuned[member], " ")
    assert found["port"] == "0"
    for name in ("tls-auth-clients", "tls-replication", "tls-cluster"):
        assert found[name] == "yes"
    assert found["tls-port"] == {"master.conf": "6379", "replica.conf": "6380"}[member]


def test_redis_keeps_what_it_was_given(redis_tuned):
    found = settings(redis_tuned["master.conf"], " ")
    assert (found["appendonly"], found["appendfsync"]) == ("yes", "everysec")
    assert found["maxmemory-policy"] == "noeviction"
    assert int(found["maxmemory"]) > 0
    assert found["auto-aof-rewrite-percentage"] == "100"
    assert found["auto-aof-rewrite-min-size"] == "67108864"
    assert found["no-appendfsync-on-rewrite"] == "no"
    assert found["save"] == '""'


def test_durability_is_what_the_run_declared(tmp_path):
    found = settings(redis(tmp_path / "a", redis_cluster_appendfsync="always")["master.conf"], " ")
    assert found["appendfsync"] == "always"


def test_stock_redis_has_none_of_the_tuned_directives(tmp_path):
    found = settings(redis(tmp_path / "s", profile="stock")["master.conf"], " ")
    assert not {"save", "repl-backlog-size", "tcp-backlog"} & set(found)


def test_no_password_of_a_user_is_written_in_the_clear(redis_tuned):
    acl = redis_tuned["users.acl"]
    assert "user default reset off" in acl
    for user, password in PASSWORDS.items():
        assert password not in acl
        assert f"user {user} reset on #{hashlib.sha256(password.encode()).hexdigest()}" in acl


def test_the_loads_user_may_not_administer(redis_tuned):
    (line,) = [li for li in redis_tuned["users.acl"].splitlines() if li.startswith("user bench")]
    assert "-@admin" in line
    assert "-@dangerous" in line


def test_files_with_secrets_are_private(tmp_path):
    redis(tmp_path / "p")
    modes = {f.name: f.stat().st_mode & 0o777 for f in (tmp_path / "p" / "config").iterdir()}
    assert modes == {"master.conf": 0o600, "replica.conf": 0o600, "users.acl": 0o600}


@pytest.mark.parametrize("share", [1, 3])
def test_hosts_that_share_a_machine_share_its_memory(tmp_path, share):
    files = redis(tmp_path / "m", redis_cluster_hosts_sharing_memory=share)
    # Without a look at the host a GiB is assumed: 60 % of it, two members on each host.
    assert int(settings(files["master.conf"], " ")["maxmemory"]) == int(2**30 * 0.6 / 2 / share)


def test_a_member_with_next_to_no_memory_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="under 64 MiB"):
        redis(tmp_path / "tiny", redis_cluster_maxmemory_bytes=1024)


def test_a_password_that_would_need_quotes_is_refused(tmp_path):
    with pytest.raises(AssertionError, match="no usable password for bench"):
        rendered(
            tmp_path / "bad",
            "redis_cluster",
            redis_cluster_passwords={**PASSWORDS, "bench": 'with "quotes" and spaces'},
        )


@pytest.mark.parametrize("unit", ["soakbed-redis-master.service", "soakbed-redis-replica.service"])
def test_units_start_the_program_of_the_bundle(redis_tuned, unit):
    assert "ExecStart=/opt/soakbed/bin/redis-server " in redis_tuned[unit]
    assert "[Install]" not in redis_tuned[unit]  # never started at boot: see design D11
