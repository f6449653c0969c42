"""Run folders as long campaigns leave them, made in minutes: `make_campaign(folder, Campaign(72))`.

`soakbed report` works on them. A target's latency follows a course through time as real ones do:
neighbouring seconds are alike (an autoregressive process), cycles like those of a compaction make
it slow for a while, and it drifts a little. Nothing here was measured, and the names say so.

A worker leaves 259,200 windows in 72 hours, each with seven histograms; drawing and packing them
would take an hour. So windows are taken from a bank of templates by the level of the course, and
only what differs (who, when, how the engine fared) is written anew. A reader cannot tell: as on a
load host finished hours are sealed, and the last one is a spool whose pieces make valid frames.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadgen.contract.histogram import Histogram
from loadgen.contract.packed_window import pack
from loadgen.contract.parts import parts_of
from loadgen.contract.plan import Plan
from loadgen.contract.sealed import SEALED
from loadgen.contract.spool import HOUR_S, SpoolWriter
from loadgen.contract.window import GeneratorState, OperationWindow, SessionEnd, Window
from soakbed.records.run import LoadOutcome
from soakbed.records.spec import RunSpec
from tests.golden.make_run import BEGAN_S, SHORT, make_run, plans_of, spec_of
from tests.golden.pretences import ETCD, REDIS, TIKV, Pretence
from tests.synthetic_hours import CodedBank, sealed_hour

__all__ = ["Campaign", "make_campaign"]

LEVELS = 40  # of the course: neighbours are 4 % apart
LEVEL_STEP = 0.04
SUMS = ("sent", "ok", "failed", "unknown")

Starmap = Callable[..., Iterable[dict[str, int]]]


@dataclass(frozen=True, slots=True)
class Campaign:
    """What to make. `rate_per_s` is that of each target, all its workers together."""

    hours: float
    pretences: tuple[Pretence, ...] = (ETCD, REDIS, TIKV)
    workers: int = 8
    rate_per_s: float = 2000.0
    window_s: int = 1
    seed: int = 1
    bound_share: float = 2e-5  # of windows in which something else had the engine's core
    cycle_s: int = 660  # from one compaction to the next
    variants: int = 6  # templates of one level: the chance of sampling
    sealed: bool = True  # False: one spool for all, as engines left them before

    @property
    def steady_s(self) -> int:
        """Whole windows of the steady phase, in seconds."""
        return max(1, round(self.hours * 3600 / self.window_s)) * self.window_s


def make_campaign(folder: Path, campaign: Campaign, *, processes: int = 2) -> Path:
    """Write one run folder, as `soakbed bench` leaves it before judging, and return it."""
    pretences = tuple(
        replace(one, workers=campaign.workers, capacity_per_s=2 * campaign.rate_per_s)
        for one in campaign.pretences
    )
    make_run(folder, targets=pretences, phases=SHORT, with_tikv=False)
    phases = SHORT.model_copy(update={"steady_s": campaign.steady_s})
    spec = spec_of(pretences, phases, with_tikv=False)
    workload = spec.workload.model_copy(update={"window_s": campaign.window_s})
    spec = spec.model_copy(update={"workload": workload})
    _write_json(folder / "spec.json", spec.model_dump(mode="json", by_alias=True))
    with _mapped(processes) as starmap:
        for index, pretence in enumerate(pretences):
            began_s = BEGAN_S + index * (campaign.steady_s + 3600)
            _steady(folder / pretence.name / "load", pretence, spec, campaign, began_s, starmap)
    return folder


@contextmanager
def _mapped(processes: int) -> Iterator[Starmap]:
    """`starmap`, in processes of its own where more than one is asked for."""
    if processes == 1:
        yield itertools.starmap
        return
    # Spawned, not forked: the caller may hold threads (DuckDB, Arrow).
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.starmap


def _write_json(path: Path, data: object) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")


def _steady(
    folder: Path,
    pretence: Pretence,
    spec: RunSpec,
    campaign: Campaign,
    began_s: int,
    starmap: Starmap,
) -> None:
    """The steady session of one target: plan, spools, and what the load stage wrote of it."""
    rate_per_s = pretence.capacity_per_s * spec.workload.steady_share_of_capacity
    plan = replace(
        plans_of(pretence, spec, rate_per_s)[1], window_s=campaign.window_s, seed=campaign.seed
    )
    session = folder / plan.session
    for rank in range(plan.workers):
        for old in parts_of(session, rank):
            old.unlink()
    plan.write(session / "plan.json")
    jobs = [(session, plan, pretence, campaign, rank, began_s) for rank in range(plan.workers)]
    ends = list(starmap(_spool, jobs))
    sums = {name: sum(end[name] for end in ends) for name in SUMS}
    outcome = LoadOutcome(
        session="steady",
        outcome="finished",
        started_s=began_s,
        ended_s=began_s + sum(phase.duration_s for phase in plan.phases),
        workers=plan.workers,
        locust_requests=sums["ok"] + sums["failed"] + sums["unknown"],
        locust_failures=sums["failed"] + sums["unknown"],
        **sums,
    )
    _write_json(folder / "steady.json", outcome.model_dump(mode="json", by_alias=True))


def course(campaign: Campaign, target: str, windows: int) -> NDArray[np.int64]:
    """The level (0 to LEVELS - 1) of each window of a target; the same for all its workers."""
    random = np.random.default_rng([campaign.seed, *target.encode()])
    at_s = np.arange(windows) * campaign.window_s
    # AR(1) with 0.95 from one window to the next: alike over some 20 windows.
    noise = random.normal(0.0, 0.05, windows)
    walk = np.empty(windows)
    held = 0.0
    for index, step in enumerate(noise.tolist()):
        held = 0.95 * held + step
        walk[index] = held
    lengths = campaign.cycle_s * random.uniform(0.7, 1.3, 2 + windows * campaign.window_s // 300)
    into = (
        at_s
        - np.concatenate(([0.0], np.cumsum(lengths)))[
            np.searchsorted(np.cumsum(lengths), at_s, side="right")
        ]
    )
    compaction = np.where(into < 90, 0.5 * np.sin(np.pi * np.minimum(into, 90) / 90), 0.0)
    drift = 0.1 * at_s / (72 * 3600)
    level = (0.3 + walk + compaction + drift) / LEVEL_STEP
    return np.clip(np.rint(level), 0, LEVELS - 1).astype(np.int64)


@dataclass(frozen=True, slots=True)
class _Template:
    """A window without who and when, as deflated pieces that any frame can be made of."""

    window: Window
    middle: bytes  # JSON from `late` to the end of `operations`
    middle_deflated: bytes
    counts: bytes
    counts_deflated: bytes
    sums: tuple[int, int, int, int]

    @classmethod
    def of(cls, window: Window) -> _Template:
        packed = pack(window)
        (size,) = struct.unpack_from("<I", packed)
        text, counts = packed[4 : 4 + size], packed[4 + size :]
        middle = text[text.index(b'"late":') : text.index(b'"generator":')]
        sums = [sum(getattr(one, name) for one in window.operations.values()) for name in SUMS]
        return cls(
            window,
            middle,
            _deflated(middle, last=False),
            counts,
            _deflated(counts, last=True),
            (sums[0], sums[1], sums[2], sums[3]),
        )

    def frame(self, head: bytes, generator: bytes) -> bytes:
        """One frame of a spool; `head` and `generator` are the JSON before and after `middle`."""
        size = struct.pack("<I", len(head) + len(self.middle) + len(generator))
        checksum = zlib.adler32(size + head)
        for piece in (self.middle, generator, self.counts):
            checksum = zlib.adler32(piece, checksum)
        payload = b"".join(
            (
                b"P\x78\x01",
                _stored(size + head),
                self.middle_deflated,
                _stored(generator),
                self.counts_deflated,
                checksum.to_bytes(4, "big"),
            )
        )
        return struct.pack("<II", len(payload), zlib.crc32(payload)) + payload


def _deflated(content: bytes, *, last: bool) -> bytes:
    """Blocks of deflate that end at a whole byte, so that others can follow."""
    made = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    return made.compress(content) + made.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def _stored(content: bytes) -> bytes:
    """A block of deflate without compression (RFC 1951, 3.2.4); under 64 KB."""
    return struct.pack("<BHH", 0, len(content), len(content) ^ 0xFFFF) + content


class _Bank:
    """Templates by level and variant, numbered; every worker draws from the same."""

    def __init__(self, pretence: Pretence, campaign: Campaign, plan: Plan) -> None:
        random = np.random.default_rng([campaign.seed, len(pretence.name)])
        per_window = plan.phases[-1].rate_per_s * campaign.window_s / plan.workers
        self.templates = [
            _Template.of(_drawn(pretence, plan, per_window, level, random))
            for level in range(LEVELS)
            for _ in range(campaign.variants)
        ]
        self.sums = np.array([one.sums for one in self.templates])
        self.coded = CodedBank([one.window for one in self.templates]) if campaign.sealed else None


_kept: dict[str, _Bank] = {}  # the last one: workers of a target follow each other


def _bank(pretence: Pretence, campaign: Campaign, plan: Plan) -> _Bank:
    key = repr((pretence, campaign, plan))
    if key not in _kept:
        _kept.clear()
        _kept[key] = _Bank(pretence, campaign, plan)
    return _kept[key]


def _drawn(
    pretence: Pretence, plan: Plan, per_window: float, level: int, random: np.random.Generator
) -> Window:
    slower = np.exp(level * LEVEL_STEP)
    operations: dict[str, OperationWindow] = {}
    for name, share, median_us in (
        ("read", plan.read_share, pretence.read_us),
        ("write", 1 - plan.read_share, pretence.write_us),
    ):
        count = int(random.poisson(per_window * share))
        failed = int(random.binomial(count, pretence.failed_share))
        ok = count - failed
        body = random.lognormal(np.log(median_us * slower), pretence.spread, ok)
        body[random.random(ok) < pretence.stall_share * slower] *= 6
        lag = random.exponential(pretence.lag_us, ok)
        operations[name] = OperationWindow(
            due=count,
            sent=count,
            ok=ok,
            failed=failed,
            causes={pretence.failed_cause: failed} if failed else {},
            response=_histogram(body + lag),
            service=_histogram(body),
            lag=_histogram(lag),
        )
    late = Histogram.merged(one.lag for one in operations.values())
    return Window(0, 0, "", "open", 0, 1, operations, GeneratorState(), late=late)


def _histogram(values_us: NDArray[np.float64]) -> Histogram:
    made = Histogram()
    for value_us, count in zip(*np.unique(values_us.astype(int), return_counts=True), strict=True):
        made.record(int(value_us), int(count))
    return made


def _spool(
    folder: Path, plan: Plan, pretence: Pretence, campaign: Campaign, rank: int, began_s: int
) -> dict[str, int]:
    """One worker's files of the session; what its end frame says."""
    bank = _bank(pretence, campaign, plan)
    path = folder / f"worker-{rank}.spool"
    worker = _Worker(pretence, campaign, plan, rank, began_s)
    last_hour = int(worker.start_s[-1]) // HOUR_S
    hours = worker.start_s // HOUR_S if campaign.sealed else np.full(len(worker.start_s), last_hour)
    for hour in np.unique(hours).tolist():
        first, last = np.searchsorted(hours, [hour, hour + 1]).tolist()
        if hour < last_hour and bank.coded is not None:
            sealed = worker.sealed(bank.coded, first, last)
            path.with_suffix(f".{hour}{SEALED}").write_bytes(sealed)
        else:
            with path.open("wb", buffering=1 << 20) as file:
                file.writelines(worker.frames(bank, first, last))
    totals = bank.sums[worker.numbers].sum(axis=0).tolist()
    sums = dict(zip(SUMS, totals, strict=True))
    writer = SpoolWriter(path)
    end = SessionEnd(worker=rank, outcome="finished", reason="", **sums, notes={"tls": "TLSv1.3"})
    writer.append(end.to_json())
    writer.close()
    return sums


