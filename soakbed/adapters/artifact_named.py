"""What the user names with SOAKBED_ARTIFACTS: a folder, a mirror's URL, or an exported archive.

From a URL only pinned files are taken, for nothing else vouches for them. A folder on this machine
is the user's own word: what lies there may stand in for the pinned file, where that is allowed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.parse
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from soakbed.adapters.artifact_download import Watch, download
from soakbed.adapters.artifact_export import unpacked
from soakbed.adapters.artifact_pins import TargetPin, UpstreamFile
from soakbed.adapters.artifact_sources import Missing, copy_file, sha256_of, whole_file
from soakbed.records.run import ArtifactUse

__all__ = ["UNKNOWN", "Named", "stand_ins"]

UNKNOWN = "unknown"
_VERSION_WITHIN_S = 10.0
_ELF_MACHINES = {62: "amd64", 183: "arm64"}


@dataclass(frozen=True, slots=True)
class _Program:
    """An executable that a target is made of, the archives that hold it, and how to ask it."""

    name: str
    archives: tuple[str, ...]  # patterns; the first that finds something counts
    version_words: tuple[str, ...] = ("--version",)


_ETCD_ARCHIVES = ("etcd-v*.tar.gz",)
# The narrow patterns pass by what lies beside these in some folders: pd-recover, tikv-importer.
_PD_ARCHIVES = ("pd-v[0-9]*.tar.gz", "pd-server-*.tar.gz", "pd-[0-9]*.tar.gz", "pd-*.tar.gz")
_TIKV_ARCHIVES = (
    "tikv-v[0-9]*.tar.gz",
    "tikv-server-*.tar.gz",
    "tikv-[0-9]*.tar.gz",
    "tikv-*.tar.gz",
)
# The last program of each carries the target's version.
_PROGRAMS = {
    "etcd": (
        _Program("etcdctl", _ETCD_ARCHIVES, ("version",)),
        _Program("etcd", _ETCD_ARCHIVES),
    ),
    "tikv": (_Program("pd-server", _PD_ARCHIVES), _Program("tikv-server", _TIKV_ARCHIVES)),
}


class Named:
    """The source that the user named; `words` is what SOAKBED_ARTIFACTS says."""

    def __init__(self, words: str, cache: Path) -> None:
        self.words = words
        self.url = ""
        self.folder: Path | None = None
        if urllib.parse.urlsplit(words).scheme in ("http", "https", "file"):
            self.url = words.rstrip("/")
            return
        path = Path(words).expanduser().absolute()
        self.folder = unpacked(path, cache / "given") if path.is_file() else path

    def copy(self, wanted: UpstreamFile, target: Path, *, watch: Watch | None = None) -> None:
        """Take a pinned file into the cache. Raises Missing."""
        if not wanted.sha256:
            raise Missing(f"{wanted.name} has no sha256 in artifacts.yml yet")
        if self.folder is None:
            url = f"{self.url}/{urllib.parse.quote(wanted.name)}"
            more = {"watch": watch} if watch else {}
            download(url, target, sha256=wanted.sha256, length=wanted.length, **more)
        elif not self.folder.is_dir():
            raise Missing(f"SOAKBED_ARTIFACTS: {self.folder} does not exist")
        else:
            copy_file(self.folder / wanted.name, target, sha256=wanted.sha256)

    def debs(self, package: str, arch: str) -> list[Path]:
        """Packages of this name, of whatever version."""
        if self.folder is None:
            return []
        return sorted(self.folder.glob(f"{package}_*_{arch}.deb"))


def stand_ins(
    target: str, pin: TargetPin, folder: Path, arch: str, *, into: Path
) -> list[tuple[Path, ArtifactUse]]:
    """The target's executables as the folder has them, bare or in archives, each with its account.

    Empty where the folder has none of them. Raises Missing where it has some, but not what is
    needed, or a file that only pretends to be the pinned one.
    """
    programs = _PROGRAMS.get(target, ())
    pinned = _pinned(pin, arch)
    sources = {one.name: _source(one, folder, arch, prefer=set(pinned)) for one in programs}
    if not any(sources.values()):
        return []
    found = []
    for one in programs:
        source = sources[one.name]
        if source is None:
            raise Missing(f"{folder} has neither {one.name} nor {one.archives[-1]} for {arch}")
        found.append(_taken(one, source, pin, arch, into=into))
    return found


def _pinned(pin: TargetPin, arch: str) -> dict[str, UpstreamFile]:
    return {one.name: one for one in pin.upstream.files.get(arch, ())} if pin.upstream else {}


def _source(program: _Program, folder: Path, arch: str, *, prefer: Set[str]) -> Path | None:
    """Where the program lies: bare, or in the one archive of its name and architecture."""
    for bare in (folder / program.name, folder / "bin" / program.name):
        if bare.is_file():
            return bare
    others = [name for name in _ELF_MACHINES.values() if name != arch]
    for pattern in program.archives:
        archives = [
            path
            for path in sorted(folder.glob(pattern))
            if path.is_file() and not any(f"-{other}." in path.name for other in others)
        ]
        archives = [path for path in archives if path.name in prefer] or archives
        if len(archives) > 1:
            names = ", ".join(path.name for path in archives)
            raise Missing(f"{folder} has several archives of {program.name}: {names}; leave one")
        if archives:
            return archives[0]
    return None


def _taken(
    program: _Program, source: Path, pin: TargetPin, arch: str, *, into: Path
) -> tuple[Path, ArtifactUse]:
    wanted = _pinned(pin, arch).get(source.name)
    source_sha256 = sha256_of(source)
    same = wanted is not None and wanted.sha256 == source_sha256
    if wanted is not None and wanted.sha256 and not same:
        raise Missing(
            f"{source} has sha256 {source_sha256[:16]}..., pinned is {wanted.sha256[:16]}..."
        )
    file = _extracted(program, source, into / source_sha256[:16])
    _refuse_other_machine(file, source, arch)
    version = pin.version if same else _told_version(program, file) or _in_name(source.name)
    use = ArtifactUse(
        name=program.name,
        version=version,
        pinned_version=pin.version,
        sha256=sha256_of(file),
        origin="named",
        substituted=not same,
        reason="" if same else _why(source, version, pin.version),
    )
    return file, use


def _why(source: Path, version: str, pinned: str) -> str:
    where = f"SOAKBED_ARTIFACTS has {source.name}"
    if version == pinned:
        return f"{where}, which says that it is {version}; no pinned sha256 proves it"
    if version == UNKNOWN:
        return f"{where}, which does not say its version"
    return f"{where} of version {version}"


def _extracted(program: _Program, source: Path, folder: Path) -> Path:
    """The program out of its source, once; a copy that was damaged since is made again."""
    file, note = folder / program.name, folder / f"{program.name}.sha256"
    if not (file.is_file() and note.is_file() and note.read_text() == sha256_of(file)):
        with whole_file(file) as partial:
            _extract(program, source, partial)
        file.chmod(0o755)
        note.write_text(sha256_of(file))
    return file


def _extract(program: _Program, source: Path, partial: Path) -> None:
    if source.name == program.name:
        shutil.copyfile(source, partial)
        return
    try:
        with tarfile.open(source) as packed:
            for entry in packed:
                if entry.isfile() and entry.name.rpartition("/")[2] == program.name:
                    content = packed.extractfile(entry)
                    assert content is not None  # it is a file
                    with content, partial.open("wb") as out:
                        shutil.copyfileobj(content, out)
                    return
    except (tarfile.TarError, EOFError) as error:
        raise Missing(f"{source} is not a whole archive: {error}") from error
    raise Missing(f"{source} holds no {program.name}")


def _refuse_other_machine(file: Path, source: Path, arch: str) -> None:
    machine = _elf_machine(file)
    if machine and machine != arch:
        raise Missing(f"{source} is built for {machine}, the data hosts are {arch}")


def _elf_machine(file: Path) -> str:
    """The architecture an ELF file is built for; "" for everything else."""
    with file.open("rb") as stream:
        head = stream.read(20)
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return ""
    number = int.from_bytes(head[18:20], "little")
    return _ELF_MACHINES.get(number, f"ELF machine {number}")


def _told_version(program: _Program, file: Path) -> str:
    """What the executable says of itself, "" where it cannot be run here or does not say."""
    with tempfile.TemporaryDirectory(prefix="soakbed-version-") as nowhere:
        try:
            done = subprocess.run(
                [str(file), *program.version_words],
                cwd=nowhere,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_VERSION_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
    return _version_in((done.stdout + done.stderr).decode(errors="replace"))


def _version_in(text: str) -> str:
    r"""The first version that a program's words name.

    >>> _version_in("TiKV \nRelease Version:   6.5.5\nRust Version: 1.67.0")
    '6.5.5'
    >>> _version_in("etcd Version: 3.5.10\nGo Version: go1.20.10")
    '3.5.10'
    >>> _version_in("usage: pd-server [flags]")
    ''
    """
    found = re.search(r"(?i)version:?\s+v?(\d+\.\d+\.\d+[^\s,]*)", text)
    return found[1] if found else ""


def _in_name(name: str) -> str:
    """The version in a file's name.

    >>> _in_name("tikv-v6.5.11-linux-amd64.tar.gz"), _in_name("tikv-server")
    ('6.5.11', 'unknown')
    """
    found = re.search(r"-v?(\d+\.\d+\.\d+)[-.]", name)
    return found[1] if found else UNKNOWN
