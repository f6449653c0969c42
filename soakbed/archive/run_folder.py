"""The run folder: the only code that writes records under `results/`.

A record is written whole (temporary file, fsync, rename), so a killed pipeline leaves either the
record or nothing, and "which file exists" is a safe answer to "where were we".
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from soakbed.errors import ArchiveError
from soakbed.records.cost import HourCost, RunCost
from soakbed.records.facts import Facts
from soakbed.records.run import StageTime, StopAsked, TargetReady
from soakbed.records.spec import RunSpec

__all__ = ["RunFolder", "facts_in", "write_whole"]

Record = TypeVar("Record")


def write_whole(path: Path, text: str) -> None:
    """Write `text` to `path` so that a reader sees all of it or the old file, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).rename(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def facts_in(path: Path) -> Facts:
    """A JSON file as it is, {} where there is none: its keys are shown, not relied on, so that old
    runs open too. Raises ArchiveError when it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        read = json.loads(path.read_text())
    except ValueError as error:
        raise ArchiveError(
            f"{path} is not JSON: {error}",
            remedy="restore the file, or delete it: what it held then counts as not recorded",
        ) from error
    return read if isinstance(read, dict) else {}


def _plain(record: object) -> Any:  # noqa: ANN401  (whatever json.dumps takes)
    if isinstance(record, BaseModel):
        return record.model_dump(mode="json", by_alias=True)
    return record


def _text(record: object) -> str:
    """A record as it is written; the pages of a soak are a tenth of a minute of json.dumps."""
    return to_json(_plain(record), indent=1, inf_nan_mode="constants").decode() + "\n"


class RunFolder:
    """One run's folder, `results/<run_id>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_id = path.name

    @classmethod
    def begin(cls, results: Path, spec: RunSpec) -> RunFolder:
        """Make a new run folder, save its spec, and point `results/current` at it."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        base = f"{stamp}-{spec.workload.name}-{spec.testbed.name}"
        path = results / base
        suffix = 2
        while path.exists():
            path = results / f"{base}-{suffix}"
            suffix += 1
        path.mkdir(parents=True)
        run = cls(path)
        run.write("spec", spec)
        run._link("current")
        return run

    @classmethod
    def open(cls, results: Path, run_id: str) -> RunFolder:
        """An existing run. `run_id` may be "latest" or "current". Raises ArchiveError if absent."""
        path = results / run_id
        if not (path / "spec.json").is_file():
            known = sorted(p.parent.name for p in results.glob("*/spec.json") if not p.is_symlink())
            listed = ", ".join(dict.fromkeys(known)) or "none yet"
            raise ArchiveError(
                f"no run {run_id!r} in {results}",
                remedy=f"name one of: {listed}",
            )
        return cls(path.resolve())

    @classmethod
    def resumable(cls, results: Path, spec: RunSpec) -> RunFolder | None:
        """The unfinished run of exactly this spec, if there is one."""
        current = results / "current"
        if not (current / "spec.json").is_file():
            return None
        run = cls(current.resolve())
        try:
            return run if run.spec() == spec else None
        except ArchiveError:
            return None

    def spec(self) -> RunSpec:
        """What was asked. Raises ArchiveError when the file is damaged."""
        return self.read("spec", RunSpec)

    def ready(self, target: str) -> TargetReady:
        """What was deployed of `target`, or why nothing was."""
        adapter: TypeAdapter[TargetReady] = TypeAdapter(TargetReady)
        return self._validated(self._file(f"{target}/ready"), adapter)

    def has(self, name: str) -> bool:
        """Whether record `name` ("etcd/ready") is there."""
        return self._file(name).is_file()

    def read(self, name: str, kind: type[Record]) -> Record:
        """Read record `name`. Raises ArchiveError when it is missing or damaged."""
        return self._validated(self._file(name), TypeAdapter(kind))

    def _validated(self, path: Path, adapter: TypeAdapter[Record]) -> Record:
        try:
            return adapter.validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ArchiveError(
                f"{path} is missing", remedy=f"soakbed resume {self.run_id}"
            ) from None
        except ValidationError as error:
            raise ArchiveError(
                f"{path} is damaged: {error.errors()[0]['msg']}",
                remedy=f"delete the file and run: soakbed resume {self.run_id}",
            ) from error

    def write(self, name: str, record: BaseModel | Mapping[str, Any]) -> None:
        """Write record `name` whole."""
        write_whole(self._file(name), _text(record))

    def keep(self, name: str, kind: type[Record], make: Callable[[], Record]) -> Record:
        """Record `name` if it is there, else make it and write it: how a run resumes."""
        if self.has(name):
            return self.read(name, kind)
        made = make()
        write_whole(self._file(name), _text(made))
        return made

    def is_soak(self) -> bool:
        """Whether its hosts are waited for however long they are away."""
        return self.has("soak")

    def ask_to_stop(
        self,
        why: str,
        *,
        keeps_hosts: bool = False,
        cause: Literal["asked", "budget"] = "asked",
    ) -> None:
        """Have the load end in an orderly way, now or whenever somebody resumes the run."""
        if not self.stop_asked():
            asked = StopAsked(asked_s=time.time(), why=why, keeps_hosts=keeps_hosts, cause=cause)
            self.write("stop", asked)

    def stop_asked(self) -> bool:
        """Whether the load is to end now."""
        return self.has("stop")

    def stop(self) -> StopAsked | None:
        """Who asked for the end, and why; None when nobody did."""
        return self.read("stop", StopAsked) if self.stop_asked() else None

    def cost(self) -> RunCost | None:
        """What it costs; of a run before that was kept, by its spec's own price. None: unknown."""
        if self.has("cost"):
            return self.read("cost", RunCost)
        spec, times = self.spec(), self.times() or self._times_told()
        if spec.testbed.hour_price is None or not times:
            return None
        began_s = min(one.started_s for one in times)
        return RunCost(
            hour=HourCost.named(spec.testbed.hour_price),
            began_s=began_s,
            hosts_since_s=began_s,
            ended_s=max(one.started_s + one.seconds for one in times),
        )

    def _times_told(self) -> list[StageTime]:
        """Stage times by the manifest, of a run whose own list of them is not there."""
        told = facts_in(self.path / "manifest.json").get("stages") or []
        return [StageTime.model_validate(one) for one in told]

    def folder(self, *parts: str) -> Path:
        """A sub-folder for evidence that a stage fetches, made if missing."""
        path = self.path.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def note_time(self, taken: StageTime) -> None:
        """Append one stage's time; kept in the manifest."""
        with (self.path / "stages.jsonl").open("a", encoding="utf-8") as file:
            file.write(taken.model_dump_json() + "\n")

    def times(self) -> list[StageTime]:
        """Every stage time noted so far, resumed attempts included."""
        path = self.path / "stages.jsonl"
        if not path.is_file():
            return []
        return [StageTime.model_validate_json(line) for line in path.read_text().splitlines()]

    def finish(self) -> None:
        """Point `results/latest` at this run; it is no longer current."""
        self._link("latest")
        current = self.path.parent / "current"
        if current.is_symlink() and current.resolve() == self.path.resolve():
            current.unlink()

    def _file(self, name: str) -> Path:
        return self.path / f"{name}.json"

    def _link(self, name: str) -> None:
        link = self.path.parent / name
        fresh = self.path.parent / f".{name}.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.path.name)
        fresh.rename(link)
