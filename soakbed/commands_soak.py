"""What a soak adds to `commands`: leaving it, coming back to it, looking on, and ending it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from soakbed.adapters.local_machine import remains_of
from soakbed.adapters.ssh import Ssh
from soakbed.archive.lock import TestbedBusy, holder
from soakbed.archive.run_folder import RunFolder
from soakbed.commands import (
    Session,
    announce_cost,
    conclude,
    require_hardware_of,
    run_through,
)
from soakbed.errors import ArchiveError, DetachedEnded
from soakbed.records.lease import Lease
from soakbed.records.places import Places
from soakbed.records.spec import RunSpec
from soakbed.records.standing import Standing
from soakbed.records.summary import Summary
from soakbed.records.testbed import Testbed
from soakbed.report import formats
from soakbed.report.standing import come_back, cost_so_far, standing_text
from soakbed.stages.cost_plan import cost_of_hosts, plan_of_run
from soakbed.stages.lease import held_lease
from soakbed.stages.standing import CONTROLLER_LOG, looked_at, seen_by, standing_of

__all__ = ["attach", "resume", "soak", "status", "stop"]

_LOOK_S = 1.0
_ASK_HOSTS_S = 5.0
_TAIL_LINES = 12
_QUIET_S = 30.0  # between two views where there is no terminal
PlacesOf = Callable[[str], Places]


def soak(session: Session, spec: RunSpec, *, detach: bool) -> None:
    """A run that is waited for however long its hosts are away; in the background if asked."""
    results = session.places.results
    _must_be_free(session)
    run = RunFolder.resumable(results, spec)
    word = "resumed" if run else "begun"
    if run is None:
        require_hardware_of(session, spec)
        announce_cost(session, lambda _testbed, places: plan_of_run(spec, places))
    run = run or RunFolder.begin(results, spec)
    if not run.is_soak():
        run.write("soak", {"schema": 1, "asked_s": time.time()})
    session.console.print(f"run {run.run_id}, {word}", highlight=False)
    if detach:
        _detached(session, run)
    else:
        _in_foreground(session, spec, run)


def resume(
    run_id: str,
    results: Path,
    places_of: PlacesOf,
    console: Console,
    command: Sequence[str],
    *,
    detach: bool = False,
) -> None:
    """Go on with an unfinished run, on the same clock."""
    run = _run(results, run_id)
    spec = run.spec()
    session = Session.begin(spec.testbed, places_of(spec.testbed.name), console, command=command)
    _must_be_free(session)
    console.print(f"run {run.run_id}, resumed", highlight=False)
    if detach:
        _detached(session, run)
    elif run.is_soak():
        _in_foreground(session, spec, run)
    else:
        run_through(session, spec, run)


def stop(
    run_id: str, results: Path, places_of: PlacesOf, console: Console, command: Sequence[str]
) -> None:
    """End the load in an orderly way, by the controller if one lives, else by ourselves."""
    run = _run(results, run_id)
    spec = run.spec()
    session = Session.begin(spec.testbed, places_of(spec.testbed.name), console, command=command)
    run.ask_to_stop("stopped by its operator (soakbed stop)")
    if (pid := _holder(session)) is None:
        console.print(f"run {run.run_id}: no controller lives; ending it here", highlight=False)
        run_through(session, spec, run)
        return
    console.print(
        f"run {run.run_id}: process {pid} ends the load, fetches the evidence, judges and reports; "
        "Ctrl-C leaves it to that",
        highlight=False,
    )
    if _followed(session, run):
        conclude(console, run, run.read("summary", Summary), strict=True)


def attach(run_id: str, results: Path, places_of: PlacesOf, console: Console) -> None:
    """Look on until the run is finished; Ctrl-C only leaves."""
    run = _run(results, run_id)
    testbed = run.spec().testbed
    session = Session.begin(testbed, places_of(testbed.name), console, command=("soakbed",))
    if _followed(session, run):
        conclude(console, run, run.read("summary", Summary), strict=False)


def status(session: Session, *, asks_hosts: bool, as_json: bool) -> None:
    """Hosts, the unfinished run as it stands, and the finished ones."""
    results = session.places.results
    finished = sorted(path.parent.name for path in results.glob("2*/summary.json"))
    current = results / "current"
    run = RunFolder(current.resolve()) if (current / "spec.json").is_file() else None
    standing = None
    if run is not None:
        pid = holder(session.locks, run.spec().testbed.name)
        standing = standing_of(run, pid)
        if asks_hosts or pid is None:
            standing = _asked(standing, run)
    local = session.spec.provider == "local"
    cost = cost_of_hosts(session.spec, session.places)
    lease = held_lease(session.places)
    told = {
        "testbed": session.spec.name,
        "provider": session.spec.provider,
        "up": remains_of(session.spec.name).lines() if local else [],
        "lease": _lease(lease) if lease else None,
        "unfinished": run.run_id if run else None,
        "finished": finished,
        "run": standing.model_dump(mode="json", by_alias=True) if standing else None,
        "cost": cost.model_dump(mode="json") if cost else None,
    }
    if as_json:
        print(json.dumps(told, indent=1))
        return
    console = session.console
    counts = f"up, {remains_of(session.spec.name).counts()}" if told["up"] else "not up"
    console.print(f"testbed {session.spec.name}: {counts}", highlight=False, soft_wrap=True)
    if cost is not None:
        said = f"cost since its hosts were made: {cost_so_far(cost)}"
        console.print(said, highlight=False, soft_wrap=True)
    if lease is not None:
        console.print(f"lease: {_lease_text(lease)}", highlight=False, soft_wrap=True)
    console.print(f"finished: {', '.join(finished) or 'none yet'}", highlight=False)
    if standing is not None:
        console.print("unfinished:", highlight=False)
        console.print(standing_text(standing))


def _lease(lease: Lease) -> dict[str, object]:
    left_s = max(0, lease.ends_s - int(time.time()))
    return {"id": lease.id, "ends_s": lease.ends_s, "left_s": left_s}


def _lease_text(lease: Lease) -> str:
    ends, now_s = formats.when(lease.ends_s), time.time()
    if lease.has_lapsed(now_s):
        return f"ended {ends}; the hosts have ended themselves, and soakbed provision makes others"
    left = formats.duration(lease.ends_s - now_s)
    return f"the hosts end themselves {ends}, in {left}, unless a run extends it"


def _run(results: Path, run_id: str) -> RunFolder:
    if run_id == "current" and not (results / "current").exists():
        raise ArchiveError(
            "no run was left unfinished", remedy="start one with: soakbed soak or soakbed bench"
        )
    return RunFolder.open(results, run_id)


def _holder(session: Session) -> int | None:
    return holder(session.locks, session.spec.name)


def _must_be_free(session: Session) -> None:
    if (pid := _holder(session)) is not None:
        raise TestbedBusy(
            f"testbed {session.spec.name} is in use by process {pid}",
            remedy="look on with: soakbed attach; end it in an orderly way with: soakbed stop",
        )


def _in_foreground(session: Session, spec: RunSpec, run: RunFolder) -> None:
    """Here, where a Ctrl-C ends the load in an orderly way while there is load."""
    console = session.console

    def answer(_signal: int, _frame: FrameType | None) -> None:
        watch = seen_by(run, os.getpid())
        if watch is None or watch.state not in ("pressing", "away") or run.stop_asked():
            raise KeyboardInterrupt
        run.ask_to_stop("stopped by Ctrl-C")
        console.print(
            "warning: Ctrl-C ends this soak in an orderly way: the load is stopped, its evidence "
            "fetched and judged. Ctrl-C once more leaves at once (soakbed stop goes on). A soak "
            "that is to outlive its terminal: soakbed soak --detach",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )

    before = signal.signal(signal.SIGINT, answer)
    try:
        run_through(session, spec, run)
    finally:
        signal.signal(signal.SIGINT, before)


def _detached(session: Session, run: RunFolder) -> None:
    """The same command in a process of its own; returns after its first look at the load."""
    console, log = session.console, run.path / CONTROLLER_LOG
    words = [word for word in session.command[1:] if word != "--detach"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "soakbed", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that neither Ctrl-C nor the terminal's end reaches it
        )
    shown = log.stat().st_size
    console.print(f"process {process.pid}, log: {log}", highlight=False, soft_wrap=True)
    try:
        while process.poll() is None and not seen_by(run, process.pid):
            shown = _show_new(log, shown, console)
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        console.print("left; the soak goes on", highlight=False)
    if process.poll():
        raise DetachedEnded(
            f"the soak ended before its first look at the load:\n{_tail(log)}",
            remedy="mend what it says, then: soakbed resume",
            exit_code=process.returncode,
        )
    _show_new(log, shown, console)
    if (watch := seen_by(run, process.pid)) and watch.workers:
        rate = sum(one.per_s for one in watch.workers)
        console.print(f"first look: {watch.target} {watch.session} {rate:,.0f}/s", highlight=False)
    console.print(come_back(run.run_id), highlight=False, soft_wrap=True)


def _show_new(log: Path, shown: int, console: Console) -> int:
    with log.open("rb") as file:
        file.seek(shown)
        text = file.read()
    if text.strip():
        told = text.decode(errors="replace").rstrip("\n")
        console.print(told, style="dim", markup=False, highlight=False, soft_wrap=True)
    return shown + len(text)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])


def _followed(session: Session, run: RunFolder) -> bool:
    """Show how the run stands until it is finished; False when somebody left before."""
    console = session.console
    hint = Text("Ctrl-C only detaches: the soak goes on without you", style="dim")
    every_s = _LOOK_S if console.is_terminal else _QUIET_S
    try:
        with _live(console) as show:
            while not _is_finished(session, run):
                pid = _holder(session)
                standing = standing_of(run, pid)
                standing = standing if pid else _asked(standing, run)
                show(Group(standing_text(standing), hint))
                time.sleep(every_s if pid else max(every_s, _ASK_HOSTS_S))
    except KeyboardInterrupt:
        console.print(f"detached; the soak goes on\n{come_back(run.run_id)}", highlight=False)
        return False
    return True


def _is_finished(session: Session, run: RunFolder) -> bool:
    current = session.places.results / "current"
    unfinished = current.exists() and current.resolve() == run.path.resolve()
    return run.has("summary") and not unfinished


@contextmanager
def _live(console: Console) -> Iterator[Callable[[Group], None]]:
    """On a terminal one view that changes, elsewhere one view after the other."""
    if not console.is_terminal:
        yield console.print
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield lambda shown: live.update(shown, refresh=True)


def _asked(standing: Standing, run: RunFolder) -> Standing:
    """With what the load hosts say themselves, if there are any yet."""
    if not run.has("testbed"):
        return standing
    testbed = run.read("testbed", Testbed)
    with Ssh(testbed) as shell:
        return looked_at(standing, run, testbed, shell=shell)
