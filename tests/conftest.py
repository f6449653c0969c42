"""For all tests: none fails because the machine is slow, and none leaves hosts behind."""

import os
import signal
import threading
from collections import Counter
from pathlib import PurePath

import pytest
from execnet.gateway_base import WorkerGateway
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import NodeManager

# Hypothesis fails an example that takes over 200 ms, and a test for which the first ten took long
# to make up; a busy machine makes any example do that.
settings.register_profile("soakbed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soakbed")

# A shell starts what it puts in the background deaf to Ctrl-C, and so is all that tests start: the
# tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Upon Ctrl-C execnet interrupts the workers of xdist once more 5 s later, in the middle of their
# cleaning up, and ends them after another 10 s. Unmaking the hosts of four tests takes longer.
UNMAKING_S = 120
interrupted = threading.Event()


def pytest_keyboard_interrupt() -> None:
    """The test is over, and its fixtures are about to clean up."""
    interrupted.set()


def end_when_unmade(worker: WorkerGateway) -> None:
    """What execnet does, with more patience and one interruption at most."""
    worker._execpool.trigger_shutdown()
    if not worker._execpool.waitall(5.0) and not interrupted.is_set():
        os.kill(os.getpid(), signal.SIGINT)
    worker._execpool.waitall(UNMAKING_S)


WorkerGateway._terminate_execution = end_when_unmade
NodeManager.EXIT_TIMEOUT = UNMAKING_S + 10

# Take minutes, and wait for most of them: begun last, one of them would be what all others had been
# waited for, beside an idle machine; begun first, they wait beside tests that work.
BEGIN_FIRST = (
    "test_a_soak_survives.py",
    "test_engine_tikv.py",
    "test_main_job.py",
    "test_configure_tikv.py",
    "test_load_stage_on_hosts.py",
    "test_configure_targets.py",
    "test_hosts_you_have.py",
    "test_aws_provision.py",
    "test_local_hosts.py",
    "test_tikv_by_stand_ins.py",
)
# Of these each test has hosts of its own, and goes to whoever is free.
SHARE_NOTHING = {"test_main_job.py"}


class Turns(LoadFileScheduling):
    """The tests of one file follow each other on one worker, but for files that share nothing."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if PurePath(file).name in SHARE_NOTHING else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Turns | None:
    return Turns(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, then those with many tests, as xdist would have it (with -n, each goes to
    whoever is free; this order holds with --no-loadscope-reorder).
    """
    tests_in = Counter(item.path for item in items)
    turns = {name: turn for turn, name in enumerate(BEGIN_FIRST)}
    last = len(turns)
    items.sort(key=lambda item: (turns.get(item.path.name, last), -tests_in[item.path]))
