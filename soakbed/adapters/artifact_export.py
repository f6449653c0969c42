"""One archive of verified files, for controllers without a network; SOAKBED_ARTIFACTS takes it.

A plain tar (what is in it is packed already) whose last member, manifest.json, lists every file
with its sha256 and length; so an archive that was cut short has none, and is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from soakbed.adapters.artifact_sources import sha256_of, whole_file
from soakbed.errors import Unavailable

__all__ = ["export", "unpacked"]

_FOLDER = "soakbed-artifacts"
_MANIFEST = f"{_FOLDER}/manifest.json"


def export(
    archive: Path, files: Mapping[str, Path], *, targets: Sequence[Mapping[str, Any]]
) -> None:
    """Write `files` (name in the archive -> file) and the manifest that describes them."""
    rows = [
        {"name": name, "sha256": sha256_of(file), "length": file.stat().st_size}
        for name, file in sorted(files.items())
    ]
    text = json.dumps({"schema": 1, "targets": list(targets), "files": rows}, indent=1).encode()
    with whole_file(archive) as partial, tarfile.open(partial, "w") as packed:
        for name, file in sorted(files.items()):
            entry = tarfile.TarInfo(f"{_FOLDER}/{name}")
            entry.size, entry.mode = file.stat().st_size, 0o644
            with file.open("rb") as content:
                packed.addfile(entry, content)
        last = tarfile.TarInfo(_MANIFEST)
        last.size, last.mode = len(text), 0o644
        packed.addfile(last, io.BytesIO(text))


def unpacked(archive: Path, into: Path) -> Path:
    """The folder with the archive's files, every one verified; unpacked once.

    Raises Unavailable where it is no such archive, or not a whole one.
    """
    stat = archive.stat()
    named = f"{archive} {stat.st_size} {stat.st_mtime_ns}"
    folder = into / hashlib.sha256(named.encode()).hexdigest()[:16]
    if folder.is_dir():
        return folder
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".unpack-") as scratch:
        try:
            with tarfile.open(archive) as packed:
                packed.extractall(scratch, filter="data")
            _check(Path(scratch))
        except (tarfile.TarError, EOFError, ValueError, KeyError, FileNotFoundError) as error:
            raise Unavailable(
                f"SOAKBED_ARTIFACTS: {archive} is not a whole archive of artifacts: {error}",
                remedy="name a folder, a mirror's URL, or what `soakbed artifacts export` wrote; "
                "copy it again if it was cut short",
            ) from error
        with contextlib.suppress(OSError):  # another process was first
            (Path(scratch) / _FOLDER).rename(folder)
    return folder


def _check(scratch: Path) -> None:
    manifest = json.loads((scratch / _MANIFEST).read_text())
    for row in manifest["files"]:
        file = scratch / _FOLDER / Path(row["name"]).name
        if file.stat().st_size != row["length"] or sha256_of(file) != row["sha256"]:
            raise ValueError(f"{row['name']} is not what its manifest says")
