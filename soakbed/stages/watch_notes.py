"""What a watch knows, kept in `watch.json` across controllers; see `records.watch`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from loadgen.contract.plan import Phase, Plan
from soakbed.records.watch import (
    MOST_NOTES,
    PhaseClock,
    SoFar,
    Unwatched,
    Watch,
    WatchState,
    WorkerNow,
)
from soakbed.stages.load_session import Glance

__all__ = ["WATCH", "WatchNotes", "clocks_in", "watch_of", "with_glance"]

WATCH = "watch.json"
# A controller looks every few seconds; a silence longer than this is worth a line.
LEAST_SILENCE_S = 20.0


def watch_of(session_folder: Path) -> Watch | None:
    """What was last seen of a session; None when nobody has looked, or by another soakbed."""
    try:
        return Watch.model_validate_json((session_folder / WATCH).read_bytes())
    except (OSError, ValidationError):
        return None


class WatchNotes:
    """The notes of one watch; goes on with those of the controller before it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan = plan
        self._folder = folder
        before = watch_of(folder)
        fresh = Watch(
            run_id=plan.run_id,
            target=plan.target,
            session=plan.session,
            phases=tuple(_clock(phase) for phase in plan.phases),
            planned_workers=plan.workers,
        )
        self.now = before or fresh
        folder.mkdir(parents=True, exist_ok=True)
        self._began_s = time.time()

    @property
    def since_s(self) -> float:
        """When the hosts were last seen, by whomever; 0 when never."""
        return self.now.seen_s

    def seen(self, glance: Glance) -> list[Unwatched]:
        """The hosts answered. Returns what is new: silences that ended, hosts that restarted."""
        at_s = time.time()
        new = self._silence(at_s) + self._restarts(glance, at_s)
        seen = with_glance(self.now, glance, clocks_in(self._folder))
        noted = (*self.now.unwatched, *new)[-MOST_NOTES:]
        self.now = seen.model_copy(update={"seen_s": at_s, "told": "", "unwatched": noted})
        self.write()
        return new

    def say(self, state: WatchState, told: str = "") -> None:
        """Something else is going on."""
        self.now = self.now.model_copy(update={"state": state, "told": told})
        self.write()

    def fetched(self, fetched_bytes: int) -> None:
        """Everything that there was has been fetched."""
        told = {"fetched_s": time.time(), "fetched_bytes": fetched_bytes}
        self.now = self.now.model_copy(update=told)
        self.write()

    def so_far(self, made: SoFar) -> None:
        """What the tables say."""
        self.now = self.now.model_copy(update={"so_far": made})
        self.write()

    def write(self) -> None:
        """Write the file whole, but not through to the disk: local members share it, and wait for
        every fsync of ours. After a power cut it may be empty, and the next look writes it anew.
        """
        self.now = self.now.model_copy(update={"at_s": time.time(), "pid": os.getpid()})
        fresh = self._folder / f".{WATCH}.new"
        fresh.write_text(self.now.model_dump_json(by_alias=True, indent=1) + "\n")
        fresh.replace(self._folder / WATCH)

    def _silence(self, at_s: float) -> list[Unwatched]:
        """The time since somebody last saw the hosts, if that is worth a note."""
        since_s = self.now.seen_s
        is_over = self.now.state in ("fetching", "over")  # and nobody had to look
        if not since_s or is_over or at_s - since_s < LEAST_SILENCE_S:
            return []
        if self.now.state == "away" and since_s >= self._began_s:
            told = f"load hosts could not be reached: {self.now.told}"
            return [Unwatched(kind="host_away", from_s=since_s, until_s=at_s, told=told)]
        if since_s >= self._began_s:
            return []  # it was busy fetching
        told = "no controller looked on; the load went on by its plan"
        return [Unwatched(kind="controller_gone", from_s=since_s, until_s=at_s, told=told)]

    def _restarts(self, glance: Glance, at_s: float) -> list[Unwatched]:
        return [
            Unwatched(
                kind="host_restarted",
                from_s=self.now.seen_s or at_s,
                until_s=at_s,
                told=f"load host {host} started again",
            )
            for host, boot in glance.boots.items()
            if self.now.boots.get(host, boot) != boot
        ]


def with_glance(watch: Watch, glance: Glance, clocks: Mapping[str, int]) -> Watch:
    """`watch` as the hosts stand now. `clocks`: when each phase began, by the engines."""
    workers = tuple(_worker(one) for one in glance.progress)
    known = dict(clocks)
    for one in workers:
        known.setdefault(one.phase, one.start_s)
    return watch.model_copy(
        update={
            "state": "stopping" if watch.state == "stopping" else "pressing",
            "workers": workers or watch.workers,
            "phases": tuple(_clocked(one, known, clocks) for one in watch.phases),
            "not_active": tuple(
                name for name, unit in glance.units.items() if unit.get("ActiveState") != "active"
            ),
            "disk_free_bytes": dict(glance.disk_free_bytes) or watch.disk_free_bytes,
            "boots": {**watch.boots, **glance.boots},
        }
    )


def _clocked(phase: PhaseClock, known: Mapping[str, int], clocks: Mapping[str, int]) -> PhaseClock:
    """By the engines' own clocks, else by the window that was seen first."""
    if phase.name in clocks or (phase.name in known and not phase.began_s):
        return phase.model_copy(update={"began_s": known[phase.name]})
    return phase


def clocks_in(session_folder: Path) -> dict[str, int]:
    """Phase -> when the first worker began it, from the engines' clock files; {} without them."""
    found: dict[str, int] = {}
    for path in sorted(session_folder.glob("clock-*.json")):
        try:
            told = json.loads(path.read_text())
        except (OSError, ValueError):
            continue
        for phase, began_s in told.items():
            if isinstance(began_s, int | float):
                found[phase] = min(int(began_s), found.get(phase, int(began_s)))
    return found


def _clock(phase: Phase) -> PhaseClock:
    return PhaseClock(
        name=phase.name,
        began_s=0,
        lasts_s=0 if phase.mode == "fill" else phase.duration_s,
        offered_per_s=phase.rate_per_s if phase.mode == "open" else 0.0,
    )


def _worker(shown: Mapping[str, Any]) -> WorkerNow:
    return WorkerNow(
        rank=shown.get("rank", 0),
        phase=shown["phase"],
        start_s=shown["start_s"],
        per_s=shown["per_s"],
        not_ok_per_s=shown["not_ok_per_s"],
        response_p99_us=shown["response_p99_us"],
        requests=shown.get("requests", 0),
    )
