"""For all tests: none fails because the machine is slow, and none leaves hosts behind."""

import os
import signal
import threading
from collections import Counter

import pytest
from execnet.gateway_base import WorkerGateway
from hypothesis import settings
from xdist.workermanage import NodeManager

# Hypothesis fails an example that takes over 200 ms; a busy machine makes any example do that.
settings.register_profile("soakbed", deadline=None)
settings.load_profile("soakbed")

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

# Waits for minutes and asks for little: begun last it would be what all others had been waited for.
BEGIN_FIRST = "test_a_soak_survives.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many tests first, as xdist would have it, but for the soak (with -n, each file
    goes to whoever is free; this order holds with --no-loadscope-reorder).
    """
    tests_in = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name != BEGIN_FIRST, -tests_in[item.path]))
