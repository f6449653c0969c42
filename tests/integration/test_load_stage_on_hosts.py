"""The load stage on real hosts, against a real Redis Cluster: a kill does not cost evidence."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loadgen.contract.parts import read_parts
from loadgen.contract.plan import Phase
from soakbed.adapters.ansible import Playbooks
from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Ssh
from soakbed.adapters.terraform import Terraform
from soakbed.adapters.wheels import load_host_variables
from soakbed.archive.data.samples import samples_of_target
from soakbed.records.places import Places
from soakbed.records.run import LoadOutcome
from soakbed.stages.clocks import compared
from soakbed.stages.collect import collect, host_facts, secrets_of
from soakbed.stages.configure import configure_target, prepare_hosts
from soakbed.stages.measure import measure
from soakbed.stages.provision import provision
from soakbed.stages.samples import sampled, samples_name
from soakbed.stages.teardown import teardown
from tests.disturbances import LocalHost, line_cut, wait_until
from tests.integration.load_bench import HOSTS, PROJECT, SPEC, Bench

pytestmark = [pytest.mark.root, pytest.mark.testbed, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    state = tmp_path_factory.mktemp("state")
    places = Places(project=PROJECT, state=state, cache=Path.home() / ".cache/soakbed")
    terraform = Terraform(places)
    ansible = Playbooks(places.playbooks, private=state)
    try:
        made = provision(SPEC.testbed, terraform=terraform, places=places, progress=print)
        (state / "testbed.json").write_text(made.testbed.model_dump_json(by_alias=True))
        prepare_hosts(
            made.testbed,
            "stock",
            ansible=ansible,
            places=places,
            # A tunnel that hangs is found out in three seconds, not fifteen.
            load_host={**load_host_variables(places), "load_host_tunnel_alive_s": "1"},
            log=state / "site.jsonl",
        )
        ready = configure_target(
            made.testbed,
            "redis_cluster",
            SPEC,
            ansible=ansible,
            artifacts=CachedArtifacts.of(places),
            places=places,
            log=state / "redis.jsonl",
        )
        yield Bench(places, made.testbed, ready)
    finally:
        teardown(SPEC.testbed, terraform=terraform, places=places, progress=print)


def windows_in(folder: Path, rank: int = 0) -> list[dict]:
    records = list(read_parts(folder, rank))
    return [record for record in records if record["kind"] == "window"]


def test_a_session_is_pressed_fetched_and_agreed_on(bench, tmp_path):
    seen: list[str] = []

    def look() -> None:
        seen.append(bench.on_l1("ss", "-ltnH"))
        engines = "for pid in $(pgrep -f '[l]oadgen.engine'); do cat /proc/$pid/autogroup; done"
        seen.append(bench.on_l1("sh", "-c", engines))

    outcome = bench.press_and("whole", tmp_path, look)
    assert outcome.outcome == "finished"
    assert outcome.sent == outcome.ok == outcome.locust_requests > 1000
    assert outcome.capacity_per_s > 0
    assert outcome.notes["tls_version"] == "TLSv1.3"
    rpc = [line.split()[3] for line in seen[0].splitlines() if ":5557" in line]
    assert rpc == ["127.0.0.1:5557"]
    assert "nice -15" in seen[1] or not Path("/proc/self/autogroup").exists()


def test_a_master_that_is_killed_is_started_again_and_misses_nothing(bench, tmp_path):
    unit = bench.unit("master", "master")
    kill = ("systemctl", "kill", "--signal=KILL", unit)
    outcome = bench.press_and("master", tmp_path, lambda: bench.on_l1(*kill))
    assert outcome.outcome == "finished"
    assert outcome.sent == outcome.locust_requests
    assert "Scheduled restart job" in bench.on_l1("journalctl", "-u", unit)


def test_two_workers_begin_together_and_one_that_is_killed_lacks_the_seconds_it_was_down(
    bench, tmp_path
):
    folder = tmp_path / "redis_cluster" / "load" / "capacity"
    lasts_s = 22  # long enough for an engine to come back where that takes ten seconds
    open_loop = (Phase("capacity", "open", lasts_s, rate_per_s=300.0, arrivals="constant"),)
    outcome = bench.press_and(
        "pair", folder, lambda: bench.kill_engine("pair", 1), workers=2, phases=open_loop
    )
    assert (outcome.outcome, outcome.workers_missing) == ("finished", ())
    assert outcome.notes["worker_1_engines"] == "2"
    first, second = (windows_in(folder, rank) for rank in (0, 1))
    assert first[0]["start_s"] == second[0]["start_s"], "they began in the same second"
    assert missing_seconds(first, lasts_s) == []
    missing = missing_seconds(second, lasts_s)
    assert missing == list(range(missing[0], missing[-1] + 1))
    assert lasts_s - 1 not in missing, "it came back, and both ended in the same second"
    for at_s, window in by_second(second).items():
        if at_s < lasts_s:
            assert sum(one["due"] for one in window["operations"].values()) == 150
    phase = measure(tmp_path / "redis_cluster").sessions["capacity"].phases["capacity"]
    assert phase.total("ok") == outcome.ok
    assert ended(outcome) == outcome.locust_requests
    (lost,) = phase.missing
    assert (lost.worker, lost.seconds) == (1, len(missing))


def test_a_worker_that_is_killed_costs_nothing(bench, tmp_path):
    unit = bench.unit("worker", "worker")
    kill = ("systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit)
    open_loop = (Phase("capacity", "open", 14, rate_per_s=300.0),)
    outcome = bench.press_and("worker", tmp_path, lambda: bench.on_l1(*kill), phases=open_loop)
    assert outcome.outcome == "finished"
    assert "Scheduled restart job" in bench.on_l1("journalctl", "-u", unit)
    assert missing_seconds(windows_in(tmp_path), 14) == []
    assert "worker_0_engines" not in outcome.notes
    assert outcome.sent == ended(outcome) == outcome.locust_requests


def test_a_load_host_that_reboots_goes_on_with_its_session(bench, tmp_path):
    open_loop = (Phase("capacity", "open", 45, rate_per_s=300.0),)
    reboot = ("systemctl", "reboot")

    def go() -> None:
        with contextlib.suppress(HostUnreachable):  # it goes while it answers
            bench.on_l1(*reboot)

    outcome = bench.press_and("boot", tmp_path, go, phases=open_loop)
    assert outcome.outcome == "finished"
    begins = [one for one in read_parts(tmp_path, 0) if one["kind"] == "begin"]
    assert [(one["attempt"], one["reason"]) for one in begins] == [(0, "start"), (1, "host_booted")]
    missing = missing_seconds(windows_in(tmp_path), 45)
    assert missing == list(range(missing[0], missing[-1] + 1))
    assert 44 not in missing
    assert outcome.sent == ended(outcome) == outcome.locust_requests
    assert bench.on_l1("systemctl", "is-enabled", "soakbed-load-resume").strip() == "enabled"


def ended(outcome: LoadOutcome) -> int:
    return outcome.ok + outcome.failed + outcome.unknown


def by_second(windows: list[dict]) -> dict[int, dict]:
    """Whole windows by the second of the phase."""
    return {one["start_s"] - windows[0]["start_s"]: one for one in windows if one["complete"]}


def missing_seconds(windows: list[dict], lasts_s: int) -> list[int]:
    return sorted(set(range(lasts_s)) - set(by_second(windows)))


def test_two_load_hosts_press_as_one_and_lose_nothing_to_their_tunnel(bench, tmp_path):
    seen: dict[str, Any] = {}

    def meddle() -> None:
        seen["rpc"] = [
            line.split()[3]
            for told in (bench.on_l1("ss", "-ltnH"), bench.on_l2("ss", "-ltnH"))
            for line in told.splitlines()
            if ":5557" in line
        ]
        seen["masters"] = bench.on_l2("pgrep", "-f", "[-]-master-bind-host")
        # On a machine that stood still the tunnel may have given the line up by itself.
        began = bench.tunnel_restarts()
        bench.on_l2("systemctl", "kill", "--signal=KILL", "soakbed-load-tunnel.service")
        wait_until(lambda: bench.tunnel_restarts() > began, "a tunnel in the killed one's place")
        with line_cut(LocalHost("t-load", "l2", HOSTS["l2"]["address"]), bench.l1.address):
            cut = bench.tunnel_restarts()
            wait_until(lambda: bench.tunnel_restarts() > cut, "the tunnel gives the line up")
        wait_until(lambda: bench.tunnel()["ActiveState"] == "active", "the tunnel is back")

    before = compared(bench.whole.of_duty("load"), shell=bench.shell)
    open_loop = (Phase("capacity", "open", 30, rate_per_s=200.0, arrivals="constant"),)
    outcome = bench.press_and("tunnel", tmp_path, meddle, on=bench.whole, phases=open_loop)
    assert (outcome.outcome, outcome.workers, outcome.workers_missing) == ("finished", 4, ())
    assert outcome.sent == outcome.locust_requests == 6000
    assert outcome.locust_failures == outcome.failed + outcome.unknown
    assert not [key for key in outcome.notes if "late_start" in key]
    assert len({windows_in(tmp_path, rank)[0]["start_s"] for rank in range(4)}) == 1
    assert set(seen["rpc"]) == {"127.0.0.1:5557"}
    assert len(seen["rpc"]) == 2
    assert seen["masters"] == "", "one master, on l1"
    assert bench.tunnel()["ActiveState"] == "inactive", "it runs while a worker does"
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in kept if b"PRIVATE KEY" in path.read_bytes()] == []
    # Both hosts go by the clock of one machine: what is read of it is within its own bound.
    for comparison in (before, compared(bench.whole.of_duty("load"), shell=bench.shell)):
        (pair,) = comparison.pairs()
        assert pair.apart_us <= pair.bound_us < 500_000


def test_the_key_of_a_tunnel_opens_one_port_and_nothing_else(bench):
    refused = "administratively prohibited"
    port = bench.through_tunnel("-o", "LogLevel=INFO", "-W", "127.0.0.1:5557")
    assert "Connection refused" in port.err, "let in and forwarded; no master runs just now"
    other = bench.through_tunnel("-o", "LogLevel=INFO", "-W", "127.0.0.1:22")
    assert refused in other.err
    beyond = bench.through_tunnel("-o", "LogLevel=INFO", "-W", f"{HOSTS['d1']['address']}:6379")
    assert refused in beyond.err
    back = bench.through_tunnel(
        *("-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:7777:127.0.0.1:22")
    )
    assert "remote port forwarding failed" in back.err
    told = bench.through_tunnel(to="cat /etc/passwd")
    assert told.code != 0
    assert told.out == "This account is currently not available.\n"
    terminal = bench.through_tunnel("-tt")
    assert (terminal.code != 0, "root" in terminal.out) == (True, False)


def test_a_line_that_breaks_costs_nothing(bench, tmp_path):
    def cut() -> None:
        # Every sshd of the host, ours included, and none for a while.
        bench.shell.run(
            bench.l1,
            [
                *("systemd-run", "--on-active=1", "sh", "-c"),
                "systemctl kill -s KILL ssh; systemctl stop ssh; sleep 4; systemctl start ssh",
            ],
        )

    outcome = bench.press_and("line", tmp_path, cut)
    assert any("load goes on there" in line for line in bench.said)
    assert outcome.outcome == "finished"
    assert outcome.sent == outcome.locust_requests


def test_a_session_outlives_its_controller_and_is_adopted(bench, tmp_path):
    controller = bench.press_elsewhere("adopt", tmp_path)
    bench.wait_for_windows("adopt")
    controller.kill()
    controller.wait()
    outcome = bench.press("adopt", tmp_path)
    assert "adopted" in bench.said[0]
    assert outcome.outcome == "finished"
    assert outcome.sent == outcome.locust_requests
    assert [window["seq"] for window in windows_in(tmp_path)] == list(
        range(len(windows_in(tmp_path)))
    )
    started = bench.on_l1("journalctl", "--output=cat", "-u", bench.unit("worker", "adopt"))
    assert started.count("Started") == 1


def test_ctrl_c_leaves_no_load_behind(bench, tmp_path):
    controller = bench.press_elsewhere("ctrl-c", tmp_path)
    bench.wait_for_windows("ctrl-c")
    os.kill(controller.pid, signal.SIGINT)
    assert controller.wait(300) != 0
    for duty in ("master", "worker"):
        state = bench.on_l1("systemctl", "is-active", bench.unit(duty, "ctrl-c")).strip()
        assert state == "inactive"


def test_a_host_with_another_key_than_recorded_is_refused(bench, tmp_path):
    other = tmp_path / "known_hosts"
    recorded = Path(bench.testbed.known_hosts_file).read_text().splitlines()
    of_d1 = next(line for line in recorded if bench.testbed.hosts["d1"].address in line)
    other.write_text(of_d1.replace(bench.testbed.hosts["d1"].address, bench.l1.address) + "\n")
    impostor = bench.testbed.model_copy(update={"known_hosts_file": str(other)})
    with Ssh(impostor) as shell, pytest.raises(HostUnreachable, match="key"):
        shell.run(bench.l1, ["true"])


def test_words_of_a_command_are_never_read_by_a_shell(bench):
    assert bench.shell.run(bench.l1, ["echo", "$HOME; id", "a  b"]).out == "$HOME; id a  b\n"


def test_a_command_that_fails_says_what_it_wrote(bench):
    with pytest.raises(CommandFailed, match=r"l1: ls /nowhere ended with 2: .*No such file"):
        bench.shell.run(bench.l1, ["ls", "/nowhere"])


def test_a_command_that_hangs_is_given_up(bench):
    with pytest.raises(CommandFailed, match="did not end in 1 s"):
        bench.shell.run(bench.l1, ["sleep", "30"], timeout_s=1)


def test_evidence_is_collected_without_a_secret_in_it(bench, tmp_path):
    folder = tmp_path / "run" / "redis_cluster"
    inventory = collect(bench.testbed, "redis_cluster", shell=bench.shell, folder=folder)
    secrets = secrets_of(bench.testbed)
    assert len(secrets) == 3
    fetched = [path for path in folder.rglob("*") if path.is_file()]
    assert len(fetched) == sum(len(files) for files in inventory.files.values()) > 20
    assert (folder / "hosts" / "kernel-of-machine.log").exists()
    for path in fetched:
        content = path.read_bytes()
        assert b"PRIVATE KEY" not in content
        assert [secret for secret in secrets if secret.encode() in content] == []
    assert (
        "masterauth <secret>"
        in (folder / "hosts/d1/configuration/etc/soakbed/redis_cluster/master.conf").read_text()
    )
    assert (folder / "hosts/d1/journal/soakbed-redis-master.log").stat().st_size > 0


def test_a_sampler_that_is_killed_writes_on_and_nothing_of_it_stays_on_the_hosts(bench, tmp_path):
    folder = tmp_path / "run" / "redis_cluster"
    name = samples_name("run", "redis_cluster")
    with sampled(name, SPEC, bench.testbed, shell=bench.shell, progress=print):
        bench.wait_for_samplers(name, 1)
        bench.on_l1("systemctl", "kill", "--signal=KILL", f"soakbed-samples-{name}.service")
        bench.wait_for_samplers(name, 2)
        facts = host_facts(bench.testbed, shell=bench.shell)
        assert not [unit for unit in facts["l1"]["units"] if "samples" in unit]
    collect(bench.testbed, "redis_cluster", shell=bench.shell, folder=folder)
    found = samples_of_target(folder, {"d1": "data", "l1": "load"})
    assert {host: read.starts for host, read in found.by_host.items()} == {"d1": 1, "l1": 2}
    assert found.by_host["l1"].damages == {}
    assert {"soakbed-redis-master.service", "soakbed-redis-replica.service"} < set(
        found.units["unit"][found.units["host"] == "d1"]
    )
    assert (
        bench.on_l1("sh", "-c", "ls /var/lib/soakbed/samples; pgrep -f '[s]ampler.py'; true") == ""
    )


def test_facts_hold_the_restarts_of_every_member(bench):
    facts = host_facts(bench.testbed, shell=bench.shell)
    assert set(facts) == {"d1", "d2", "d3", "l1"}
    assert facts["d1"]["units"]["soakbed-redis-master.service"]["restarts"] == 0
