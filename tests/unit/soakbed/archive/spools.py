"""Spools of a few windows, whole or damaged on purpose, for tests of the tables."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadgen.contract.histogram import Histogram
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import GeneratorState, OperationWindow, SessionEnd, Window

HOUR = 472_222  # since 1970
BEGAN_S = HOUR * 3600
HEAD = struct.Struct("<II")


def plan(workers: int = 1, session: str = "steady") -> Plan:
    return Plan(
        run_id="made-up",
        session=session,
        target="etcd",
        endpoints=("127.0.0.1:1",),
        keyspace=Keyspace(keys=10, prefix="k"),
        phases=(Phase("steady", "open", 60, 100.0),),
        tls=None,
        workers=workers,
    )


def histogram(rng: np.random.Generator, values: int) -> Histogram:
    made = Histogram()
    for us in rng.lognormal(6.0, 0.8, values).astype(int).tolist():
        made.record(us)
    return made


def window(seq: int, *, worker: int = 0, start_s: int | None = None, values: int = 20) -> Window:
    rng = np.random.default_rng([seq, worker])
    operations = {
        name: OperationWindow(
            due=values,
            sent=values,
            ok=values,
            failed=seq % 3,
            causes={"timeout": seq % 3} if seq % 3 else {},
            response=histogram(rng, values),
            service=histogram(rng, values),
            lag=histogram(rng, values),
        )
        for name in ("read", "write")
    }
    return Window(
        worker=worker,
        seq=seq,
        phase="steady",
        mode="open",
        start_s=BEGAN_S + seq if start_s is None else start_s,
        length_s=1,
        operations=operations,
        generator=GeneratorState(cpu_share=0.1 + seq / 1000, overdue_max=seq),
        late=histogram(rng, values),
    )


def end(worker: int = 0) -> SessionEnd:
    return SessionEnd(worker, "finished", "", 1, 1, 0, 0, {"tls": "TLSv1.3"})


def spool(
    path: Path, windows: Iterable[Window], *, ended: bool = True, packed: bool = True
) -> Path:
    """A spool of these windows; `packed` False writes them as the first engines did, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    writer = SpoolWriter(path, hourly=False)
    for one in windows:
        if packed:
            writer.append_window(one)
        else:
            plain = one.to_json()
            del plain["late"]
            writer.append(plain)
    if ended:
        writer.append(end().to_json())
    writer.close()
    return path


def target(folder: Path, *workers: Iterable[Window], **how: bool) -> Path:
    """A target's folder with one session and a spool for each of `workers`."""
    load = folder / "load" / "steady"
    load.mkdir(parents=True, exist_ok=True)
    plan(len(workers)).write(load / "plan.json")
    for rank, windows in enumerate(workers):
        spool(load / f"worker-{rank}.spool", [replace(one, worker=rank) for one in windows], **how)
    return folder


def spool_of(folder: Path, worker: int = 0) -> Path:
    return folder / "load" / "steady" / f"worker-{worker}.spool"


def frames(path: Path) -> list[bytes]:
    """The spool's frames, heads included."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        size = HEAD.size + HEAD.unpack_from(data, at)[0]
        found.append(data[at : at + size])
        at += size
    return found


def frame(record: object) -> bytes:
    """One frame of JSON, its checksum right, whatever it says."""
    payload = zlib.compress(json.dumps(record).encode(), 1)
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload
