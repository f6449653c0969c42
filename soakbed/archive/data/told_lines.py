"""Lines of journals and kernel logs -> what they tell of, by the wordings of `journal_signs`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from soakbed.archive.data.journal_signs import Sign
from soakbed.records import policy
from soakbed.records.events import Event

__all__ = ["Found", "any_of", "found_in"]

_TEXT_CHARS = 300
_FORMS = {
    "journal": re.compile(r"^(?P<at>\d{4}-\S+) \S+ (?P<said>[^:]+: .*)$"),
    "kernel": re.compile(r"^(?P<at>\d{4}-\S+?) (?P<said>.*)$"),
}
# What programs write before what they say: name and number, time, level, place.
_HEADS = re.compile(
    r"^[^\[: ]+\[\d+\]: (?:\d+:[A-Z] \d+ \w+ \d+ [\d:.]+ \S |\[[^\]]+\] \[\w+\] \[[^\]]+\] )?"
)
_MESSAGE = re.compile(r"\"msg\":\"([^\"]*)\"")


@dataclass(frozen=True, slots=True)
class Found:
    """An event, and what tells it from others like it."""

    event: Event
    unit: str = ""
    once: tuple[str, ...] = ()


def found_in(
    lines: Iterable[str],
    signs: Iterable[Sign],
    *,
    host: str,
    source: str,
    unit: str = "",
    not_read: Callable[[str], None] = lambda _what: None,
) -> Iterator[Found]:
    """Lines that a sign knows; `source` journal (of one `unit`) or kernel.

    One without a time has that of the line after it, as at a boot; where none comes, `not_read` is
    told.
    """
    held = tuple(signs)
    waiting: list[tuple[Sign, re.Match[str]]] = []
    any_sign = re.compile(any_of(held))
    for line in lines:
        if not waiting and not any_sign.search(line):
            continue
        at_s = _time(_FORMS[source].match(line.rstrip("\n")))
        if at_s is not None:
            yield from (_told(one, hit, at_s, unit, host, source) for one, hit in waiting)
            waiting.clear()
        for sign in held:
            hit = sign.pattern.search(line.rstrip("\n"))
            if hit is None:
                continue
            if at_s is not None:
                yield _told(sign, hit, at_s, unit, host, source)
            elif line.startswith("-- "):
                waiting.append((sign, hit))
            else:
                not_read(f"{sign.kind} without a time")
            break
    for sign, _ in waiting:
        not_read(f"{sign.kind} without a time")


def any_of(signs: Iterable[Sign]) -> str:
    """One pattern for all of them; its groups have no names."""
    bare = (re.sub(r"\(\?P<\w+>", "(?:", one.pattern.pattern) for one in signs)
    return "|".join(f"(?:{one})" for one in bare)


def _told(sign: Sign, hit: re.Match[str], at_s: float, unit: str, host: str, source: str) -> Found:
    said = hit.string
    form = _FORMS["journal"].match(said) or _FORMS["kernel"].match(said)
    text = _HEADS.sub("", form["said"]) if form else said
    message = _MESSAGE.search(text)
    text = message[1] if message else text
    text = text.removeprefix(f"{unit}.service: ")
    text = f"{unit}: {text}"[:_TEXT_CHARS] if unit else text[:_TEXT_CHARS]
    began_s = at_s - float(hit.groupdict().get("took_s") or 0)
    event = policy.event(sign.kind, began_s, until_s=at_s, host=host, source=source, text=text)
    once = tuple(hit[name] for name in sign.once_by)
    # A container may read its machine's log: one text at one time is one event.
    return Found(event, unit, (str(at_s), text) if source == "kernel" else once)


def _time(form: re.Match[str] | None) -> float | None:
    """Unix time of a line; dmesg writes its fraction behind a comma."""
    if form is None:
        return None
    try:
        return dt.datetime.fromisoformat(form["at"].replace(",", ".")).timestamp()
    except ValueError:
        return None
