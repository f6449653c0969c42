"""The tables of a target as numpy arrays, an hour at a time; never an object per window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from loadgen.contract.histogram import BUCKETS
from loadgen.contract.window import CAUSES
from soakbed.errors import ArchiveError
from soakbed.records.collated import DATA_SCHEMA, Collated, CollatedSession, Damage

__all__ = ["Blocks", "Columns", "TargetData"]

Columns = Mapping[str, NDArray[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Blocks:
    """Histograms of equal stretches of time, all workers added; those without a window are absent.

    `starts_s` int64[n], multiples of the stretch's length; `counts` int64[n, BUCKETS]; `count`,
    `sum_us`, `max_us`, `clamped` int64[n]; `windows` int64[n]: seconds of windows of any worker;
    `complete` bool[n]: every one of them was.
    """

    starts_s: Ints
    counts: Ints
    count: Ints
    sum_us: Ints
    max_us: Ints
    clamped: Ints
    windows: Ints
    complete: NDArray[np.bool_]


class TargetData:
    """`results/<run_id>/<target>/data/`. Raises ArchiveError when it is not there, or of another
    schema, or was not finished.
    """

    def __init__(self, target_folder: Path) -> None:
        self.path = target_folder / "data"
        again = "soakbed collate, or soakbed judge, makes it from the spools"
        try:
            text = (self.path / "collated.json").read_bytes()
        except FileNotFoundError:
            raise ArchiveError(f"{self.path} is not collated", remedy=again) from None
        try:
            self.collated = Collated.model_validate_json(text)
        except ValueError as error:
            raise ArchiveError(
                f"{self.path / 'collated.json'} is damaged: {error}", remedy=again
            ) from error
        if self.collated.schema_ != DATA_SCHEMA:
            raise ArchiveError(
                f"{self.path} has schema {self.collated.schema_}, this soakbed reads {DATA_SCHEMA}",
                remedy=again,
            )

    def sessions(self) -> dict[str, CollatedSession]:
        """Sessions by name: phases in order of time, workers, engines' ends."""
        return {one.session: one for one in self.collated.sessions}

    def damages(self) -> tuple[Damage, ...]:
        """Everything that was wrong with the spools."""
        return self.collated.damages

    def blocks(
        self, session: str, phase: str, operation: str, kind: str, block_s: int = 0
    ) -> Blocks:
        """Histograms in stretches of `block_s` seconds of unix time; 0: the whole phase as one.

        The engines' own delay is operation "", kind "late".
        """
        wanted = {"session": session, "phase": phase, "operation": operation, "kind": kind}
        held: dict[int, _Block] = {}
        for table in self._parts("windows", wanted, _BLOCK_COLUMNS):
            _add_blocks(table, block_s, held)
        return _blocks(held)

    def generator(self, session: str, phase: str) -> Iterator[Columns]:
        """Rows of `generator`, a part for each hour; a share that nobody could tell is NaN."""
        for table in self._parts("generator", {"session": session, "phase": phase}, None):
            yield _columns(table)

    def counters(self, session: str, phase: str) -> Iterator[tuple[str, Columns]]:
        """(operation, rows of `counters`), parts by hour; causes are named as in CAUSES."""
        for table in self._parts("counters", {"session": session, "phase": phase}, None):
            for operation in pc.unique(table["operation"].cast(pa.string())).to_pylist():
                chosen = table.filter(pc.equal(table["operation"].cast(pa.string()), operation))
                told = dict(_columns(chosen))
                for cause in CAUSES:
                    counts = told.pop(f"cause_{cause}")
                    if counts.any():
                        told[cause] = counts
                yield operation, told

    def workers(self, session: str, phase: str, operation: str, kind: str, worker: int) -> Blocks:
        """Histograms of one worker alone, in stretches of ten whole minutes."""
        wanted = {"session": session, "phase": phase, "operation": operation, "kind": kind}
        held: dict[int, _Block] = {}
        for table in self._parts("workers", wanted, None):
            own = table.filter(pc.equal(table["worker"], worker))
            whole = pa.array([True] * len(own), pa.bool_())
            own = own.append_column("complete", whole).append_column("workers", own["windows"])
            _add_blocks(own, 600, held)
        return _blocks(held)

    def events(self) -> Columns:
        """The table `events`, in order of time; those that no time is known of come first."""
        return self._whole("events")

    def hosts(self) -> Columns:
        """The table `hosts`: what each host used, sample by sample."""
        return self._whole("hosts")

    def units(self) -> Columns:
        """The table `units`: the same of each systemd unit."""
        return self._whole("units")

    def _whole(self, table: str) -> Columns:
        return _columns(pq.read_table(self.path / table / f"{table}.parquet"))

    def _parts(
        self, table: str, wanted: Mapping[str, str], columns: Sequence[str] | None
    ) -> Iterator[pa.Table]:
        """Rows of each hour where the columns of `wanted` have these values, if there are any."""
        for hour in self.collated.hours:
            path = self.path / table / f"hour={hour}" / "part-0.parquet"
            filters = [(name, "==", value) for name, value in wanted.items()]
            names = None if columns is None else [*columns]
            try:
                read = pq.read_table(path, columns=names, filters=filters, partitioning=None)
            except (OSError, pa.ArrowInvalid) as error:
                raise ArchiveError(
                    f"{path} cannot be read: {error}",
                    remedy=f"delete {self.path} and collate again; the spools are the evidence",
                ) from error
            if len(read):
                yield read


