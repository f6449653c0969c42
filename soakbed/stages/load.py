"""Pressing a target: start a session on the load hosts, look in, fetch its evidence.

The session runs under systemd there and needs nobody. A controller that was killed comes back to
it: a session that runs or has finished is adopted, and one that broke off begins anew.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.adapters.ssh import HostUnreachable, Shell
from soakbed.errors import LoadError
from soakbed.records.run import LoadOutcome
from soakbed.records.testbed import Testbed
from soakbed.stages.client_check import require_promise
from soakbed.stages.load_account import account_for
from soakbed.stages.load_plan import plan_session, session_limit_s, sessions_of
from soakbed.stages.load_session import Glance, LoadSession, found_outcome
from soakbed.units import us_to_ms

__all__ = ["drive", "load_hosts_released", "plan_session", "session_is_there", "sessions_of"]

LOOK_IN_S = 2.0
TELL_S = 5.0
# How long a Locust master may outlive the workers that it would show.
_MASTER_GRACE_S = 15.0
# A spool of 72 h is 1-2 GB.
_FETCH_TIMEOUT_S = 1800


def drive(
    plan: Plan,
    testbed: Testbed,
    *,
    shell: Shell,
    folder: Path,
    progress: Callable[[str], None],
    web_port: int = 0,
    asks_first: bool = True,
) -> LoadOutcome:
    """Press by `plan` until it is done, and bring the evidence into `folder`.

    `asks_first`: a target must keep its promise before it is pressed; a null server has none.
    Raises ConfigureError when the target does not keep its promise before the load, and LoadError
    when the session does not start, does not end in its time, sends nothing, or does not account
    for what it sent. Ctrl-C stops the load on the hosts before it goes on up.
    """
    session = LoadSession(plan, testbed, shell=shell, web_port=web_port)
    with load_hosts_released(session):
        found = session.outcome_on_hosts()
        if found:
            progress(f"{plan.target} {plan.session}: session is {found} on the load hosts, adopted")
        else:
            if asks_first:
                require_promise(plan.target, plan.endpoints, session.hosts[0], shell=shell)
            session.begin()
        _wait(session, progress)
    _fetch(session, folder, shell)
    try:
        return account_for(plan, folder)
    except LoadError as error:
        if why := session.journal():
            raise LoadError(f"{error.problem}; units said: {why}", remedy=error.remedy) from error
        raise


def session_is_there(name: str, testbed: Testbed, *, shell: Shell) -> bool:
    """Whether a session of this name runs or has finished; then hands off its target."""
    return bool(found_outcome(name, testbed.of_duty("load"), shell=shell))


@contextmanager
def load_hosts_released(session: LoadSession) -> Iterator[None]:
    """Stop the session's units if the block is interrupted or gives up; a kill -9 leaves them."""
    try:
        yield
    except (KeyboardInterrupt, LoadError) as error:
        if not isinstance(error, HostUnreachable):
            session.stop()
        raise


def _wait(session: LoadSession, progress: Callable[[str], None]) -> None:
    """Look in until no unit runs. A host that is away for a while is waited for."""
    limit_s = session_limit_s(session.plan)
    ends_s = time.monotonic() + limit_s
    teller = _Teller(session, progress)
    workers_gone_s = 0.0
    while True:
        now_s = time.monotonic()
        if now_s > ends_s:
            raise LoadError(
                f"session {session.id} did not end within {limit_s} s",
                remedy="read locust/ of the session and the journals of soakbed-load-* on the "
                "load host for what hangs",
            )
        try:
            glance = session.glance()
        except HostUnreachable as error:
            progress(f"{error.problem}; load goes on there, looking again")
        else:
            if not glance.active():
                return
            workers_gone_s = 0.0 if glance.active("worker") else workers_gone_s or now_s
            if workers_gone_s and now_s - workers_gone_s > _MASTER_GRACE_S:
                session.stop_master()
            if not (glance.progress or glance.active("master")):
                raise LoadError(
                    f"session {session.id} did not start: {session.journal()}",
                    remedy="mend what the units' journals above say; a port in use means that "
                    "another session runs on this load host",
                )
            teller.tell(glance)
        time.sleep(LOOK_IN_S)


class _Teller:
    """Says how a session goes: at each new phase, and every few seconds in between."""

    def __init__(self, session: LoadSession, progress: Callable[[str], None]) -> None:
        self._what = f"{session.plan.target} {session.plan.session}"
        self._progress = progress
        self._phase = ""
        self._told_s = 0.0

    def tell(self, glance: Glance) -> None:
        """One line from the newest window of each worker, if it is time for one."""
        if not glance.progress:
            return
        newest = max(glance.progress, key=lambda shown: shown["start_s"])
        now_s = time.monotonic()
        if newest["phase"] == self._phase and now_s - self._told_s < TELL_S:
            return
        self._phase, self._told_s = newest["phase"], now_s
        shown = [one for one in glance.progress if one["phase"] == self._phase]
        per_s = sum(one["per_s"] for one in shown)
        not_ok_per_s = sum(one["not_ok_per_s"] for one in shown)
        worst_us = max(one["response_p99_us"] for one in shown)
        trouble = f", {not_ok_per_s:,.0f}/s not ok" if not_ok_per_s else ""
        self._progress(
            f"{self._what}: {self._phase} {per_s:,.0f}/s, P99 {us_to_ms(worst_us):.2f} ms{trouble}"
        )


def _fetch(session: LoadSession, folder: Path, shell: Shell) -> None:
    """Bring plan, spools and Locust's files here, in place of what an earlier try left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, host in enumerate(session.hosts):
        fetched = folder / f".{host.name}"
        shell.get_tree(host, session.folder, fetched, timeout_s=_FETCH_TIMEOUT_S)
        hours = (path for kind in ("spool", "sealed") for path in fetched.glob(f"worker-*.{kind}"))
        for kept in (fetched / "plan.json", *hours):
            kept.rename(folder / kept.name)
        if (fetched / "locust").exists():
            (fetched / "locust").rename(folder / (f"locust-{host.name}" if number else "locust"))
        shutil.rmtree(fetched)
