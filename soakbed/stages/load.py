"""Pressing a target: start a session on the load hosts, watch it, fetch its evidence.

The session runs under systemd there and needs nobody. A controller that was killed comes back to
it: a session that runs or has ended is adopted, one of an open loop that broke off goes on by the
same clock, and any other that broke off begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.adapters.patient import PatientShell
from soakbed.adapters.ssh import HostUnreachable, Shell
from soakbed.errors import LoadError
from soakbed.records.run import LoadOutcome
from soakbed.records.testbed import Testbed
from soakbed.stages.backfill import Backfill
from soakbed.stages.client_check import require_promise
from soakbed.stages.load_account import account_for
from soakbed.stages.load_plan import goes_on, plan_session, sessions_of
from soakbed.stages.load_session import LoadSession, found_outcome
from soakbed.stages.so_far import Collating
from soakbed.stages.watch import Care, Watch
from soakbed.stages.watch_notes import WatchNotes

__all__ = [
    "Care",
    "drive",
    "load_hosts_released",
    "plan_session",
    "session_is_there",
    "sessions_of",
]


def drive(
    plan: Plan,
    testbed: Testbed,
    *,
    shell: Shell,
    folder: Path,
    progress: Callable[[str], None],
    care: Care | None = None,
    asks_first: bool = True,
) -> LoadOutcome:
    """Press by `plan` until it is done, and bring the evidence into `folder`.

    `asks_first`: a target must keep its promise before it is pressed; a null server has none.
    Raises ConfigureError when the target does not keep its promise before the load, and LoadError
    when the session does not start, does not end in its time, sends nothing, or does not account
    for what it sent. Ctrl-C stops the load on the hosts before it goes on up.
    """
    care = care or Care()
    looking = LoadSession(plan, testbed, shell=shell, web_port=care.web_port)
    patient = PatientShell(shell, progress) if care.patient else shell
    session = LoadSession(plan, testbed, shell=patient, web_port=care.web_port)
    fetching = Backfill(session, folder, shell=patient)
    with load_hosts_released(looking):
        if not _adopted(session, care, progress):
            if asks_first:
                require_promise(plan.target, plan.endpoints, session.hosts[0], shell=patient)
            fetching.begin(folder.parent.parent / "set-aside" / folder.name)
            session.begin()
        notes = WatchNotes(plan, folder)
        if not (folder / "plan.json").exists():
            plan.write(folder / "plan.json")  # for those who look on; the hosts' own comes later
        Watch(
            looking,
            Backfill(looking, folder, shell=shell),
            notes,
            collating=_collating(folder, plan, care),
            progress=progress,
            care=care,
        ).until_over()
    notes.say("fetching", "the load is over; its evidence is being fetched")
    fetching.finish()
    notes.say("over")
    try:
        return account_for(plan, folder)
    except LoadError as error:
        if why := session.journal():
            raise LoadError(f"{error.problem}; units said: {why}", remedy=error.remedy) from error
        raise


def _adopted(session: LoadSession, care: Care, progress: Callable[[str], None]) -> bool:
    """Whether the session is there to be watched or fetched; one that broke off is started on."""
    found, told = session.outcome_on_hosts(), f"{session.plan.target} {session.plan.session}"
    if found == "broken" and goes_on(session.plan.session):
        progress(f"{told}: session broke off on the load hosts, goes on by the same clock")
        if not care.stop_asked():
            session.go_on()
        return True
    # One that was stopped and should not have been was interrupted with its controller.
    adopted = _is_kept(found, session.plan.session) or (found != "" and care.stop_asked())
    if adopted:
        progress(f"{told}: session is {found} on the load hosts, adopted")
    return adopted


def session_is_there(name: str, testbed: Testbed, *, shell: Shell) -> bool:
    """Whether a session of this name runs, is done, or goes on; then hands off its target."""
    found, session = found_outcome(name, testbed.of_duty("load"), shell=shell), name.split("-")[-1]
    return _is_kept(found, session) or (found == "broken" and goes_on(session))


def _is_kept(found: str, session: str) -> bool:
    """Whether a session in this state is not pressed again. A short one that failed is."""
    return found in ("running", "finished") or (found == "failed" and goes_on(session))


@contextmanager
def load_hosts_released(session: LoadSession) -> Iterator[None]:
    """Stop the session's units if the block is interrupted or gives up; a kill -9 leaves them."""
    try:
        yield
    except (KeyboardInterrupt, LoadError) as error:
        if not isinstance(error, HostUnreachable):
            session.stop()
        raise


def _collating(folder: Path, plan: Plan, care: Care) -> Collating | None:
    if care.duties is None:
        return None
    return Collating(folder.parent.parent, plan.session, care.duties)
