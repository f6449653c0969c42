"""Whether the copies were equal at the end, as a check beside the others: of the record alone."""

from __future__ import annotations

from collections.abc import Sequence

from soakbed.records.consistency import Check
from soakbed.records.quiesced import Copies, Quiesced

__all__ = ["NAME", "check_replicas"]

NAME = "replicas_equal"
_ASKS = "Do all copies hold the same once the load is over?"
_TOLD = 3


def check_replicas(found: Quiesced | None) -> Check:
    """The check of what was found; None: nobody looked, as before there was such a look.

    Copies that had all they should have and differ are a violation. Of a replica of Redis that is
    behind, or without its master, nothing better is promised: it is said, and not held against it.
    """
    if found is None:
        return _check("skipped", "nobody compared the copies at the end of this run")
    differ = found.of_verdict("differ")
    broken = [group for group in differ if not group.behind]
    keys = sum(max((copy.keys for copy in group.copies), default=0) for group in found.groups)
    if broken:
        return _check("violation", _unequal(broken), keys=keys, violations=len(broken))
    if differ:
        behind = "; ".join(group.behind for group in differ[:_TOLD])
        told = f"{_unequal(differ)}; not all had what their master had sent: {behind}"
        return _check("not_promised", told, keys=keys, violations=len(differ))
    open_ = found.of_verdict("unknown")
    equal = found.of_verdict("equal")
    if open_ or found.unasked or not equal:
        return _check("unknown", _not_known(found, open_, equal), keys=keys)
    compared = f"{len(equal):,} sets of copies" if len(equal) > 1 else equal[0].name
    return _check("ok", f"equal: {compared}, compared in {found.took_s:.1f} s", keys=keys)


def _check(verdict: str, sentence: str, *, keys: int = 0, violations: int = 0) -> Check:
    return Check.model_validate(
        {
            "name": NAME,
            "asks": _ASKS,
            "verdict": verdict,
            "sentence": sentence,
            "keys": keys,
            "violations": violations,
        }
    )


def _unequal(groups: Sequence[Copies]) -> str:
    """Which copies differ, in what, and the first keys with what each member holds."""
    told = []
    for group in groups[:_TOLD]:
        members = " and ".join(copy.member for copy in group.copies)
        much = f" in {group.differing}" if group.differing else ""
        told.append(f"{group.name}: {members} differ{much}{_keys_of(group)}")
    if len(groups) > _TOLD:
        told.append(f"and {len(groups) - _TOLD:,} more sets of copies")
    return "; ".join(told)


def _keys_of(group: Copies) -> str:
    named = [
        f"{one.key} ({one.where}): "
        + ", ".join(f"{member} has {value or 'nothing'}" for member, value in one.holds.items())
        for one in group.differences[:_TOLD]
    ]
    return ", as " + "; ".join(named) if named else ""


def _not_known(found: Quiesced, open_: Sequence[Copies], equal: Sequence[Copies]) -> str:
    told = [f"{one.what} could not be asked: {one.why}" for one in found.unasked[:_TOLD]]
    told += [f"{group.name}: {group.why}" for group in open_[:_TOLD]]
    left = len(found.unasked) + len(open_) - len(told)
    if left > 0:
        told.append(f"and {left:,} more")
    known = f"{len(equal):,} sets of copies are equal, but " if equal else ""
    return known + ("; ".join(told) or "no copies were compared")
