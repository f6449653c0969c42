"""The tables that are not of windows: `events`, `hosts` and `units`, each one file."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from soakbed.archive.data.host_events import host_events
from soakbed.archive.data.rows import write_table
from soakbed.archive.data.samples import samples_of_target
from soakbed.archive.data.tables import arrow_schema, table_named
from soakbed.archive.run_folder import RunFolder
from soakbed.records.collated import Collated, Damage, SourceFile
from soakbed.records.events import Event
from soakbed.records.testbed import Testbed

__all__ = ["host_files", "write_host_tables"]

_SEVERITY = {"excluded": "window", "marked": "phase", "named": "phase"}


def host_files(folder: Path) -> Iterator[SourceFile]:
    """What was collected from the hosts, with the CRC-32 of each file."""
    for path in sorted(folder.glob("hosts/**/*")):
        if path.is_file():
            content = path.read_bytes()
            yield SourceFile(
                path=str(path.relative_to(folder)),
                bytes=len(content),
                fingerprint=zlib.crc32(content),
            )


def write_host_tables(folder: Path, made: Collated) -> None:
    """Samples and journals as tables; every damage of the spools as an event among the others."""
    samples = samples_of_target(folder, _duties(folder))
    events = [_of_damage(damage) for damage in made.damages]
    events += [_of_event(event) for event in host_events(folder, samples.by_host).events]
    events.sort(key=lambda event: event["at_s"] or 0.0)
    schema = arrow_schema(table_named("events"))
    _write(folder, "events", pa.Table.from_pylist(events, schema=schema))
    for name, columns in (("hosts", samples.hosts), ("units", samples.units)):
        schema = arrow_schema(table_named(name))
        arrays = [
            pa.array(columns[field.name].tolist(), field.type, from_pandas=True) for field in schema
        ]
        _write(folder, name, pa.Table.from_arrays(arrays, schema=schema))


def _duties(folder: Path) -> Mapping[str, str]:
    """Duty of each host by name, as the run's testbed has it; none where it is not there."""
    run = RunFolder(folder.parent)
    if not run.has("testbed"):
        return {}
    testbed = run.read("testbed", Testbed)
    return {name: host.duty for name, host in testbed.hosts.items()}


def _of_damage(damage: Damage) -> dict[str, Any]:
    return {
        "at_s": damage.at_s,
        "until_s": damage.until_s,
        "host": "",
        "worker": damage.worker,
        "source": f"load/{damage.session}/worker-{damage.worker}.spool",
        "kind": damage.kind,
        "severity": _SEVERITY[damage.treatment],
        "text": damage.text,
    }


def _of_event(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in arrow_schema(table_named("events")).names}


def _write(folder: Path, name: str, table: pa.Table) -> None:
    path = folder / "data" / name / f"{name}.parquet"
    fresh = path.with_name(f".{name}.parquet")
    write_table(table, fresh)
    fresh.rename(path)
