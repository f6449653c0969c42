"""Before a session presses: will disks, quotas and certificates last to its end?"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

from loadgen.contract.plan import Plan
from soakbed.adapters.pki import expiry
from soakbed.adapters.ssh import Shell
from soakbed.errors import LoadError
from soakbed.records.run import ReadyTarget
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Testbed
from soakbed.stages.disk_plateau import check_room
from soakbed.stages.load_plan import session_limit_s
from soakbed.stages.watchman import pki_of

__all__ = ["COLLECT_S", "check_before_load", "check_certificates"]

# Fetching the evidence of three days from four hosts, and asking the target once more.
COLLECT_S = 3600


def check_before_load(
    plan: Plan,
    ready: ReadyTarget,
    spec: RunSpec,
    testbed: Testbed,
    *,
    shell: Shell,
    progress: Callable[[str], None],
) -> None:
    """Refuse what cannot end well. Raises LoadError with the numbers and the way out."""
    check_certificates(testbed, time.time() + session_limit_s(plan) + COLLECT_S)
    rate_per_s = max((phase.rate_per_s for phase in plan.phases), default=0.0)
    check_room(ready, spec, testbed, shell=shell, rate_per_s=rate_per_s, progress=progress)


def check_certificates(testbed: Testbed, until_s: float) -> None:
    """The testbed's certificates are valid until then. Raises LoadError when they are not."""
    ends = expiry(pki_of(testbed))
    if ends is None or ends.timestamp() >= until_s:
        return
    needed = dt.datetime.fromtimestamp(until_s, dt.UTC)
    raise LoadError(
        f"certificates are valid until {ends:%Y-%m-%d %H:%M} UTC, load and collection may last "
        f"until {needed:%Y-%m-%d %H:%M} UTC",
        remedy="run `soakbed provision`: it renews certificates while nothing runs; or press for a "
        "shorter time",
    )
