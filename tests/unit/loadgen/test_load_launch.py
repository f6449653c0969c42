"""What the units run: Locust on loopback, with nothing left to its defaults that the plan says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.launch import master_arguments, worker_arguments
from loadgen.look import look, outcome_of
from loadgen.session import HostShare, SessionFolder

ROLE = Path(__file__).resolve().parents[3] / "playbooks" / "roles" / "load_host"
PLAN = Plan(
    run_id="r",
    session="steady",
    target="etcd",
    endpoints=("127.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("steady", "open", 3, 10.0),),
    tls=None,
    workers=3,
)


@pytest.fixture
def session(tmp_path: Path) -> SessionFolder:
    """Two of a session's three workers are on this host."""
    made = SessionFolder(tmp_path)
    made.write_share(HostShare(ranks=(0, 2), rpc_port=6001))
    PLAN.write(made.plan_file)
    return made


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_the_rpc_of_locust_stays_on_loopback(session: SessionFolder):
    assert option(master_arguments(session), "--master-bind-host") == "127.0.0.1"
    assert option(worker_arguments(session, 2), "--master-host") == "127.0.0.1"


def test_the_one_master_waits_for_the_workers_of_all_load_hosts(session: SessionFolder):
    arguments = master_arguments(session)
    assert [option(arguments, name) for name in ("--users", "--expect-workers")] == ["3", "3"]


def test_the_tunnels_key_opens_the_very_port_that_a_session_uses():
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    assert defaults["load_host_rpc_port"] == HostShare(ranks=(0,)).rpc_port


def test_there_is_no_page_unless_asked_for(session: SessionFolder):
    assert "--headless" in master_arguments(session)


def test_the_page_is_on_loopback_only(session: SessionFolder):
    session.write_share(HostShare(ranks=(0,), web_port=8089))
    arguments = master_arguments(session)
    assert option(arguments, "--web-host") == "127.0.0.1"
    assert "--headless" not in arguments


@pytest.mark.parametrize("words", [[], ["master"], ["worker", "folder"], ["worker", "folder:x"]])
def test_other_words_are_answered_with_the_usage_and_exit_2(words: list[str]):
    done = subprocess.run(
        [sys.executable, "-m", "loadgen.launch", *words], capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith(b"usage: ")


def test_a_spool_without_an_end_frame_has_no_outcome(tmp_path: Path):
    spool = tmp_path / "worker-0.spool"
    assert outcome_of(spool) == ""
    writer = SpoolWriter(spool)
    writer.append({"kind": "window"})
    assert outcome_of(spool) == ""
    writer.append({"kind": "end", "outcome": "finished"})
    writer.close()
    assert outcome_of(spool) == "finished"
    spool.write_bytes(spool.read_bytes()[:-1])
    assert outcome_of(spool) == ""


def test_a_look_tells_plan_and_outcomes(session: SessionFolder):
    seen = look(session.path)
    assert Plan.from_json(seen["plan"]) == PLAN
    assert seen["outcomes"] == {"0": "", "2": ""}
    session.plan_file.unlink()
    assert look(session.path) == {}


TWO_LINES = """
from locust.rpc import Message
from loadgen.locust_tuning import ForgivingServer, PatientClient
import gevent

server = ForgivingServer("127.0.0.1", 0)
lines = []
for word in ("first line", "second line"):
    lines.append(PatientClient("127.0.0.1", server.port, "l2_worker"))  # the old one stays open
    lines[-1].send(Message("stats", word, "l2_worker"))
    with gevent.Timeout(10):
        client, message = server.recv_from_client()
        print(client, message.data)
server.send_to_client(Message("ack", "to the newest", "l2_worker"))
with gevent.Timeout(10):
    print(lines[-1].recv().data)
"""


def test_a_worker_whose_tunnel_was_cut_is_heard_on_its_new_line_while_the_old_seems_to_live():
    done = subprocess.run(
        [sys.executable, "-c", TWO_LINES],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROLE.parents[2],
    )
    assert done.stdout.splitlines() == [
        "l2_worker first line",
        "l2_worker second line",
        "to the newest",
    ], done.stderr
