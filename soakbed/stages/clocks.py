"""The clocks of the load hosts, compared before and after each session of load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from soakbed.adapters.ssh import Answer, CommandFailed, HostUnreachable, Shell
from soakbed.archive.run_folder import RunFolder
from soakbed.records.clocks import Apart, ClockComparison, ClockReading, SessionClocks
from soakbed.records.run import ReadyTarget
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load import session_is_there
from soakbed.stages.load_session import SESSIONS
from soakbed.units import us_to_ms

__all__ = ["MOST_APART_US", "clocks_kept", "compared", "furthest", "reading"]

# A twentieth of the shortest window, as for all hosts at preflight: windows of several hosts are
# merged by the second.
MOST_APART_US = 50_000
# The fastest of a dozen answers waits for nothing but the network and the two interpreters.
PROBES = 12
# One line in, one time out: a process that is already running answers within the round trip.
_ANSWERING = [
    *("/usr/bin/python3", "-S", "-E", "-c"),
    "import sys,time\nfor _ in sys.stdin: print(time.time_ns(), flush=True)",
]

Progress = Callable[[str], None]


def compared(hosts: Sequence[Host], *, shell: Shell, probes: int = PROBES) -> ClockComparison:
    """Read every host's clock against this machine's. A host that does not answer is `unknown`."""
    # One pairing of our two clocks for all hosts: ours may be set while we ask, and no reading
    # of one host against another may see that.
    wall_ns = time.time_ns() - time.monotonic_ns()
    readings: dict[str, ClockReading] = {}
    unknown: dict[str, str] = {}
    for host in hosts:
        try:
            answers = shell.ask(host, _ANSWERING, times=probes)
            readings[host.name] = reading(answers, wall_ns=wall_ns)
        except (CommandFailed, HostUnreachable, ValueError) as error:
            unknown[host.name] = str(error).splitlines()[0]
    return ClockComparison(at_s=round(time.time(), 3), hosts=readings, unknown=unknown)


def reading(answers: Sequence[Answer], *, wall_ns: int) -> ClockReading:
    """The best of several probes. `wall_ns`: our wall clock less our monotonic one.

    The host read its clock between question and answer; the middle is the guess that is wrong by
    half of the trip at most (Cristian, "Probabilistic clock synchronization", Distributed
    Computing 3:146-158, 1989). Raises ValueError when an answer is no time, or none came.
    """
    best = min(answers, key=lambda answer: answer.came_ns - answer.asked_ns)
    middle_ns = (best.asked_ns + best.came_ns) // 2 + wall_ns
    half_ns = (best.came_ns - best.asked_ns) / 2
    return ClockReading(
        offset_us=round((int(best.said) - middle_ns) / 1000),
        bound_us=int(half_ns // 1000) + 1,  # never less than it is
        probes=len(answers),
    )


def furthest(comparison: ClockComparison) -> Apart | None:
    """The two load hosts whose clocks may be furthest apart; None where there are not two."""
    return max(comparison.pairs(), key=lambda pair: pair.most_us, default=None)


@contextmanager
def clocks_kept(
    run: RunFolder,
    ready: ReadyTarget,
    session: str,
    testbed: Testbed,
    *,
    shell: Shell,
    progress: Progress,
) -> Iterator[None]:
    """Compare before the block and when it is done, and keep both in the manifest.

    Of a session that runs or has ended already, what was compared before it stays, and what was
    not is not made up.
    """
    hosts, target = testbed.of_duty("load"), ready.target
    if not _begun(f"{run.run_id}-{target}-{session}", testbed, shell=shell):
        _keep(run, target, session, "before", compared(hosts, shell=shell), progress)
    yield
    _keep(run, target, session, "after", compared(hosts, shell=shell), progress)


def _begun(name: str, testbed: Testbed, *, shell: Shell) -> bool:
    """Whether a session of this name is there, and not begun anew."""
    # The question costs an interpreter on every load host; it is asked only when a plan lies there.
    laid = ["test", "-e", f"{SESSIONS}/{name}/plan.json"]
    if shell.run(testbed.of_duty("load")[0], laid, check=False).code:
        return False
    return session_is_there(name, testbed, shell=shell)


def _keep(
    run: RunFolder,
    target: str,
    session: str,
    when: str,
    comparison: ClockComparison,
    progress: Progress,
) -> None:
    held: dict[str, Any] = dict(run.read("manifest", dict[str, Any]))
    offsets = {name: dict(sessions) for name, sessions in held.get("clock_offsets", {}).items()}
    around = SessionClocks.model_validate(offsets.get(target, {}).get(session, {}))
    # A session that begins anew has no end yet.
    around = SessionClocks(
        before=comparison if when == "before" else around.before,
        after=comparison if when == "after" else None,
    )
    offsets.setdefault(target, {})[session] = around.model_dump(mode="json")
    run.write("manifest", {**held, "clock_offsets": offsets})
    for host, why in comparison.unknown.items():
        progress(f"{target} {session}: the clock of {host} is not known {when} it: {why}")
    surely = max(comparison.pairs(), key=lambda pair: pair.surely_us, default=None)
    if surely is not None and surely.surely_us > MOST_APART_US:
        progress(
            f"warning: the clocks of {' and '.join(surely.hosts)} are "
            f"{us_to_ms(surely.apart_us):,.1f} ms apart, known to {us_to_ms(surely.bound_us):.1f} "
            f"ms, more than the {MOST_APART_US // 1000} ms that a run may have: let chrony or "
            "systemd-timesyncd run there"
        )
