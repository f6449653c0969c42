"""What load hosts have spooled -> the archive, bit by bit while the load is on.

Each file is copied from where its copy ends, so a line that breaks costs what was under way. Files
that are whole on the host (a closed hour, a sealed one) come once; the open spool grows here as it
grows there. A copy goes on only where its last bytes are those of the file, else it begins anew.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from loadgen.contract.history_files import history_hour
from loadgen.contract.spool import SpoolDamaged, read_spool
from soakbed.adapters.ssh import CommandFailed, Shell
from soakbed.records.testbed import Host
from soakbed.stages.load_session import LoadSession
from soakbed.units import MIB

__all__ = ["Backfill"]

CHUNK_BYTES = 4 * MIB
# Frames are compressed and carry a checksum: no two files have 4 KB alike at one place.
_SEAM_BYTES = 4096
_HOUR_S = 3600
_FETCH_TIMEOUT_S = 1800
_EVIDENCE = re.compile(
    r"worker-\d+(\.\d+)?\.(spool|sealed|history)|(clock|totals)-\d+\.json|plan\.json"
)
_OPEN = re.compile(r"worker-(\d+)\.(spool|history)")
_LIST = ["-mindepth", "1", "-maxdepth", "1", "-printf", r"%y\t%s\t%f\n"]


class Backfill:
    """Copies one session's evidence into `folder` of the archive; knows nothing but the files."""

    def __init__(self, session: LoadSession, folder: Path, *, shell: Shell) -> None:
        self._session = session
        self._folder = folder
        self._shell = shell
        self.fetched_bytes = 0  # by this process

    def begin(self, aside: Path) -> None:
        """Make room for a session that begins anew; what an earlier one left goes to `aside`."""
        if any(self._folder.glob("worker-*")):
            place = next(path for n in range(1, 1000) if not (path := aside / str(n)).exists())
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self._folder, place)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)

    def catch_up(self) -> None:
        """Bring what came since the last call.

        Raises HostUnreachable; what came before the line broke is kept, and taken up by the next.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for host in self._session.hosts:
            self._from(host)

    def finish(self) -> None:
        """Bring the rest of a session that is over, with Locust's own files. Raises LoadError."""
        held: set[str] = set()
        for number, host in enumerate(self._session.hosts):
            held |= self._from(host)
            if "locust" in self._listed(host, kind="d"):
                self._locust(host, f"locust-{host.name}" if number else "locust")
        for path in self._folder.glob("worker-*"):
            # Such as of a rank that is no longer planned.
            if held and not self._is_of(path.name, held):
                path.unlink()

    def _is_of(self, name: str, held: set[str]) -> bool:
        """Whether a file here is, or becomes on the host, one of those that are there."""
        return name in held or name.removesuffix(".spool") + ".sealed" in held

    def _from(self, host: Host) -> set[str]:
        """Everything new of one host; the names that it has."""
        there = self._listed(host)
        for name in there:
            if open_spool := _OPEN.fullmatch(name):
                self._turn(host, open_spool[1], open_spool[2], there)
        for name, size in sorted(there.items(), key=_whole_ones_first):
            try:
                self._copy(host, name, size, there)
            except CommandFailed:
                # Renamed, sealed or removed since it was listed: the next call sees what it became.
                continue
        return set(there)

    def _listed(self, host: Host, *, kind: str = "f") -> dict[str, int]:
        """Names and sizes of the session's evidence on a host, {} when its folder is not there."""
        asked = self._shell.run(host, ["find", self._session.folder, *_LIST], check=False)
        entries = [line.split("\t") for line in asked.out.splitlines()]
        found = {name: int(size) for this, size, name in entries if this == kind}
        if kind == "d":
            return found
        return {name: size for name, size in found.items() if _EVIDENCE.fullmatch(name)}

    def _turn(self, host: Host, rank: str, kind: str, there: Mapping[str, int]) -> None:
        """Give the copy of an hour that is over on the host the name that this hour has there."""
        name = f"worker-{rank}.{kind}"
        copy = self._folder / name
        if not copy.exists() or self._goes_on(host, name, copy, there[name]):
            return
        hour = history_hour(copy) if kind == "history" else _hour_of(copy)
        closed = self._folder / f"worker-{rank}.{hour}.{kind}"
        over = {closed.name, *([closed.with_suffix(".sealed").name] if kind == "spool" else [])}
        over &= there.keys()
        if over and not closed.exists():
            copy.rename(closed)
        else:
            copy.unlink()  # its torn end was cut off on the host

    def _goes_on(self, host: Host, name: str, copy: Path, size: int) -> bool:
        """Whether the file on the host begins with all that the copy holds."""
        have = copy.stat().st_size
        if have > size or not have:
            return not have
        seam = _tail(copy, _SEAM_BYTES)
        path = f"{self._session.folder}/{name}"
        return self._shell.read_part(host, path, have - len(seam), len(seam)) == seam

    def _copy(self, host: Host, name: str, size: int, there: Mapping[str, int]) -> None:
        """Bring one file up to `size` bytes."""
        copy = self._folder / name
        if name.endswith(".json"):
            self._replace(copy, self._shell.read_part(host, self._path(name), 0, size))
        elif name.endswith(".sealed"):
            if not (copy.exists() and copy.stat().st_size == size):
                part = self._folder / f".{name}.part"
                self._append(host, name, part, size)
                part.replace(copy)
            copy.with_suffix(".spool").unlink(missing_ok=True)
        elif name.endswith(".history") or Path(name).with_suffix(".sealed").name not in there:
            self._append(host, name, copy, size)

    def _append(self, host: Host, name: str, copy: Path, size: int) -> None:
        have = copy.stat().st_size if copy.exists() else 0
        if have == size and name.count(".") > 1:
            return
        if have and not self._goes_on(host, name, copy, size):
            copy.unlink()
            have = 0
        with copy.open("ab") as file:
            while have < size:
                most = min(CHUNK_BYTES, size - have)
                if not (chunk := self._shell.read_part(host, self._path(name), have, most)):
                    break
                file.write(chunk)
                have += len(chunk)
                self.fetched_bytes += len(chunk)
            file.flush()
            os.fsync(file.fileno())

    def _path(self, name: str) -> str:
        return f"{self._session.folder}/{name}"

    def _replace(self, copy: Path, content: bytes) -> None:
        fresh = copy.with_name(f".{copy.name}.new")
        fresh.write_bytes(content)
        fresh.replace(copy)

    def _locust(self, host: Host, name: str) -> None:
        fresh = self._folder / f".{name}"
        shutil.rmtree(fresh, ignore_errors=True)
        folder = f"{self._session.folder}/locust"
        self._shell.get_tree(host, folder, fresh, timeout_s=_FETCH_TIMEOUT_S)
        shutil.rmtree(self._folder / name, ignore_errors=True)
        fresh.rename(self._folder / name)


def _whole_ones_first(entry: tuple[str, int]) -> tuple[bool, str]:
    """Closed and sealed hours before the open spool, so that hours come in order."""
    return _OPEN.fullmatch(entry[0]) is not None, entry[0]


def _tail(file: Path, most_bytes: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - most_bytes))
        return opened.read()


def _hour_of(spool: Path) -> int:
    """Which hour (since 1970) a spool's windows are of; -1 when it holds none that is whole."""
    return next((record["start_s"] // _HOUR_S for record in _windows(spool)), -1)


def _windows(spool: Path) -> Iterator[dict[str, int]]:
    try:
        for record in read_spool(spool):
            if record["kind"] == "window":
                yield record
    except SpoolDamaged:
        return
