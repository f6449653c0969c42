"""What hosts that somebody already has say, and why they are refused."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from soakbed.adapters import openssh
from soakbed.records.testbed import Host
from soakbed.stages import static_checks, static_rules
from soakbed.stages.static_rules import Declared, Door, Known
from soakbed.units import GIB
from tests.ports import free_port

ROLES = Path(__file__).resolve().parents[4] / "playbooks" / "roles"
D1 = Host(name="d1", duty="data", address="10.0.0.1", key_file="k", user="admin")
D2 = D1.model_copy(update={"name": "d2", "address": "10.0.0.2", "port": 2222})
L1 = D1.model_copy(update={"name": "l1", "duty": "load", "address": "10.0.0.9"})
L2 = L1.model_copy(update={"name": "l2", "address": "10.0.0.8"})
DEBIAN = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}
GOOD = Known(
    system=DEBIAN,
    systemd=True,
    machine="x86_64",
    this_machine="boot-1 net:[1]",
    booted_ns=1_790_000_000_000_000_000,
    cores=8,
    memory_bytes=15 * GIB,
    free_bytes={"/data": 400 * GIB},
    address="",
    taken={},
    offset_ms=3.0,
    bound_ms=1.0,
)


def known(**changed):
    return dataclasses.replace(GOOD, **changed)


def problems(refusals) -> list[str]:
    found = list(refusals)
    assert all(way_out for _, way_out in found)
    return [problem for problem, _ in found]


def test_a_good_host_has_nothing_against_it():
    assert problems(static_rules.about_each(D1, GOOD)) == []
    assert problems(static_rules.about_clock(D1, GOOD)) == []
    assert problems(static_rules.about_door(D1, Door(root=True, python=True))) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        pytest.param({"systemd": False}, "systemd does not run it", id="no systemd"),
        pytest.param({"free_bytes": {"/data": GIB}}, "1.0 GiB free at /data", id="disk"),
        pytest.param({"memory_bytes": 10**8}, "95.4 MiB of memory, needs 512", id="memory"),
        pytest.param(
            {"address": "Cannot assign requested address"},
            "cannot listen at 10.0.0.1: Cannot assign",
            id="an address that is not its own",
        ),
        pytest.param(
            {"taken": {"6379": "redis-server"}}, "6379 is taken by redis-server", id="port"
        ),
        pytest.param({"taken": {"2379": ""}}, "taken by a program that we may not", id="unseen"),
    ],
)
def test_what_a_host_lacks_is_said(changed, said):
    (problem,) = problems(static_rules.about_each(D1, known(**changed)))
    assert problem.startswith("d1: ")
    assert said in problem


def test_a_member_of_ours_may_be_up():
    assert (
        problems(static_rules.about_each(D1, known(taken={"2379": "soakbed-etcd.service"}))) == []
    )


@pytest.mark.parametrize(
    ("system", "fits"),
    [
        pytest.param(DEBIAN, True, id="Debian 12"),
        pytest.param({"ID": "debian", "VERSION_ID": "13"}, False, id="Debian 13"),
        pytest.param({"ID": "debian", "VERSION_CODENAME": "sid"}, False, id="Debian of no number"),
        pytest.param(
            {"ID": "x", "ID_LIKE": "debian", "VERSION_CODENAME": "bookworm"}, True, id="made of 12"
        ),
        pytest.param(
            {"ID": "ubuntu", "ID_LIKE": "debian", "VERSION_CODENAME": "noble"}, False, id="Ubuntu"
        ),
        pytest.param({"ID": "rocky", "ID_LIKE": "rhel fedora"}, False, id="Rocky"),
        pytest.param({}, False, id="it does not say"),
    ],
)
def test_debian_12_and_what_is_made_of_it_will_do(system, fits):
    assert (problems(static_rules.about_each(D1, known(system=system))) == []) is fits


@pytest.mark.parametrize(
    ("offset_ms", "bound_ms", "refused"),
    [
        pytest.param(499.0, 1.0, False, id="near"),
        pytest.param(-900.0, 5.0, True, id="behind"),
        pytest.param(900.0, 5.0, True, id="ahead"),
        pytest.param(900.0, 450.0, False, id="a slow answer proves nothing"),
    ],
)
def test_a_clock_that_is_surely_far_off_is_refused(offset_ms, bound_ms, refused):
    found = static_rules.about_clock(D1, known(offset_ms=offset_ms, bound_ms=bound_ms))
    assert bool(problems(found)) is refused


def test_who_does_not_let_us_in_is_told_with_the_last_words_of_ssh():
    door = Door.of("", "banner\nadmin@10.0.0.1: Permission denied (publickey).", refused=True)
    (problem,) = problems(static_rules.about_door(D1, door))
    assert problem == (
        "d1: admin@10.0.0.1:22 does not let us in: admin@10.0.0.1: Permission denied (publickey)."
    )


def test_neither_root_nor_python_are_two_refusals():
    door = Door.of("Welcome!\nsoakbed-uid=1000\n", "", refused=False)
    first, second = problems(static_rules.about_door(D1, door))
    assert "admin is not root and has no sudo without a password" in first
    assert "no python3" in second


@pytest.mark.parametrize("said", ["soakbed-uid=0\n", "soakbed-uid=1000\nsoakbed-sudo=yes\n"])
def test_root_and_who_may_become_root_will_do(said):
    assert Door.of(f"{said}soakbed-python=yes\n", "", refused=False) == Door(root=True, python=True)


@given(st.text(), st.text())
def test_whatever_a_login_shell_says_is_no_way_in(out, err):
    assert Door.of(out, err, refused=False).refusal or "soakbed-uid=" in out


def test_the_question_at_the_door_is_a_shells():
    done = subprocess.run(
        ["sh", "-c", static_rules.DOOR], capture_output=True, text=True, check=True
    )
    door = Door.of(done.stdout, done.stderr, refused=False)
    assert door.python
    assert door.root or os.geteuid()


def liked(all_known, declared=None, hosts=(D1, D2)):
    return problems(static_rules.about_likeness(hosts, all_known, declared or {}))


OTHER = known(this_machine="boot-2 net:[1]")


def test_hosts_of_one_duty_are_alike():
    assert liked({"d1": GOOD, "d2": OTHER}) == []
    (cores,) = liked({"d1": GOOD, "d2": dataclasses.replace(OTHER, cores=4)})
    assert cores == "the data hosts are of different CPUs: d1 8, d2 4"
    (memory,) = liked({"d1": GOOD, "d2": dataclasses.replace(OTHER, memory_bytes=8 * GIB)})
    assert memory == "the data hosts are of different memory: d1 15.0 GiB, d2 8.0 GiB"


def test_a_load_host_may_be_of_another_size():
    small = dataclasses.replace(OTHER, cores=2, memory_bytes=4 * GIB)
    assert liked({"d1": GOOD, "l1": small}, hosts=(D1, L1)) == []


def test_hosts_that_differ_as_the_spec_says_are_meant():
    unlike = {"d1": GOOD, "d2": dataclasses.replace(OTHER, cores=4)}
    said = {"d1": Declared(8, 16), "d2": Declared(4, 16)}
    assert liked(unlike, said) == []
    wrong = liked(unlike, said | {"d2": Declared(8, 32)})
    assert wrong == [
        "d2: it has 4 CPUs, the spec says 8",
        "d2: it has 15.0 GiB of memory, the spec says 32 GiB",
    ]


def test_one_host_under_two_names_is_found_out():
    assert liked({"d1": GOOD, "d2": GOOD}) == ["d1 and d2 are one host"]


def test_data_hosts_of_two_architectures_are_refused():
    (problem,) = liked({"d1": GOOD, "d2": dataclasses.replace(OTHER, machine="aarch64")})
    assert problem == "the data hosts are of 2 architectures: aarch64, x86_64"


def test_hosts_on_one_machine_are_remarked_upon():
    def booted(after_ms):
        return known(booted_ns=GOOD.booted_ns + after_ms * 10**6)

    hosts = {"d3": booted(900), "d2": booted(1), "d1": GOOD, "l2": booted(901), "l1": booted(-400)}
    assert list(static_rules.remarks(hosts)) == [
        "d1, d2 share one machine, so that each slows the others",
        "d3, l2 share one machine, so that each slows the others",
    ]
    assert list(static_rules.remarks({"d1": GOOD, "d2": booted(5)})) == []
    assert list(static_rules.remarks({})) == []


@pytest.mark.parametrize(
    ("host", "other", "port", "words", "told"),
    [
        pytest.param(D1, D2, 2379, "name d2", "", id="the probe of the other"),
        pytest.param(D1, D2, 2379, "taken", "", id="a member of ours that is up"),
        pytest.param(D1, D2, 2379, "name l1", "l1 answers there", id="a stranger"),
        pytest.param(D1, D2, 2379, "refused", "port 2379: refused", id="closed"),
        pytest.param(D1, D2, 2379, "no answer", "port 2379: no answer", id="filtered"),
        pytest.param(D1, D2, 2222, "name SSH-2.0-OpenSSH_9.2", "", id="sshd"),
        pytest.param(D1, D2, 2222, "refused", "", id="sshd listens elsewhere"),
        pytest.param(D1, L1, 22, "no answer", "no answer", id="no way to the load host"),
        pytest.param(L2, L1, 22, "refused", "refused", id="no way for the tunnel to the master"),
    ],
)
def test_what_does_not_answer_is_told(host, other, port, words, told):
    found = problems(
        static_rules.about_reach(host, {other.name: other}, {other.name: {str(port): words}})
    )
    assert bool(found) is bool(told)
    assert all(told in problem for problem in found)


def test_ports_that_are_closed_alike_are_told_in_one_line():
    answers = {str(port): "no answer" for port in (2379, 2380)} | {"6379": "name d2"}
    (problem,) = problems(static_rules.about_reach(D1, {"d2": D2}, {"d2": answers}))
    assert problem == "d1 does not reach d2 at 10.0.0.2, ports 2379, 2380: no answer"


def test_ports_are_those_of_the_roles():
    said = set()
    for role in ROLES.iterdir():
        for name, value in yaml.safe_load((role / "defaults" / "main.yml").read_text()).items():
            if name.endswith("_port") and role.name != "load_host":
                said.add(value)
    bus = {port + 10_000 for port in (6379, 6380)}
    assert len(said) == 10
    assert set(static_rules.TARGET_PORTS) == said | bus | {27379}


def test_limits_are_those_of_the_role_that_measures():
    role = yaml.safe_load((ROLES / "host_preflight" / "defaults" / "main.yml").read_text())
    assert role["host_preflight_min_disk_free_bytes"] == static_rules.LEAST_FREE_BYTES
    assert role["host_preflight_min_memory_bytes"] == static_rules.LEAST_MEMORY_BYTES
    assert role["host_preflight_max_clock_offset_ms"] == static_rules.MOST_CLOCK_OFFSET_MS


@pytest.fixture
def talk(monkeypatch):
    """The probe on this machine, asked as over SSH."""
    words = [sys.executable, "-c", openssh._READS_ITS_PROGRAM]
    monkeypatch.setattr(openssh, "_login", lambda *_: words)
    program = static_checks.PROBE.read_text()
    with openssh.Conversation(D1, "/none", program, as_root=False) as made:
        yield made


def free_ports(count: int) -> list[int]:
    return [free_port() for _ in range(count)]


def facts_of(talk, ports, address="127.0.0.1"):
    asked = {"name": "d1", "address": address, "ports": ports, "folders": ["/nowhere/at/all"]}
    return talk.ask({"facts": asked}, within_s=120)


def test_the_probe_says_what_a_host_is_and_listens(talk):
    ports = free_ports(2)
    found = Known.of(facts_of(talk, ports), offset_ns=2_000_000, bound_ns=0)
    assert (found.offset_ms, found.address, found.taken) == (2.0, "", {})
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.memory_bytes > 10**8
    assert found.free_bytes["/nowhere/at/all"] > 0
    assert found.system["ID"]
    asked = {"d1": {"address": "127.0.0.1", "ports": ports}}
    assert talk.ask({"peers": asked}, within_s=120) == {
        "d1": {str(port): "name d1" for port in ports}
    }


def test_the_probe_names_who_holds_a_port_and_what_is_closed(talk):
    (closed,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        found = facts_of(talk, [port])
        assert list(found["taken"]) == [str(port)]
        assert re.match(r"python|pytest|soakbed-", found["taken"][str(port)])
        held.settimeout(120)
        asked = {"d9": {"address": "127.0.0.1", "ports": [closed]}}
        assert talk.ask({"peers": asked}, within_s=120) == {"d9": {str(closed): "refused"}}


def test_the_probe_cannot_listen_at_an_address_of_another_host(talk):
    assert (
        facts_of(talk, free_ports(1), "192.0.2.1")["address"] == "Cannot assign requested address"
    )


def test_a_program_that_ends_is_no_answer():
    done = subprocess.run(
        [sys.executable, "-c", openssh._READS_ITS_PROGRAM],
        input=json.dumps("raise SystemExit(3)") + "\n",
        text=True,
        check=False,
    )
    assert done.returncode == 3


def test_an_answer_that_does_not_come_is_an_error(monkeypatch):
    words = [sys.executable, "-c", openssh._READS_ITS_PROGRAM]
    monkeypatch.setattr(openssh, "_login", lambda *_: words)
    ends_at_the_second = "import sys; sys.stdin.readline(); sys.stdin.readline()"
    with openssh.Conversation(D1, "/none", ends_at_the_second, as_root=False) as silent:
        with pytest.raises(TimeoutError, match="no answer in 0 s"):
            silent.ask({"time": True}, within_s=0.2)
        with pytest.raises(ConnectionError, match="ended"):
            silent.ask({"time": True}, within_s=120)


def test_load_hosts_that_could_not_run_our_packages_are_refused():
    arm = dataclasses.replace(OTHER, machine="aarch64")
    hosts = [Host(name="d1", duty="data", address="192.0.2.1", key_file="k"),
             Host(name="l1", duty="load", address="192.0.2.2", key_file="k")]  # fmt: skip
    told = list(static_rules.about_likeness(hosts, {"d1": GOOD, "l1": arm}, {}, ours="x86_64"))
    assert [problem for problem, _ in told] == [
        "l1 are no x86_64 as this machine is, whose Python packages they get"
    ]
    arms = {"d1": GOOD, "l1": dataclasses.replace(OTHER, machine="x86_64")}
    assert list(static_rules.about_likeness(hosts, arms, {}, ours="x86_64")) == []
