"""From verified downloads to one bundle per target: the archive that is pushed to every host.

A bundle unpacks below /opt, into /opt/soakbed. Its last member is bundles/<target>.json, which
lists every file with its sha256; so an unpacking that broke off leaves no such list, and is done
again.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soakbed.adapters.artifact_sources import sha256_of, whole_file
from soakbed.adapters.debian import unpack
from soakbed.errors import Unavailable
from soakbed.records.run import ArtifactUse

__all__ = ["HOST_ROOT", "Bundle", "build_bundle"]

HOST_ROOT = "/opt/soakbed"
_FORMAT = 2

# Where each file of a bundle is found in what was unpacked (shell patterns; exactly one match
# wins, the first pattern that matches counts). Debian's redis-server is a link to redis-check-rdb,
# which is the whole server; sonames are links too, so links are followed.
_MEMBERS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "etcd": {
        "bin/etcd": ("usr/bin/etcd", "etcd-v*/etcd", "etcd"),
        "bin/etcdctl": ("usr/bin/etcdctl", "etcd-v*/etcdctl", "etcdctl"),
    },
    "redis_cluster": {
        "bin/redis-cli": ("usr/bin/redis-cli",),
        "bin/redis-server": ("usr/bin/redis-check-rdb",),
        "lib/libatomic.so.1": ("usr/lib/*/libatomic.so.1",),
        "lib/libjemalloc.so.2": ("usr/lib/*/libjemalloc.so.2",),
        "lib/liblzf.so.1": ("usr/lib/*/liblzf.so.1",),
    },
    "tikv": {
        "bin/pd-server": ("pd-server", "bin/pd-server", "*/pd-server"),
        "bin/tikv-server": ("tikv-server", "bin/tikv-server", "*/tikv-server"),
    },
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """What is pushed for one target. `files`: path on the host -> sha256."""

    target: str
    version: str
    file: Path
    stamp: str  # hash of `files`: names the content on host and controller alike
    files: Mapping[str, str]
    uses: tuple[ArtifactUse, ...]

    @property
    def substituted(self) -> bool:
        """Whether another version than the pinned one stands in."""
        return any(use.substituted for use in self.uses)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why something else than the pinned artifact was taken, each reason once."""
        return tuple(dict.fromkeys(use.reason for use in self.uses if use.reason))


def build_bundle(
    target: str, version: str, sources: Sequence[Path], *, uses: Sequence[ArtifactUse], into: Path
) -> Bundle:
    """Make the bundle of `target` from verified files, or find it made already."""
    members = _MEMBERS[target]
    inputs = json.dumps([_FORMAT, target, members, sorted(use.sha256 for use in uses)])
    archive = into / f"{target}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.tar.gz"
    listing = archive.with_suffix(".json")
    kept = _kept(archive, listing)
    files = kept or _build(target, sources, archive=archive, listing=listing)
    return Bundle(target, version, archive, _stamp(files), files, tuple(uses))


def _stamp(files: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()


def _kept(archive: Path, listing: Path) -> dict[str, str] | None:
    if not (archive.is_file() and listing.is_file()):
        return None
    kept = json.loads(listing.read_text())
    files: dict[str, str] = kept["files"]
    return files if kept["archive_sha256"] == sha256_of(archive) else None


def _build(target: str, sources: Sequence[Path], *, archive: Path, listing: Path) -> dict[str, str]:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".unpack-") as scratch:
        laid_out = Path(scratch)
        for source in sources:
            _unpack(source, laid_out)
        members = {name: _find(laid_out, name, globs) for name, globs in _MEMBERS[target].items()}
        files = {f"{HOST_ROOT}/{name}": sha256_of(file) for name, file in members.items()}
        with whole_file(archive) as partial:
            _write_archive(partial, target, members, files)
    with whole_file(listing) as partial:
        partial.write_text(json.dumps({"archive_sha256": sha256_of(archive), "files": files}))
    return files


def _unpack(source: Path, into: Path) -> None:
    if source.suffix == ".deb":
        unpack(source, into)
        return
    if not source.name.endswith(".tar.gz"):  # a bare executable
        shutil.copyfile(source, into / source.name)
        return
    with tarfile.open(source) as packed:
        packed.extractall(into, filter="data")


def _find(laid_out: Path, name: str, globs: Sequence[str]) -> Path:
    for pattern in globs:
        found = sorted(laid_out.glob(pattern))
        if found:
            return found[0].resolve()
    raise Unavailable(
        f"none of the files fetched holds {name} (looked for {' or '.join(globs)})",
        remedy="check the packages named in playbooks/group_vars/all/artifacts.yml",
    )


def _write_archive(
    partial: Path, target: str, members: Mapping[str, Path], files: Mapping[str, str]
) -> None:
    # Level 1: a third of the plain size at a tenth of the time that level 9 takes.
    with tarfile.open(partial, "w:gz", compresslevel=1) as packed:
        for name, file in sorted(members.items()):
            entry = tarfile.TarInfo(f"soakbed/{name}")
            entry.size, entry.mode = file.stat().st_size, 0o755
            with file.open("rb") as content:
                packed.addfile(entry, content)
        text = json.dumps({"stamp": _stamp(files), "files": files}, indent=1).encode()
        last = tarfile.TarInfo(f"soakbed/bundles/{target}.json")
        last.size, last.mode = len(text), 0o644
        packed.addfile(last, io.BytesIO(text))
