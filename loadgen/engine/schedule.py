"""The open loop's schedule: what is due when, from any second of a phase on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, dropwhile

from loadgen.contract.plan import Phase, Plan
from loadgen.keyspace import Codes
from loadgen.pacing import NS_PER_S, due_blocks

__all__ = ["codes_of", "schedule_of"]


def codes_of(plan: Plan, number: int, *, rank: int) -> Codes:
    """The codes of worker `rank` in phase `number` of the plan."""
    stream = f"{plan.session}/{number}"
    return Codes(plan.keyspace, plan.read_share, seed=plan.seed, rank=rank, stream=stream)


def schedule_of(
    plan: Plan, number: int, *, rank: int, start_ns: int, from_s: int = 0
) -> Iterator[tuple[int, int]]:
    """Due time (monotonic ns) and code of each operation of phase `number`, without end.

    `start_ns` is when the phase began, `from_s` its second from which on operations are wanted:
    they are those that second has for an engine that pressed from the begin. Hot: one step of the
    iterator per operation, all of it in C.
    """
    phase: Phase = plan.phases[number]
    codes = codes_of(plan, number, rank=rank)
    blocks = due_blocks(
        phase.rate_per_s,
        phase.arrivals,
        seed=plan.seed,
        rank=rank,
        workers=plan.workers,
        from_s=from_s,
    )
    made = chain.from_iterable(
        zip([start_ns + at for at in dues], drawn, strict=False)  # fewer are due than are drawn
        for begin_s, chunks in blocks
        for dues, drawn in zip(chunks, codes.chunks(begin_s), strict=False)
    )
    # Where blocks are longer than a second, the first may begin before.
    from_ns = start_ns + from_s * NS_PER_S
    return dropwhile(lambda operation: operation[0] < from_ns, made) if from_s else made
