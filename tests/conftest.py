"""For all tests: none fails because the machine is slow, and none leaves hosts behind."""

import os
import signal

from execnet.gateway_base import WorkerGateway
from hypothesis import settings
from xdist.workermanage import NodeManager

# Hypothesis fails an example that takes over 200 ms; a busy machine makes any example do that.
settings.register_profile("soakbed", deadline=None)
settings.load_profile("soakbed")

# Upon Ctrl-C the workers of xdist end 10 s after their test was interrupted, wherever they are.
# Unmaking the hosts of four tests on two cores takes longer.
UNMAKING_S = 120


def end_when_unmade(worker: WorkerGateway) -> None:
    """What execnet does, with more patience."""
    worker._execpool.trigger_shutdown()
    if not worker._execpool.waitall(5.0):
        os.kill(os.getpid(), signal.SIGINT)
        worker._execpool.waitall(UNMAKING_S)


WorkerGateway._terminate_execution = end_when_unmade
NodeManager.EXIT_TIMEOUT = UNMAKING_S + 10
