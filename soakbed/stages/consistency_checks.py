"""What was found in histories, as checks: each with its question, its word and its sentence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from soakbed.archive.run_folder import RunFolder
from soakbed.histories.levels import LEVELS, strongest
from soakbed.records.consistency import Check, CheckWord, Gap, Witness
from soakbed.records.quiesced import Quiesced
from soakbed.stages.consistency_replicas import check_replicas
from soakbed.stages.consistency_revisions import Against, of_clients, of_values
from soakbed.stages.consistency_rows import FOREIGN, Rows
from soakbed.stages.consistency_zones import Found, Kind, Missing, contradictions, segments
from soakbed.units import us_to_ms

__all__ = ["MOST_WITNESSES", "Basis", "Gathered", "of_histories", "of_replicas", "take"]

# Of a check, in the record; `violations` counts all that were found.
MOST_WITNESSES = 20
_LEVEL_TIME_S = 5.0

_LINEARIZABLE = (
    "linearizable",
    "Does every sampled key behave like one register that all clients share: does each read show "
    "the write that came last?",
)
_LOST = (
    "acknowledged_writes_kept",
    "Is an acknowledged write there, for those who read after it, until another replaces it?",
)
_RESURRECTED = (
    "no_older_value_after_a_newer",
    "Does a value that had been replaced stay gone once its successor was read?",
)
_CLIENTS = (
    "revisions_of_clients",
    "Does no client see a key's revision go back?",
)
_ORDER = (
    "revision_order",
    "Is the order of write revisions that of real time: above all that was seen before the write "
    "was sent?",
)
_VALUES = (
    "one_value_per_revision",
    "Do all clients see one key and one value at one revision?",
)
_FAILOVER_TOLD = (
    "Redis Cluster replicates asynchronously and promises nothing across a failover; between "
    "failovers nothing contradicts"
)


@dataclass(frozen=True, slots=True)
class Basis:
    """What the judgement of times rests on. `apart_us` None: nobody knows how far clocks differ.

    `hosts`: of each rank, a number of its load host; `failovers_s`: of a target that promises
    nothing across them; `set_clocks`: load hosts whose clock was set while it was pressed. An
    engine counts from the clock as it was when it began, so what two engines say of such a host's
    time does not fit together.
    """

    apart_us: int | None = 0
    hosts: tuple[int, ...] = ()
    failovers_s: tuple[float, ...] = ()
    set_clocks: tuple[str, ...] = ()

    @property
    def clocks_known(self) -> bool:
        """Whether operations of any two engines can be put in order."""
        return not self.clocks_doubt

    @property
    def clocks_doubt(self) -> str:
        """Why they cannot; "" where they can."""
        if self.set_clocks:
            return f"the clock of {', '.join(self.set_clocks)} was set meanwhile"
        if self.apart_us is None and len(set(self.hosts)) > 1:
            return "how far the clocks of the load hosts differ is not known"
        return ""


@dataclass(slots=True)
class Gathered:
    """What the parts of a history say together. `between`: contradictions between failovers."""

    basis: Basis
    missing: Sequence[Missing] = ()
    gaps: list[Gap] = field(default_factory=list)
    operations: int = 0
    keys: int = 0
    found: Found = field(default_factory=lambda: Found(0))
    between: Found = field(default_factory=lambda: Found(0))
    clients: Against = field(default_factory=Against)
    values: Against = field(default_factory=Against)
    write_order: Against | None = None

    levels: list[str] = field(default_factory=list)  # of keys that contradict, part by part

    @property
    def level(self) -> str:
        """The strongest level that surely holds of all keys; "" where nobody can say."""
        open_ = any(one.keys is None for one in self.gaps) or not self.basis.clocks_known
        if open_ or not self.operations or "" in self.levels:
            return ""
        order = (*LEVELS, "none")
        return max(("linearizable", *self.levels), key=order.index)


def take(gathered: Gathered, target: str, rows: Rows) -> None:
    """Check operations on some keys, all that there are on them."""
    if not len(rows):
        return
    gathered.operations += len(rows)
    gathered.keys += len(np.unique(rows.key))
    rows = _without_ambiguous(gathered, rows)
    found = _sound(gathered.basis, rows, gathered.missing)
    gathered.found = gathered.found + found
    if found.violations:
        gathered.levels.append(_level_of(gathered.basis, rows, found))
    if found.violations and gathered.basis.failovers_s:
        for part in segments(rows, gathered.basis.failovers_s):
            anybody = [Missing(ranks=None)]
            gathered.between = gathered.between + _sound(gathered.basis, part, anybody)
    if target == "etcd":
        gathered.clients = gathered.clients + of_clients(rows)
        gathered.values = gathered.values + of_values(rows)


def _level_of(basis: Basis, rows: Rows, found: Found) -> str:
    """The strongest level of the keys that contradict; "" where not all of them are named.

    One order of all keys does not follow from one of these, so `sequential` is said of each key.
    """
    if found.violations > len(found.witnesses):
        return ""
    if (rows.value == FOREIGN).any():
        return "none"
    accused = rows.taken(np.isin(rows.key, [one.key for one in found.witnesses]))
    history = accused.registers(apart_us=basis.apart_us or 0)
    level = strongest(history, time_limit_s=_LEVEL_TIME_S).strongest
    return "sequential-by-key" if level == "sequential" else level


def _sound(basis: Basis, rows: Rows, missing: Sequence[Missing]) -> Found:
    """Contradictions that hold by what is known of the clocks."""
    apart_us = basis.apart_us or 0
    found = contradictions(rows, apart_us=apart_us, missing=missing, hosts=basis.hosts)
    if basis.set_clocks:
        return found.of("unwritten")  # that alone rests on no time
    return found if basis.clocks_known else found.only(found.one_host)


def _without_ambiguous(gathered: Gathered, rows: Rows) -> Rows:
    """Without keys to which one value was written twice: what a read of it saw is not known."""
    writes = np.flatnonzero(rows.is_write)
    order = writes[np.lexsort((rows.value[writes], rows.key[writes]))]
    key, value = rows.key[order], rows.value[order]
    twice = np.unique(key[1:][(key[1:] == key[:-1]) & (value[1:] == value[:-1])])
    if not len(twice):
        return rows
    told = f"{len(twice):,} keys were given one value twice, and are not judged"
    gathered.gaps.append(Gap(told=told, keys=tuple(twice.tolist())))
    return rows.taken(~np.isin(rows.key, twice))


def of_histories(target: str, gathered: Gathered) -> list[Check]:
    """Checks over the sampled keys."""
    made = [_linearizable(gathered)]
    if target == "redis_cluster":
        lost = "every acknowledged write was there for those who read after it"
        made.append(_of_kind(gathered, _LOST, "lost", lost))
        made.append(_of_kind(gathered, _RESURRECTED, "resurrected", "no older value came back"))
    if target == "etcd":
        order = gathered.write_order or Against()
        made.append(_revisions(gathered, _CLIENTS, gathered.clients, needs_clocks=False))
        made.append(_revisions(gathered, _ORDER, order, needs_clocks=True))
        made.append(_revisions(gathered, _VALUES, gathered.values, needs_clocks=False))
    return made


def of_replicas(run: RunFolder, target: str) -> Check:
    """The check of what `quiesced.json` holds, skipped where it is not there."""
    name = f"{target}/quiesced"
    return check_replicas(run.read(name, Quiesced) if run.has(name) else None)


def _linearizable(gathered: Gathered) -> Check:
    held = f"{gathered.operations:,} operations on {gathered.keys:,} sampled keys"
    found, between = gathered.found, gathered.between
    if not found.violations:
        return _nothing_found(gathered, _LINEARIZABLE, held, "linearizable")
    excused = bool(gathered.basis.failovers_s) and not between.violations
    shown = found if excused or not between.violations else between
    return _against(gathered, _LINEARIZABLE, shown, held, excused=excused)


def _of_kind(gathered: Gathered, what: tuple[str, str], kind: Kind, well: str) -> Check:
    """One kind of contradiction by its own name."""
    held = f"{gathered.operations:,} operations on {gathered.keys:,} sampled keys"
    found, between = gathered.found.of(kind), gathered.between.of(kind)
    if not found.violations:
        if gathered.found.violations > len(gathered.found.witnesses):
            told = "none among the first contradictions, and there are more that were not looked at"
            return _check(gathered, what, "unknown", told)
        return _nothing_found(gathered, what, held, well)
    excused = bool(gathered.basis.failovers_s) and not between.violations
    shown = found if excused or not between.violations else between
    return _against(gathered, what, shown, held, excused=excused)


def _against(
    gathered: Gathered, what: tuple[str, str], found: Found, held: str, *, excused: bool
) -> Check:
    first = found.witnesses[0].sentence
    count = f"{found.violations:,} contradiction{'' if found.violations == 1 else 's'}"
    told = f"{count} in {held}; the first: {first}"
    if excused:
        told = f"{told}. {_FAILOVER_TOLD}"
    return _check(
        gathered,
        what,
        "not_promised" if excused else "violation",
        told,
        violations=found.violations,
        witnesses=found.witnesses,
    )


def _revisions(
    gathered: Gathered, what: tuple[str, str], against: Against, *, needs_clocks: bool
) -> Check:
    held = f"{against.operations:,} operations with a revision"
    if needs_clocks and gathered.basis.set_clocks:
        told = f"cannot be said: {gathered.basis.clocks_doubt}"
        return _check(gathered, what, "unknown", told)
    if against.violations:
        count = f"{against.violations:,} contradiction{'' if against.violations == 1 else 's'}"
        told = f"{count} in {held}; the first: {against.witnesses[0].sentence}"
        shown = {"violations": against.violations, "witnesses": against.witnesses}
        return _check(gathered, what, "violation", told, **shown)  # type: ignore[arg-type]
    if not against.operations:
        return _check(gathered, what, "unknown", "no operation was recorded with a revision")
    return _nothing_found(gathered, what, held, "all as it should be", clocks=needs_clocks)


def _nothing_found(
    gathered: Gathered, what: tuple[str, str], held: str, well: str, *, clocks: bool = True
) -> Check:
    """All is well, if nothing is missing."""
    doubts = [one.told for one in gathered.gaps if one.keys is None]
    left_out = {key for one in gathered.gaps for key in one.keys or ()}
    if clocks and not gathered.basis.clocks_known:
        doubts.insert(0, gathered.basis.clocks_doubt)
    if not gathered.operations:
        doubts.insert(0, "no operation on a sampled key was recorded")
    elif len(left_out) >= gathered.keys:
        doubts.insert(0, "of every sampled key some operations were not recorded")
    if doubts:
        more = f", and {len(doubts) - 1:,} more gaps" if len(doubts) > 1 else ""
        told = f"nothing contradicts in {held}, but not all is known: {doubts[0]}{more}"
        return _check(gathered, what, "unknown", told)
    apart_us = gathered.basis.apart_us or 0
    widened = f", clocks known to {us_to_ms(apart_us):.2f} ms" if apart_us and clocks else ""
    told = f"{well}: {held}{widened}"
    if left_out:
        # A key that was not recorded whole is as good as not sampled.
        told = f"{told}; {len(left_out):,} of the keys were not recorded whole, nothing is said of "
        told = f"{told}them"
    return _check(gathered, what, "ok", told)


def _check(
    gathered: Gathered,
    what: tuple[str, str],
    verdict: CheckWord,
    sentence: str,
    *,
    violations: int = 0,
    witnesses: Iterable[Witness] = (),
) -> Check:
    return Check(
        name=what[0],
        asks=what[1],
        verdict=verdict,
        sentence=sentence,
        operations=gathered.operations,
        keys=gathered.keys,
        violations=violations,
        witnesses=tuple(witnesses)[:MOST_WITNESSES],
    )
