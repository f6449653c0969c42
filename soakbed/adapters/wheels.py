"""The load hosts' Python packages: made on the controller once per lock file, pushed whole.

Called by `stages.configure` on its way to the role `load_host`. The hosts need no internet and no
installer (design.md D2): pip checks every wheel against the hashes of requirements/loadgen.lock
here, and what it would put in site-packages there travels as it is. A controller without a network
finds it in the archive that `soakbed artifacts export` made with the same lock file.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from soakbed.adapters.artifact_export import unpacked
from soakbed.adapters.artifact_sources import whole_file
from soakbed.errors import Unavailable
from soakbed.records.places import Places

__all__ = [
    "HostPython",
    "engine_of",
    "ensure_loadgen_bundle",
    "ensure_loadgen_package",
    "exported_name",
    "load_host_variables",
    "loadgen_build",
]

_FORMAT = 2
# The last member of both archives: where it is, everything before it was unpacked.
MARK = "soakbed-complete"
_PIP_TIMEOUT_S = 900
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Never needed on a load host, and scripts in bin/ would name the controller's own Python.
_LEFT_OUT = ("__pycache__", "tests", "testing", "test", "bin", "include")


@dataclass(frozen=True, slots=True)
class HostPython:
    """The Python of the load hosts: Debian 12's; `machine` is the controller's own by default."""

    version: str = "3.11"
    machine: str = platform.machine()
    glibc_minor: int = 36  # Debian 12 has glibc 2.36

    @classmethod
    def of_arch(cls, arch: str) -> HostPython:
        """That of hosts of an architecture, in Debian's word for it."""
        return cls(machine=_MACHINES[arch])

    def pip_options(self) -> list[str]:
        """What makes pip choose wheels for that Python rather than for the one it runs on."""
        # Newest first. 2.17 is manylinux2014, 2.5 is manylinux1; nothing in between is published.
        minors = [*range(self.glibc_minor, 16, -1), 12, 5]
        tags = [f"--platform=manylinux_2_{minor}_{self.machine}" for minor in minors]
        tags += [f"--platform=manylinux2014_{self.machine}"]
        return ["--implementation=cp", f"--python-version={self.version}", *tags]


def loadgen_build(places: Places) -> str:
    """The hash that names the package `loadgen` as it is now: which engine a figure is of."""
    return ensure_loadgen_package(places).stem.partition(".")[0].rpartition("-")[2]


def engine_of(places: Places) -> dict[str, str]:
    """What names an engine in a manifest: its own build, and the lock of the packages under it."""
    lock = (places.project / "requirements" / "loadgen.lock").read_bytes()
    return {"build": loadgen_build(places), "packages": hashlib.sha256(lock).hexdigest()}


def load_host_variables(
    places: Places, *, arch: str = "", progress: Callable[[str], None] | None = None
) -> dict[str, str]:
    """What the role `load_host` is told: two archives, and the hash that names each one's content.

    Makes them when they are not cached. `arch`: that of the load hosts, in Debian's word for it;
    "" for this machine's. Raises Unavailable when the packages cannot be had.
    """
    python = HostPython.of_arch(arch) if arch else None
    bundle = ensure_loadgen_bundle(places, python=python, progress=progress)
    package = ensure_loadgen_package(places)
    return {
        "load_host_bundle": str(bundle),
        "load_host_bundle_stamp": bundle.parent.name,
        "load_host_package": str(package),
        "load_host_package_stamp": loadgen_build(places),
    }


def ensure_loadgen_bundle(
    places: Places,
    *,
    python: HostPython | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """The site-packages of a load host as one archive; made when lock or Python are new."""
    python = python or HostPython()
    lock = places.project / "requirements" / "loadgen.lock"
    inputs = [_FORMAT, lock.read_text(), python.pip_options()]
    stamp = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
    archive = places.cache / "wheels" / stamp / "site-packages.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(archive.with_suffix(".lock")):
        if not archive.is_file() and not _given(places, archive):
            if progress:
                progress("Python packages of the load host: fetching what loadgen.lock pins")
            with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".made-") as scratch:
                _install(lock, Path(scratch), python)
                with whole_file(archive) as partial:
                    _pack(partial, list(_packages_in(Path(scratch))))
    return archive


def exported_name(bundle: Path) -> str:
    """The name of a bundle in an exported archive: lock and Python are in it, as its stamp."""
    return f"load-host-{bundle.parent.name}.tar.gz"


def _given(places: Places, archive: Path) -> bool:
    """Take the bundle from the exported archive that the user names, if one is named and has it.

    A folder or a mirror is not asked: nothing would prove its file, as the archive's list does.
    Raises Unavailable where the archive is not whole.
    """
    named = Path(places.artifacts).expanduser().absolute()
    if not places.artifacts or not named.is_file():
        return False
    held = unpacked(named, places.cache / "artifacts" / "given") / exported_name(archive)
    if not held.is_file():
        return False
    with whole_file(archive) as partial:
        shutil.copyfile(held, partial)
    return True


def ensure_loadgen_package(places: Places) -> Path:
    """`loadgen` itself as one archive, named by the hash of everything in it.

    Campaigns stay here: a matrix that somebody writes makes no other engine.
    """
    folder = places.project / "loadgen"
    files = [
        (Path("loadgen") / path.relative_to(folder), path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix in (".py", ".yaml")
        and not {"__pycache__", "campaigns"} & set(path.relative_to(folder).parts)
    ]
    digest = hashlib.sha256(str(_FORMAT).encode())
    for name, path in files:
        digest.update(f"{name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    archive = places.cache / "wheels" / f"loadgen-{digest.hexdigest()}.tar.gz"
    if not archive.is_file():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(archive) as partial:
            _pack(partial, files)
    return archive


def _install(lock: Path, into: Path, python: HostPython) -> None:
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--require-hashes", "--only-binary=:all:", "--no-deps", "--no-compile"),
        *("--no-warn-conflicts", "--target", str(into), *python.pip_options(), "-r", str(lock)),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(
            f"the load host's Python packages did not arrive in {_PIP_TIMEOUT_S} s",
            remedy="check this machine's way to its Python package index, then run this again",
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines()[-3:]
        raise Unavailable(
            f"pip could not fetch the load host's Python packages: {' / '.join(said)}",
            remedy="check this machine's way to its Python package index "
            f"(`pip download -r {lock}` shows it), then run this again; without a network, name in "
            "SOAKBED_ARTIFACTS what `soakbed artifacts export` of this same version wrote",
        )


def _packages_in(folder: Path) -> Iterator[tuple[Path, Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or any(part in _LEFT_OUT for part in name.parts):
            continue
        yield name, path


def _pack(partial: Path, files: list[tuple[Path, Path]]) -> None:
    with tarfile.open(partial, "w:gz", compresslevel=1) as packed:
        for name, path in files:
            entry = tarfile.TarInfo(str(name))
            entry.size, entry.mode = path.stat().st_size, 0o755 if path.suffix == ".so" else 0o644
            with path.open("rb") as content:
                packed.addfile(entry, content)
        packed.addfile(tarfile.TarInfo(MARK))