_SUMS = ("count", "sum_us", "clamped")
_BLOCK_COLUMNS = (
    "start_s",
    "length_s",
    "workers",
    "complete",
    "count",
    "sum_us",
    "max_us",
    "clamped",
    "buckets",
    "counts",
)


@dataclass(slots=True)
class _Block:
    counts: Ints
    sums: Ints
    max_us: int = 0
    windows: int = 0
    complete: bool = True


def _add_blocks(table: pa.Table, block_s: int, held: dict[int, _Block]) -> None:
    """Add the rows of one hour to the blocks that they lie in."""
    start_s = table["start_s"].to_numpy()
    keys, block = np.unique(start_s // block_s if block_s else start_s * 0, return_inverse=True)
    table = table.combine_chunks()
    lengths = pc.list_value_length(table["buckets"]).to_numpy()
    buckets = table["buckets"].combine_chunks().flatten().to_numpy()
    counts = table["counts"].combine_chunks().flatten().to_numpy()
    flat = np.repeat(block, lengths) * BUCKETS + buckets
    dense = np.zeros(len(keys) * BUCKETS, dtype=np.int64)
    np.add.at(dense, flat, counts.astype(np.int64))
    dense = dense.reshape(len(keys), BUCKETS)
    sums = np.zeros((len(keys), len(_SUMS)), dtype=np.int64)
    for column, name in enumerate(_SUMS):
        np.add.at(sums[:, column], block, table[name].to_numpy())
    max_us = np.zeros(len(keys), dtype=np.int64)
    np.maximum.at(max_us, block, table["max_us"].to_numpy())
    windows = np.zeros(len(keys), dtype=np.int64)
    length_s = table["length_s"].to_numpy().astype(np.int64)
    np.add.at(windows, block, table["workers"].to_numpy() * length_s)
    complete = np.ones(len(keys), dtype=bool)
    np.logical_and.at(complete, block, table["complete"].to_numpy(zero_copy_only=False))
    for index, key in enumerate((keys * block_s).tolist()):
        one = held.get(key)
        if one is None:
            one = held[key] = _Block(np.zeros(BUCKETS, np.int64), np.zeros(len(_SUMS), np.int64))
        one.counts += dense[index]
        one.sums += sums[index]
        one.max_us = max(one.max_us, int(max_us[index]))
        one.windows += int(windows[index])
        one.complete = one.complete and bool(complete[index])


def _blocks(held: Mapping[int, _Block]) -> Blocks:
    keys = sorted(held)
    sums = np.array([held[key].sums for key in keys], dtype=np.int64).reshape(-1, len(_SUMS))
    return Blocks(
        starts_s=np.array(keys, dtype=np.int64),
        counts=np.array([held[key].counts for key in keys], dtype=np.int64).reshape(-1, BUCKETS),
        count=sums[:, 0],
        sum_us=sums[:, 1],
        max_us=np.array([held[key].max_us for key in keys], dtype=np.int64),
        clamped=sums[:, 2],
        windows=np.array([held[key].windows for key in keys], dtype=np.int64),
        complete=np.array([held[key].complete for key in keys], dtype=bool),
    )


def _columns(table: pa.Table) -> dict[str, NDArray[Any]]:
    told = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        whole = column.combine_chunks()
        if pa.types.is_dictionary(column.type):
            whole = whole.cast(pa.string())
        if pa.types.is_integer(whole.type) and whole.null_count:
            whole = whole.cast(pa.float64())
        told[name] = whole.to_numpy(zero_copy_only=False)
    return told