class _Worker:
    """All windows of one worker: which template each is, and what it has of its own."""

    def __init__(
        self, pretence: Pretence, campaign: Campaign, plan: Plan, rank: int, began_s: int
    ) -> None:
        self._plan, self._rank, self._redirects = plan, rank, pretence.redirects
        lengths = [phase.duration_s // plan.window_s for phase in plan.phases]
        edges = np.append(0, np.cumsum(lengths)).tolist()
        self.phase = np.repeat(np.arange(len(lengths)), lengths)
        self.start_s = began_s + np.arange(edges[-1]) * plan.window_s
        numbers, states = [], []
        for seq, windows in zip(edges, lengths, strict=False):
            random = np.random.default_rng([campaign.seed, rank, seq])
            levels = course(campaign, pretence.name, windows)
            variants = random.integers(0, campaign.variants, windows)
            numbers.append(levels * campaign.variants + variants)
            states.append(_states(pretence, campaign, windows, random))
        self.numbers = np.concatenate(numbers)
        self._states = {name: np.concatenate([one[name] for one in states]) for name in states[0]}

    def sealed(self, bank: CodedBank, first: int, last: int) -> bytes:
        """A sealed hour of the windows from `first` to `last`."""
        many = last - first
        columns = {
            "worker": [self._rank] * many,
            "seq": list(range(first, last)),
            "start_s": self.start_s[first:last].tolist(),
            "length_s": [self._plan.window_s] * many,
            "complete": [True] * many,
            "phase": self.phase[first:last].tolist(),
        }
        state = {name: held[first:last].tolist() for name, held in self._states.items()}
        state |= {"in_flight_max": [48] * many, "reconnects": [0] * many, "ask": [0] * many}
        state |= {"moved": [self._redirects] * many, "nic_share": [None] * many}
        columns |= {f"generator.{name}": held for name, held in state.items()}
        phases = [(phase.name, phase.mode) for phase in self._plan.phases]
        return sealed_hour(bank, self.numbers[first:last], phases, columns)

    def frames(self, bank: _Bank, first: int, last: int) -> Iterator[bytes]:
        """Frames of a spool of the same."""
        heads = [
            f'{{"kind":"window","schema":1,"worker":{self._rank},"seq":%d,"phase":"{phase.name}",'
            f'"mode":"{phase.mode}","start_s":%d,"length_s":{self._plan.window_s},"complete":true,'
            for phase in self._plan.phases
        ]
        state = (
            '"generator":{"cpu_share":%s,"loop_lag_max_us":%d,"overdue_max":%d,'
            f'"in_flight_max":48,"reconnects":0,"moved":{self._redirects},"ask":0,'
            '"wait_share":%s,"nic_share":null}}'
        )
        names = ("cpu_share", "loop_lag_max_us", "overdue_max", "wait_share")
        rows = zip(*(self._states[name][first:last].tolist() for name in names), strict=True)
        for seq, row in enumerate(rows, first):
            template = bank.templates[self.numbers[seq]]
            head = heads[self.phase[seq]] % (seq, self.start_s[seq])
            yield template.frame(head.encode(), (state % row).encode())


def _states(
    pretence: Pretence, campaign: Campaign, windows: int, random: np.random.Generator
) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """How the engine fared in each window, as far as it differs."""
    cpu = np.round(pretence.cpu_share + random.uniform(-0.02, 0.02, windows), 3)
    wait = np.round(random.exponential(0.004, windows), 4)
    taken = random.random(windows) < campaign.bound_share
    wait[taken] = np.round(random.uniform(0.15, 0.4, int(taken.sum())), 4)
    lag_us = random.integers(300, 2500, windows)
    overdue = random.integers(0, 40, windows)
    return {
        "cpu_share": cpu,
        "loop_lag_max_us": lag_us,
        "overdue_max": overdue,
        "wait_share": wait,
    }
