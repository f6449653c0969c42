"""How a run stands, in the terminal: `status` prints it once, `attach` again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from soakbed.records.gaps import Gap
from soakbed.records.standing import Cost, Standing
from soakbed.records.watch import SoFar, Watch, WorkerNow
from soakbed.report import formats
from soakbed.report.words import TARGET_WORDS
from soakbed.units import bytes_text, us_to_ms

__all__ = ["come_back", "cost_so_far", "standing_text"]

_BAR_CHARS = 30
_MOST_GAPS = 5
# Older than this, a controller that lives has not looked when it should have.
_STALE_S = 60.0
_STYLES = {"valid": "green", "invalid": "bold red", "incomplete": "yellow"}


def standing_text(standing: Standing) -> RenderableType:
    """Who works on it, how far it is, what it does now, what is missing, what is left."""
    parts: list[RenderableType] = [_title(standing), _targets(standing)]
    if watch := standing.watch:
        parts += [_bar(watch), _rows(standing, watch)]
        parts += [Text(line, style=style) for line, style in _trouble(standing, watch)]
    return Group(*parts)


def come_back(run_id: str) -> str:
    """What to type, whoever left."""
    return (
        f"come back:  soakbed attach   (live; Ctrl-C only detaches)\n"
        f"            soakbed status   (once; --json for scripts)\n"
        f"end it:     soakbed stop     (orderly; the evidence is kept)\n"
        f"after a crash or a restart of this machine:  soakbed resume {run_id}"
    )


def _title(standing: Standing) -> Text:
    title = Text(f"{standing.run_id}  ", style="bold")
    if standing.controller_pid:
        title.append(f"controller: process {standing.controller_pid}", style="green")
    else:
        title.append("no controller; ", style="yellow")
        title.append("soakbed resume", style="bold yellow")
        title.append(" goes on with the same clock", style="yellow")
    if standing.stopping:
        title.append(f"  stopping: {standing.stopping}", style="yellow")
    return title


def _targets(standing: Standing) -> Text:
    told = [
        f"{TARGET_WORDS[one.target].label}: {one.state.replace('_', ' ')}"
        + (f" ({', '.join(one.sessions_done)} done)" if one.sessions_done else "")
        for one in standing.targets
    ]
    text = Text("; ".join(told))
    if standing.stage:
        text.append(f"   last stage finished: {standing.stage}", style="dim")
    return text


def _bar(watch: Watch) -> RenderableType:
    whole_s, done_s = max(watch.planned_s, 1), watch.done_s
    grid = Table.grid(padding=(0, 1))
    percent = 100 * done_s / whole_s
    grid.add_row(
        f"{TARGET_WORDS[watch.target].label} {watch.session}",
        ProgressBar(total=whole_s, completed=done_s, width=_BAR_CHARS),
        f"{percent:.1f} %  {formats.duration(done_s)} of {formats.duration(whole_s)}",
    )
    return grid


def _rows(standing: Standing, watch: Watch) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for name, value in (*_now(watch), *_so_far(watch.so_far), *_left(standing, watch)):
        table.add_row(name, value)
    table.add_row("seen", _seen(standing, watch))
    return table


def _now(watch: Watch) -> Iterator[tuple[str, Text]]:
    newest = max(watch.workers, key=lambda one: one.start_s, default=None)
    if newest is None:
        yield "now", Text("no window yet")
        return
    held = [one for one in watch.workers if one.phase == newest.phase]
    offered = next((p.offered_per_s for p in watch.phases if p.name == newest.phase), 0.0)
    of = f" of {formats.rate(offered)}/s offered" if offered else "/s, closed loop"
    rate = sum(one.per_s for one in held)
    yield "phase", Text(newest.phase)
    yield "rate", Text(f"{formats.rate(rate)}{of}, by {_workers(held, watch)}")
    worst_us = max(one.response_p99_us for one in held)
    yield "P99 now", Text(f"{us_to_ms(worst_us):.2f} ms (the newest window, the slowest worker)")
    errors = sum(one.not_ok_per_s for one in held)
    style = "red" if errors else ""
    yield "errors now", Text(f"{formats.rate(errors)}/s" if errors else "none", style=style)


def _workers(held: list[WorkerNow], watch: Watch) -> str:
    return f"{len(held)} of {watch.planned_workers} worker{'s' * (watch.planned_workers > 1)}"


def _so_far(held: SoFar | None) -> Iterator[tuple[str, Text]]:
    if held is None:
        yield "so far", Text("not known yet: hours are read as they are finished", style="dim")
        return
    ended = held.ok + held.failed + held.unknown
    not_ok = held.failed + held.unknown
    p99 = ", ".join(f"{name} {formats.ms(us)} ms" for name, us in held.response_p99_us.items())
    yield (
        "so far",
        Text(
            f"{formats.count(ended)} operations in {formats.duration(held.seconds)} of "
            f"{held.phase}, "
            f"{formats.count(not_ok)} failed or unknown; P99 {p99 or 'not carried yet'}"
        ),
    )
    verdict = Text(held.verdict, style=_STYLES[held.verdict])
    verdict.append("".join(f"; {reason}" for reason in held.reasons))
    yield "verdict so far", verdict
    if held.coverage is not None:
        gaps = held.coverage.gaps
        told = f"{held.coverage.percent:.2f} % of the seconds so far"
        yield "in the archive", Text(f"{told}, {_count_of(gaps)}")
        for gap in gaps[-_MOST_GAPS:]:
            yield "", Text(_gap(gap), style="yellow")


def _count_of(gaps: tuple[Gap, ...]) -> str:
    return f"{len(gaps)} gap{'s' * (len(gaps) != 1)}" if gaps else "no gap"


def _gap(gap: Gap) -> str:
    who = ", ".join(map(str, gap.workers))
    return (
        f"{formats.when(gap.from_s)}: {formats.duration(gap.seconds)} of worker {who}, "
        f"{gap.cause.replace('_', ' ')}: {gap.told}"
    )


def _left(standing: Standing, watch: Watch) -> Iterator[tuple[str, Text]]:
    disks = [f"{bytes_text(free)} on {host}" for host, free in watch.disk_free_bytes.items()]
    disks.append(f"{bytes_text(standing.archive_free_bytes)} for the archive here")
    yield "disk left", Text(", ".join(disks))
    if standing.cost is not None:
        yield "cost so far", Text(cost_so_far(standing.cost))


def cost_so_far(cost: Cost) -> str:
    """What was spent, by the hour, and how much of the budget that is.

    >>> cost_so_far(Cost(amount=8.0, currency="EUR", per_hour=4.0))
    '8.00 EUR at 4 an hour'
    >>> cost_so_far(Cost(amount=8, currency="USD", per_hour=2, hosts_amount=9.5, budget=150))
    '8.00 USD at 2 an hour; 9.50 of a budget of 150.00 since the hosts were made'
    """
    least = "≤ " if cost.at_most else ""
    told = f"{least}{cost.amount:,.2f} {cost.currency} at {cost.per_hour:,.4g} an hour"
    if cost.budget is not None and cost.hosts_amount is not None:
        told += f"; {least}{cost.hosts_amount:,.2f} of a budget of {cost.budget:,.2f} since the "
        told += "hosts were made"
    return told


def _seen(standing: Standing, watch: Watch) -> Text:
    if standing.looked_s:
        return Text("on the hosts, now")
    ago_s = max(0.0, standing.at_s - watch.seen_s)
    text = Text(f"{formats.duration(ago_s)} ago by the controller" if watch.seen_s else "not yet")
    if watch.fetched_s:
        fetched = formats.duration(max(0.0, standing.at_s - watch.fetched_s))
        text.append(f"; evidence fetched {fetched} ago", style="dim")
    return text


def _trouble(standing: Standing, watch: Watch) -> Iterator[tuple[str, str]]:
    if standing.unreachable:
        yield f"hosts: {standing.unreachable}; the load goes on there by its plan", "yellow"
    if watch.state == "away":
        yield f"{watch.told}; the load goes on there by its plan", "yellow"
    elif watch.told:
        yield watch.told, "yellow"
    late_s = standing.at_s - watch.at_s
    if standing.controller_pid and not standing.looked_s and late_s > _STALE_S:
        yield f"the controller has written nothing for {formats.duration(late_s)}", "dim"
    if watch.state == "pressing" and watch.not_active:
        yield f"not active: {', '.join(watch.not_active)}", "yellow"
    for one in watch.unwatched[-3:]:
        lasted = formats.duration(one.until_s - one.from_s)
        at = time.strftime("%H:%M:%S", time.gmtime(one.from_s))
        yield f"{at} UTC, {lasted}: {one.told}", "dim"
