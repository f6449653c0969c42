"""Files that were collected from hosts -> what happened there: rows of the table `events`.

Journals and kernel logs by the wordings of `journal_signs`, restarts also by systemd's own counters
before and after the load, clock steps, gaps and throttling by the samples, and what the live watch
alone saw.
What reads like an event but cannot be placed in time is counted, never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from soakbed.archive.data.journal_signs import (
    GATHERED_S,
    HOUSEKEEPING,
    KERNEL,
    REGION_LEADER,
    Sign,
    load_kind,
    signs_of,
)
from soakbed.archive.data.samples import HostSamples
from soakbed.archive.data.throttling import MACHINE, throttled
from soakbed.archive.data.told_lines import Found, found_in
from soakbed.archive.data.watched import FILE, joined, read_events
from soakbed.records import policy
from soakbed.records.events import Event

__all__ = ["MACHINE_LOG", "HostEvents", "host_events"]

MACHINE_LOG = "kernel-of-machine.log"
_STRETCH_WORDS = {
    REGION_LEADER: "regions have their leader here from now",
    "log_rewrite": "rewrites of the append-only log",
}
# A restart in the journal and one that another source found are the same if no further apart.
_SAME_RESTART_S = 30
# What hosts tell of at once; the same term of a cluster that was made again is another.
_AT_ONCE_S = 60
# What comes and goes by design: the sampler, and turns of planned housekeeping.
_PASSING = ("soakbed-samples-", HOUSEKEEPING)
_LOAD = "soakbed-load-"  # its units come and go, and its spools tell of it (their records "begin")
# A leader hands over at most so long before it gives space back (roles/etcd/files/defrag.py).
_HANDED_OVER_S = 6.0
# Kinds by which journals and samples tell of one and the same thing: a unit begun anew.
_AGAIN = ("restart", "load_restart", "steering_lost")


@dataclass(slots=True)
class HostEvents:
    """`events` by time; `unread`: "file: what" -> how many lines read like events and gave none."""

    events: list[Event] = field(default_factory=list)
    unread: dict[str, int] = field(default_factory=dict)

    def not_read(self, path: Path, what: str) -> None:
        """Count one line, or one file, that could not be understood."""
        key = f"{path.parent.name}/{path.name}: {what}"
        self.unread[key] = self.unread.get(key, 0) + 1


def host_events(
    target_folder: Path, samples: Mapping[str, HostSamples] | None = None
) -> HostEvents:
    """Everything that happened on the hosts of one target, since collecting looks back to.

    `samples`: by host, as `read_samples` gave them. An event outside the sessions of load puts
    nothing in doubt: its severity becomes "note".
    """
    made = HostEvents()
    since_s = _since_s(target_folder, made)
    found: list[Found] = []
    for folder in sorted(path for path in target_folder.glob("hosts/*") if path.is_dir()):
        found += _of_journals(folder, target_folder.name, made)
        found += _of_kernel(folder / "kernel.log", folder.name, made)
        found += _of_samples(folder.name, (samples or {}).get(folder.name))
        found += _of_facts(folder, found, made)
    found += _of_kernel(target_folder / "hosts" / MACHINE_LOG, MACHINE, made)
    found += map(Found, throttled(samples or {}))
    spans = list(_sessions(target_folder, made))
    events = _told_once([one for one in found if one.event.until_s >= since_s])
    events = sorted([*events, *_only_watched(target_folder, events, made)], key=lambda e: e.at_s)
    made.events = [_weighed(event, spans) for event in _as_planned(events)]
    return made


def _only_watched(target_folder: Path, known: Sequence[Event], made: HostEvents) -> Iterator[Event]:
    """What the watch saw and no collected file tells of."""
    watched, unread = read_events(target_folder)
    if unread:
        made.unread[f"{FILE}: a line that was cut"] = unread
    for event in joined(watched):
        if not any(
            one.kind == event.kind
            # Of what several hosts tell, the collected files name the first host alone.
            and (one.host in (event.host, MACHINE) or event.source != "watch")
            and one.at_s - _AT_ONCE_S <= event.until_s
            and event.at_s <= one.until_s + _AT_ONCE_S
            for one in known
        ):
            yield event


def _of_journals(folder: Path, target: str, made: HostEvents) -> Iterator[Found]:
    for path in sorted(folder.glob("journal/*.log")):
        signs = signs_of(path.stem, target)
        if signs is None:
            continue
        single = list(_lines(path, signs, folder.name, "journal", made))
        yield from (one for one in single if one.event.kind not in GATHERED_S)
        for kind, stretch_s in GATHERED_S.items():
            many = [one for one in single if one.event.kind == kind]
            yield from _by_stretch(many, kind, stretch_s)


def _of_kernel(path: Path, host: str, made: HostEvents) -> Iterator[Found]:
    if path.is_file():
        yield from _lines(path, KERNEL, host, "kernel", made)


def _lines(
    path: Path, signs: Iterable[Sign], host: str, source: str, made: HostEvents
) -> Iterator[Found]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from found_in(
            file,
            signs,
            host=host,
            source=source,
            unit=path.stem if source == "journal" else "",
            not_read=lambda what: made.not_read(path, what),
        )


def _by_stretch(found: list[Found], kind: str, stretch_s: int) -> Iterator[Found]:
    """What happens all the time: one event per stretch, with its number."""
    for _, group in groupby(found, key=lambda one: one.event.at_s // stretch_s):
        many = list(group)
        first = many[0].event
        text = f"{many[0].unit}: {len(many)} {_STRETCH_WORDS[kind]}"
        yield Found(replace(first, until_s=many[-1].event.at_s, text=text), many[0].unit)


def _of_samples(host: str, samples: HostSamples | None) -> Iterator[Found]:
    if samples is None:
        return
    for step in samples.clock_steps:
        ways = "forward" if step.step_s > 0 else "back"
        text = f"the clock was set {abs(step.step_s):.3f} s {ways}"
        yield Found(policy.event("clock_step", step.at_s, host=host, source="samples", text=text))
    for since_s, until_s in samples.gaps:
        text = f"no samples for {until_s - since_s:.0f} s"
        yield Found(
            policy.event("gap", since_s, until_s=until_s, host=host, source="samples", text=text)
        )
    for at_s, unit in samples.restarts:
        if not unit.startswith(_PASSING):
            text = f"{unit} had begun anew"
            kind = load_kind("restart", unit)
            event = policy.event(kind, at_s, host=host, source="samples", text=text)
            yield Found(event, unit.removesuffix(".service"))


def _of_facts(folder: Path, found: list[Found], made: HostEvents) -> Iterator[Found]:
    """Restarts and OOM kills that systemd counted, where nothing else tells of them."""
    before, after = (_facts(folder / f"facts-{when}.json", made) for when in ("before", "after"))
    if not before or not after:
        return
    if "at_s" not in before or "at_s" not in after:  # of an older run
        made.not_read(folder / "facts-after.json", "no time, so its counters cannot be placed")
        return
    for unit, now in after.get("units", {}).items():
        if unit.startswith((*_PASSING, _LOAD)):
            continue
        then = before.get("units", {}).get(unit, {})
        for key, kind in (("restarts", "restart"), ("oom_kills", "oom_kill")):
            rise = now.get(key, 0) - then.get(key, 0)
            known = sum(
                one.event.host == folder.name
                and one.event.kind == kind
                and one.unit == unit.removesuffix(".service")
                for one in found
            )
            if rise > known and not {"at_s"} <= before.keys() & after.keys():
                made.not_read(folder / "facts-after.json", f"{key} without a time")
            elif rise > known:
                text = f"{unit}: {key} rose by {rise}, and its journal tells of {known}"
                event = policy.event(
                    kind,
                    float(before["at_s"]),
                    until_s=float(after["at_s"]),
                    host=folder.name,
                    source="facts",
                    text=text,
                )
                yield Found(event, unit.removesuffix(".service"))


def _told_once(found: list[Found]) -> list[Event]:
    """Each event once, by time: what several hosts or sources tell of is told by the first."""
    found = sorted(found, key=lambda one: (one.event.at_s, one.event.source != "journal"))
    kept: dict[tuple[object, ...], Event] = {}
    restarts = [one for one in found if one.event.kind in _AGAIN and one.event.source != "facts"]
    for number, one in enumerate(found):
        event = one.event
        if event.source == "samples" and event.kind in _AGAIN and _known(one, restarts):
            continue
        own = (number,) if not one.once else (event.source, event.kind, *one.once)
        first = kept.get(own)
        if first is None or event.at_s - first.at_s > _AT_ONCE_S:
            kept[(*own, number) if first else own] = event
        else:
            kept[own] = replace(first, until_s=max(first.until_s, event.until_s))
    return sorted(kept.values(), key=lambda event: event.at_s)


def _known(one: Found, restarts: list[Found]) -> bool:
    return any(
        other.event.source == "journal"
        and (other.event.host, other.unit) == (one.event.host, one.unit)
        and abs(other.event.at_s - one.event.at_s) <= _SAME_RESTART_S
        for other in restarts
    )


def _as_planned(events: Sequence[Event]) -> Iterator[Event]:
    """A leader that handed over before its turn of housekeeping did what was planned: a note."""
    turns = [(one.at_s - _HANDED_OVER_S, one.until_s + 1) for one in events if one.kind == "defrag"]
    for event in events:
        planned = any(from_s <= event.at_s <= until_s for from_s, until_s in turns)
        if planned and event.kind in ("leader_change", "leader_lost"):
            told = f"{event.text} (handed over for a planned turn of housekeeping)"
            yield replace(event, severity="note", text=told)
        else:
            yield event


def _weighed(event: Event, sessions: list[tuple[float, float]]) -> Event:
    """What happened while no load was on puts nothing in doubt."""
    pressed = any(event.at_s <= end_s and event.until_s >= start_s for start_s, end_s in sessions)
    return event if pressed else replace(event, severity="note")


def _sessions(target_folder: Path, made: HostEvents) -> Iterator[tuple[float, float]]:
    for path in sorted(target_folder.glob("load/*.json")):
        outcome = _facts(path, made)
        if "started_s" in outcome and "ended_s" in outcome:
            yield float(outcome["started_s"]), float(outcome["ended_s"])


def _since_s(target_folder: Path, made: HostEvents) -> float:
    return float(_facts(target_folder / "collected.json", made).get("since_s", 0.0))


def _facts(path: Path, made: HostEvents) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text())
    except ValueError:
        made.not_read(path, "not JSON")
        return {}
    return read if isinstance(read, dict) else {}
