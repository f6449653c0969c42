"""What `soakbed reap` does: what this machine knows, what the cloud holds, what of it shall go."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from soakbed.adapters.aws import NO_CREDENTIALS, AwsRefused, AwsRegion
from soakbed.adapters.aws_resources import Region, regions_of
from soakbed.adapters.local_machine import remains_of
from soakbed.archive.intent_log import all_intent_logs
from soakbed.archive.lock import TestbedBusy, held_alone
from soakbed.commands import lock_folder
from soakbed.errors import Mistake, ProvisionError, SpecError
from soakbed.records.cloud_resource import CloudResource, LeaseName, LeaseSeen
from soakbed.records.intents import open_intents
from soakbed.records.lease import Lease
from soakbed.report import formats
from soakbed.stages.lease import leases_below
from soakbed.stages.reap import Known, Reaped, Sight, chosen, look, reap

__all__ = ["Asked", "known_here", "reap_clouds"]

_ANY_REGION = "us-east-1"  # which every account has; asked only which others there are
_NOTHING = Sight((), (), ())


@dataclass(frozen=True, slots=True)
class Asked:
    """The words of the command line. `regions` (): those that are known, or all of the account."""

    testbed: str = ""
    all_expired: bool = False
    yes: bool = False
    as_json: bool = False
    regions: tuple[str, ...] = ()


def reap_clouds(
    asked: Asked,
    states: Path,
    console: Console,
    *,
    open_region: Callable[[str], Region] = AwsRegion,
) -> None:
    """Show what there is; with `yes` remove what was chosen, and prove that it is gone.

    Raises ProvisionError when something is left, or when it cannot see.
    """
    _must_choose(asked)
    leases, known = known_here(states)
    lapsed = _lapsed_on_this_machine(leases)
    regions, unseen = _regions(asked, known, open_region)
    sight = look(regions, known) if regions else _NOTHING
    go = chosen(
        sight.leases,
        testbed=asked.testbed,
        all_expired=asked.all_expired,
        ours=known.regions,
        now_s=time.time(),
    )
    with ExitStack() as held:
        busy: list[str] = []
        done = Reaped((), ())
        if asked.yes:
            go, busy = _not_in_use(go, known, lock_folder(states), held, asked)
        if asked.yes and go:
            done = reap(regions, [one.name for one in go], known, progress=_teller(console))
            _note_gone(states, go, done)
    if asked.as_json:
        told = _as_json(asked, sight, go, done, known=known, lapsed=lapsed, regions=regions)
        print(json.dumps(told | {"not_seen": unseen, "in_use": busy}, indent=1))
    else:
        lines = _lines(asked, sight, go, done, known=known, lapsed=lapsed)
        _say(console, lines, [*busy, *([unseen] if unseen else [])])
    _raise_if_left(asked, sight, done)


def _must_choose(asked: Asked) -> None:
    if asked.yes and not (asked.testbed or asked.all_expired):
        problem = "it does not say what shall go"
        remedy = "add --testbed NAME or --all-expired; without --yes everything is shown"
        raise SpecError([Mistake("command line", "--yes", "", problem, remedy)])


def _say(console: Console, lines: Iterable[str], warnings: Iterable[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in warnings:
        console.print(line, style="yellow", highlight=False, markup=False, soft_wrap=True)


def known_here(states: Path) -> tuple[list[Lease], Known]:
    """Leases kept below `states`, and what they and the intent logs know of the cloud.

    Raises ProvisionError or ArchiveError when one of them cannot be read.
    """
    leases = leases_below(states)
    regions: dict[LeaseName, set[str]] = {}
    made: dict[LeaseName, set[str]] = {}
    for lease in leases:
        if lease.region:
            regions.setdefault(LeaseName(lease.testbed, lease.id), set()).add(lease.region)
    for log in all_intent_logs(states):
        for intent in open_intents(log.read()):
            name = LeaseName(intent.testbed, intent.lease)
            regions.setdefault(name, set()).add(intent.region)
            made.setdefault(name, set()).update({intent.id, intent.name} - {""})
    return leases, Known(regions=regions, made=made)


def _lapsed_on_this_machine(leases: Iterable[Lease]) -> list[Lease]:
    now_s = time.time()
    return [
        lease
        for lease in leases
        if lease.provider == "local" and lease.has_lapsed(now_s) and remains_of(lease.testbed)
    ]


def _regions(
    asked: Asked, known: Known, open_region: Callable[[str], Region]
) -> tuple[list[Region], str]:
    """Where to look, and what is not looked at for want of credentials ("": nothing)."""
    everywhere = {region for found in known.regions.values() for region in found}
    if asked.regions:
        return [open_region(name) for name in dict.fromkeys(asked.regions)], ""
    if asked.testbed:
        own = {r for n, found in known.regions.items() if n.testbed == asked.testbed for r in found}
        if own:
            return [open_region(name) for name in sorted(own)], ""
    home = min(everywhere, default=_ANY_REGION)
    try:
        listed = regions_of(open_region(home))
    except AwsRefused as refused:
        if refused.code != NO_CREDENTIALS or everywhere:
            raise
        return [], "AWS was not looked at: there are no credentials, and nothing was made there"
    return [open_region(name) for name in sorted({*listed, *everywhere})], ""


def _not_in_use(
    go: Sequence[LeaseSeen], known: Known, locks: Path, held: ExitStack, asked: Asked
) -> tuple[list[LeaseSeen], list[str]]:
    """Without those of testbeds on which a pipeline of this machine works; the rest is held."""
    free, busy = [], []
    for testbed in sorted({one.name.testbed for one in go if one.name in known.regions}):
        try:
            held.enter_context(held_alone(locks, testbed))
        except TestbedBusy:
            if asked.testbed:
                raise
            busy.append(testbed)
    for one in go:
        if one.name.testbed not in busy or one.name not in known.regions:
            free.append(one)
    return free, [f"testbed {testbed} is in use, and was left alone" for testbed in busy]


def _note_gone(states: Path, go: Sequence[LeaseSeen], done: Reaped) -> None:
    """Intents of leases of which nothing is left are closed; the log itself is kept."""
    if done.left:
        return
    names = {one.name for one in go}
    for log in all_intent_logs(states):
        log.append(
            [
                intent.then("gone", at_s=int(time.time()))
                for intent in open_intents(log.read())
                if LeaseName(intent.testbed, intent.lease) in names
            ]
        )


def _teller(console: Console) -> Callable[[str], None]:
    def tell(line: str) -> None:
        console.print(f"removing {line}", style="dim", highlight=False, markup=False)

    return tell


def _raise_if_left(asked: Asked, sight: Sight, done: Reaped) -> None:
    left = [str(one) for one in done.left]
    if asked.yes and asked.all_expired and not asked.testbed:
        left += [f"{one}: nobody can tell whose it is or when it ends" for one in sight.unclear]
    if left:
        raise ProvisionError(
            "left behind:\n" + "\n".join(f"- {line}" for line in left),
            remedy="see what the cloud says of each, end what holds it, and run it again; what "
            "nobody can tell of is for its owner to remove",
        )


def _lines(
    asked: Asked,
    sight: Sight,
    go: Sequence[LeaseSeen],
    done: Reaped,
    *,
    known: Known,
    lapsed: Sequence[Lease],
) -> Iterable[str]:
    for lease in sight.leases:
        if asked.testbed and lease.name.testbed != asked.testbed:
            continue
        yield _title(lease, known)
        mark = "-" if lease in go else " "
        yield from (f"  {mark} {one}" for one in lease.resources)
    for one in sight.unclear:
        yield f"unclear, left alone: {one}"
    for local in lapsed:
        yield (
            f"testbed {local.testbed} on this machine: its lease ended "
            f"{formats.when(local.ends_s)}, and something of it is left; soakbed teardown ends it"
        )
    if not sight.leases and not sight.unclear:
        yield "nothing of soakbed's is there"
    count = sum(len(lease.resources) for lease in go)
    if asked.yes:
        yield f"gone: {len(done.gone)} of {count}"
    elif asked.testbed or asked.all_expired:
        yield f"dry run: {count} would go; --yes removes them"
    else:
        yield "dry run: --testbed NAME or --all-expired chooses what goes, --yes removes it"


def _title(lease: LeaseSeen, known: Known) -> str:
    if lease.ends_s is None:
        ends = "no end that can be read"
    else:
        over = lease.has_lapsed(time.time())
        ends = f"{'ended' if over else 'ends'} {formats.when(lease.ends_s)}"
    whose = "begun from here" if lease.name in known.regions else f"of {lease.owner or 'somebody'}"
    run = f", run {lease.run}" if lease.run not in ("", "-") else ""
    return f"{lease.name.testbed}, lease {lease.name.lease}, {whose}{run}: {ends}"


def _as_json(
    asked: Asked,
    sight: Sight,
    go: Sequence[LeaseSeen],
    done: Reaped,
    *,
    known: Known,
    lapsed: Sequence[Lease],
    regions: Sequence[Region],
) -> dict[str, Any]:
    now_s = time.time()
    return {
        "schema": 1,
        "dry_run": not asked.yes,
        "regions": [region.name for region in regions],
        "leases": [
            {
                "testbed": lease.name.testbed,
                "lease": lease.name.lease,
                "ends_s": lease.ends_s,
                "lapsed": lease.has_lapsed(now_s),
                "owner": lease.owner,
                "purpose": lease.purpose,
                "run": lease.run,
                "begun_here": lease.name in known.regions,
                "chosen": lease in go,
                "resources": [_row(one) for one in lease.resources],
            }
            for lease in sight.leases
        ],
        "unclear": [_row(one) for one in sight.unclear],
        "local": [{"testbed": one.testbed, "ends_s": one.ends_s} for one in lapsed],
        "gone": [_row(one) for one in done.gone],
        "left": [_row(one.resource) | {"why": one.why} for one in done.left],
    }


def _row(one: CloudResource) -> dict[str, str]:
    return {
        "kind": one.kind, "id": one.id, "name": one.name, "region": one.region, "state": one.state
    }  # fmt: skip
