"""Where redis-server and etcd come from for tests: named, installed, or soakbed's own artifacts."""

from __future__ import annotations

import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.records.places import Places

__all__ = ["Binary", "find_etcd", "find_redis_server"]

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Binary:
    """A program and the folder of libraries that it needs beside the system's own."""

    path: str
    libraries: str = ""

    def environment(self) -> dict[str, str]:
        """The environment to start it in."""
        if not self.libraries:
            return dict(os.environ)
        return {**os.environ, "LD_LIBRARY_PATH": self.libraries}


def find_etcd() -> Binary:
    """SOAKBED_ETCD, else the installed one, else the artifact that soakbed would deploy."""
    return _find("SOAKBED_ETCD", "etcd", target="etcd")


def find_redis_server() -> Binary:
    """SOAKBED_REDIS_SERVER, else the installed one, else the artifact that soakbed would deploy."""
    return _find("SOAKBED_REDIS_SERVER", "redis-server", target="redis_cluster")


def _find(variable: str, name: str, *, target: str) -> Binary:
    found = os.environ.get(variable) or shutil.which(name)
    return Binary(found) if found else _from_artifacts(target, name)


def _from_artifacts(target: str, name: str) -> Binary:
    cache = Path(os.environ.get("SOAKBED_CACHE", Path.home() / ".cache" / "soakbed"))
    places = Places(
        project=PROJECT,
        state=cache / "none",
        cache=cache,
        debian_mirror=os.environ.get("SOAKBED_DEBIAN_MIRROR", ""),
        artifacts=os.environ.get("SOAKBED_ARTIFACTS", ""),
    )
    bundle = CachedArtifacts.of(places).bundle(target, allow_substitute=True)
    folder = cache / "test-binaries" / f"{target}-{bundle.stamp[:16]}"
    if not folder.exists():
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        with tarfile.open(bundle.file) as archive:
            archive.extractall(making, filter="data")
        making.rename(folder)
    path = next(folder.rglob(f"bin/{name}"))
    libraries = path.parent.parent / "lib"
    return Binary(str(path), str(libraries) if libraries.is_dir() else "")
