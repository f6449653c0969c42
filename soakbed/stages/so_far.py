"""Finished hours into tables while a session goes on, and what they say so far.

In a niced process of its own that is gone afterwards: reading an hour of windows takes memory and
seconds, and the watch must keep neither.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.archive.data.collate import collate
from soakbed.archive.data.reading import TargetData, TargetPhase
from soakbed.archive.data.watched import append_events
from soakbed.records.gaps import Coverage
from soakbed.records.watch import SoFar
from soakbed.stages.bound_engines import bound_engines
from soakbed.stages.gaps import coverage_of
from soakbed.stages.judge_coverage import LEAST_COVERAGE_PERCENT
from soakbed.stages.judge_load import LEAST_SENT_SHARE, MOST_DROPPED_SHARE, MOST_ERROR_SHARE
from soakbed.stats.percentiles import percentile_us

__all__ = ["Collating", "so_far"]

_NICENESS = 19


def so_far(target_folder: Path, session: str, duties: Mapping[str, str]) -> SoFar | None:
    """Bring the tables up to date, and sum the newest phase; None while there is no window.

    Engines that were the limit in it are told of in events.jsonl.
    """
    collated = collate(target_folder, duties=duties, processes=1)
    data = TargetData(target_folder, collated)
    phases = data.phases(session) if session in data.sessions() else []
    if not phases:
        return None
    newest = phases[-1]
    plan = Plan.read(target_folder / "load" / session / "plan.json")
    append_events(target_folder, bound_engines(newest.generator()))
    sums, last_s = _sums(newest)
    held = coverage_of(target_folder, collated, until_s=last_s).of(plan.session, newest.phase)
    planned = {phase.name: phase for phase in plan.phases}[newest.phase]
    began_s = held.began_s if held else last_s
    word, reasons = _verdict(sums, held, open_loop=planned.mode == "open")
    return SoFar(
        at_s=time.time(),
        phase=newest.phase,
        seconds=last_s - began_s,
        **sums,
        response_p99_us={
            name: percentile_us(newest.total(name, "response"), 99.0)
            for name in newest.operations()
        },
        coverage=held,
        verdict=word,
        reasons=reasons,
    )


def _sums(phase: TargetPhase) -> tuple[dict[str, int], int]:
    names = ("due", "sent", "ok", "failed", "unknown", "dropped")
    sums, last_s = dict.fromkeys(names, 0), 0
    for _, part in phase.counters():
        for name in names:
            sums[name] += int(part[name].sum())
        last_s = max(last_s, int((part["start_s"] + part["length_s"]).max()))
    return sums, last_s


def _verdict(
    sums: Mapping[str, int], held: Coverage | None, *, open_loop: bool
) -> tuple[str, tuple[str, ...]]:
    """The judge's plainest rules, with its own limits, over what there is; the rest comes after."""
    due, sent = sums["due"], sums["sent"]
    ended = sums["ok"] + sums["failed"] + sums["unknown"]
    not_ok = ended - sums["ok"]
    invalid = []
    if open_loop and sent < LEAST_SENT_SHARE * due:
        invalid.append(f"sent {sent:,} of {due:,} operations due, needs {LEAST_SENT_SHARE:.0%}")
    if open_loop and sums["dropped"] > MOST_DROPPED_SHARE * due:
        invalid.append(f"{sums['dropped']:,} of {due:,} due operations were dropped")
    if not_ok > MOST_ERROR_SHARE * ended:
        invalid.append(f"{not_ok:,} of {ended:,} operations failed or are unknown")
    if invalid:
        return "invalid", tuple(invalid)
    if held is not None and held.percent < LEAST_COVERAGE_PERCENT:
        return "incomplete", (f"{held.percent:.2f} % of the phase so far is in the archive",)
    return "valid", ()


class Collating:
    """`so_far` in a process of its own, asked for and looked at without waiting."""

    def __init__(self, target_folder: Path, session: str, duties: Mapping[str, str]) -> None:
        self._asked = (target_folder, session, dict(duties))
        self._pool: ProcessPoolExecutor | None = None
        self._job: Future[SoFar | None] | None = None

    def begin(self) -> None:
        """Start one, unless one is under way."""
        if self._pool is None:
            # Spawned, not forked: the caller holds threads of paramiko's.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, mp_context=context, initializer=_step_back)
            self._job = self._pool.submit(so_far, *self._asked)

    def is_busy(self) -> bool:
        """Whether one is under way: its files must not change meanwhile."""
        return self._job is not None and not self._job.done()

    def result(self) -> SoFar | None:
        """What it made, once, when it is done. One that failed made nothing: the judge comes last,
        and says what is wrong with the evidence.
        """
        if self._job is None or not self._job.done():
            return None
        made = None if self._job.exception() else self._job.result()
        self.give_up()
        return made

    def give_up(self) -> None:
        """Wait for what is under way, and forget it."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = self._job = None


def _step_back() -> None:
    """The members and the engine on this machine go first, and Ctrl-C is the parent's to answer."""
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
