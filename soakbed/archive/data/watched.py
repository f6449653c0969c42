"""What was seen while a target was pressed: `<target>/events.jsonl`, a line per event.

The file is only added to. `stages.watchman` adds lines, `collate` reads them into the table
`events`. A line that a crash cut is no event; the next look sees again what it told of. Severity is
not written: the policy gives it, so that an old run is judged by today's policy.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from soakbed.records import policy
from soakbed.records.events import Event

__all__ = ["FILE", "append_events", "joined", "read_events"]

FILE = "events.jsonl"
# States are told again and again by looks; said once, they are not news for so long.
_STATES = (
    "certificate_expired",
    "certificate_short",
    "disk_filling",
    "disk_full",
    "disk_full_soon",
    "load_disk_filling",
    "member_down",
    "worker_lost",
)
_NEWS_S = 6 * 3600
_SAME_S = 1.0
# Stretches of one kind that looks told one after the other are one event.
_NEXT_S = 5.0


def append_events(target_folder: Path, events: Iterable[Event]) -> list[Event]:
    """Write those of `events` that are news; returns them. On disk when it returns."""
    told, _ = read_events(target_folder)
    news: list[Event] = []
    for event in events:
        if not any(_same(event, one) for one in (*told, *news)):
            news.append(event)
    if news:
        path = target_folder / FILE
        target_folder.mkdir(parents=True, exist_ok=True)
        # A line that a crash cut ends here; an empty line is no event.
        lines = "".join(f"\n{json.dumps(_plain(event))}" for event in news) + "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())
    return news


def read_events(target_folder: Path) -> tuple[list[Event], int]:
    """Events in the order in which they were written, and how many lines could not be read."""
    path = target_folder / FILE
    if not path.is_file():
        return [], 0
    found, unread = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip():
            continue
        try:
            found.append(_event(json.loads(line)))
        except (KeyError, TypeError, ValueError):
            unread += 1
    return found, unread


def joined(events: Iterable[Event]) -> Iterator[Event]:
    """Stretches of one kind, host and worker that follow each other as one event, by time."""
    open_: dict[tuple[str, str, int], Event] = {}
    for event in sorted(events, key=lambda one: one.at_s):
        key = (event.kind, event.host, event.worker)
        held = open_.get(key)
        lasts = event.until_s > event.at_s
        if held is not None and lasts and event.at_s - held.until_s <= _NEXT_S:
            open_[key] = replace(held, until_s=max(held.until_s, event.until_s))
            continue
        if held is not None:
            yield held
        if lasts:
            open_[key] = event
        else:
            open_.pop(key, None)
            yield event
    yield from open_.values()


def _same(event: Event, other: Event) -> bool:
    if (event.kind, event.host, event.worker) != (other.kind, other.host, other.worker):
        return False
    if event.kind in _STATES:
        subject = event.text.partition(":")[0]
        return subject == other.text.partition(":")[0] and event.at_s - other.at_s < _NEWS_S
    return event.text == other.text and abs(event.at_s - other.at_s) <= _SAME_S


def _plain(event: Event) -> dict[str, object]:
    held = asdict(event)
    del held["severity"]
    return held


def _event(line: dict[str, object]) -> Event:
    return policy.event(
        str(line["kind"]),
        float(str(line["at_s"])),
        until_s=float(str(line["until_s"])),
        host=str(line["host"]),
        source=str(line["source"]),
        text=str(line["text"]),
        worker=int(str(line.get("worker", -1))),
    )
