"""Samples and events of a target -> tables `hosts`, `units` and `events`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from soakbed.archive.data.host_events import host_events
from soakbed.archive.data.samples import TargetSamples, samples_of_target
from soakbed.archive.data.schema import schema_of
from soakbed.archive.data.tables import hour_of, write_table
from soakbed.records import policy
from soakbed.records.collated import Damage
from soakbed.records.events import Event

__all__ = ["write_events", "write_samples"]

_HOUR_S = 3600


def write_samples(target_folder: Path, data: Path, duties: Mapping[str, str]) -> TargetSamples:
    """Tables `hosts` and `units`, an hour a file; `duties`: host -> duty, {} for those found."""
    found = sorted(path.name for path in (target_folder / "hosts").glob("*") if path.is_dir())
    duties = duties or dict.fromkeys(found, "")
    samples = samples_of_target(target_folder, duties)
    for table, columns in (("hosts", samples.hosts), ("units", samples.units)):
        shutil.rmtree(data / table, ignore_errors=True)
        hours = (columns["at_s"] // _HOUR_S).astype(np.int64)
        for hour in np.unique(hours).tolist():
            rows = _rows(table, columns, np.flatnonzero(hours == hour))
            write_table(data / table / f"hour={hour_of(hour * _HOUR_S)}/0.parquet", table, [rows])
    return samples


def _rows(table: str, columns: Mapping[str, NDArray[Any]], held: NDArray[np.int64]) -> pa.Table:
    schema = schema_of(table)
    arrays = []
    for one in schema:
        values = columns[one.name][held]
        if pa.types.is_dictionary(one.type):
            arrays.append(pa.array(values.tolist(), pa.string()).dictionary_encode())
        else:
            arrays.append(pa.array(values, one.type, from_pandas=True))
    return pa.Table.from_arrays(arrays, schema=schema)


def write_events(
    target_folder: Path, data: Path, samples: TargetSamples, damages: Sequence[Damage]
) -> dict[str, int]:
    """Table `events`: what hosts, spools and the watch tell. Returns how much of it could not be
    placed.
    """
    told = host_events(target_folder, samples.by_host)
    events = [*told.events, *(_event(one) for one in damages if one.from_s is not None)]
    events.sort(key=lambda one: (one.at_s, one.host, one.worker, one.kind))
    schema = schema_of("events")
    arrays = []
    for one in schema:
        values = [getattr(event, one.name) for event in events]
        made = pa.array(values, pa.string() if pa.types.is_dictionary(one.type) else one.type)
        arrays.append(made.dictionary_encode() if pa.types.is_dictionary(one.type) else made)
    write_table(
        data / "events" / "0.parquet", "events", [pa.Table.from_arrays(arrays, schema=schema)]
    )
    return dict(told.unread)


def _event(damage: Damage) -> Event:
    from_s = damage.from_s or 0.0
    return policy.event(
        damage.kind,
        from_s,
        until_s=damage.until_s or from_s,
        host="",
        source="archive",
        text=damage.sentence,
        worker=damage.worker,
    )
