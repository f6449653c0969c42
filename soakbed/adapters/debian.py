"""Debian packages as files: fetched and verified by apt, never installed on the controller.

apt runs with lists, cache and sources of its own, so nothing of the machine's set-up changes. The
mirror is the one the machine already uses, unless the user names another.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from soakbed.adapters.artifact_sources import Missing, sha256_of
from soakbed.errors import Unavailable

__all__ = ["Deb", "DebianArchive", "unpack", "upstream_version"]

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_RELEASES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "oldstable", "stable", "testing", "unstable"}
)
_DEB_NAME = re.compile(r"(?P<package>[^_]+)_(?P<version>[^_]+)_(?P<arch>[^_.]+)\.deb")


@dataclass(frozen=True, slots=True)
class Deb:
    """One package file that apt fetched and verified against signed metadata."""

    package: str
    version: str
    file: Path
    sha256: str


def upstream_version(version: str) -> str:
    """The upstream part of a Debian version.

    >>> upstream_version("5:7.0.15-1~deb12u10")
    '7.0.15'
    """
    without_epoch = version.split(":", 1)[-1]
    return without_epoch.rsplit("-", 1)[0]


class DebianArchive:
    """A Debian mirror, read through a private apt. `mirror` = "" takes the machine's own."""

    def __init__(self, folder: Path, *, mirror: str = "", arch: str) -> None:
        self._folder = folder
        self._mirror = mirror
        self._arch = arch

    def fetch(self, packages: Sequence[str], *, release: str, into: Path) -> list[Deb]:
        """Download the newest of `packages` in `release`. Raises Missing with apt's own words."""
        root = self._folder / f"{release}-{self._arch}"
        options = self._private_apt(root, release)
        self._apt([*options, "update"], cwd=root)
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".fetch-") as scratch:
            names = [f"{package}:{self._arch}" for package in packages]
            self._apt([*options, "download", *names], cwd=Path(scratch))
            return [self._keep(file, into) for file in sorted(Path(scratch).glob("*.deb"))]

    def _keep(self, file: Path, into: Path) -> Deb:
        name = file.name.replace("%3a", ":")
        parts = _DEB_NAME.fullmatch(name)
        if parts is None:
            raise Missing(f"apt fetched {name}, which is not a package file's name")
        target = into / name
        file.chmod(0o644)
        file.replace(target)
        return Deb(parts["package"], parts["version"], target, sha256_of(target))

    def _private_apt(self, root: Path, release: str) -> list[str]:
        if not _KEYRING.is_file():
            raise Missing(f"{_KEYRING} is missing (Debian package debian-archive-keyring)")
        for folder in ("lists/partial", "cache/archives/partial"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "status").touch()
        sources = root / "sources.list"
        sources.write_text(
            "".join(
                f"deb [signed-by={_KEYRING}] {uri} {suite} main\n"
                for uri, suite in self._suites(release)
            )
        )
        settings = {
            "Dir::Etc::sourcelist": sources,
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferencesparts": "-",
            "Dir::State": root,
            "Dir::State::lists": root / "lists",
            "Dir::State::status": root / "status",
            "Dir::Cache": root / "cache",
            "APT::Architecture": self._arch,
            "APT::Architectures": self._arch,
            # Lists and packages lie in the user's own cache, which the _apt user may not enter.
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
            "Acquire::Retries": 1,
            "Acquire::http::Timeout": 15,
            "Acquire::https::Timeout": 15,
        }
        return [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]

    def _suites(self, release: str) -> list[tuple[str, str]]:
        own = [] if self._mirror else self._machine_suites()
        base = self._mirror or next((uri for uri, suite in own if suite in _RELEASES), "")
        if not base:
            raise Missing("apt on this machine has no Debian mirror set up")
        security = [(uri, suite) for uri, suite in own if suite == f"{release}-security"]
        return [(base, release), *security[:1]]

    def _machine_suites(self) -> list[tuple[str, str]]:
        """Mirror and suite of every source of this machine, Debian's own first."""
        form = "$(COMPONENT)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)"
        asked = self._apt(["indextargets", "--format", form], cwd=Path("/"))
        rows = [line.strip().split("|") for line in asked.splitlines() if line.count("|") == 3]
        # The origin is known only once lists were fetched; a fresh machine may not have any.
        main = [row for row in rows if row[0] == "main" and row[1] in ("Debian", "$(ORIGIN)", "")]
        main.sort(key=lambda row: row[1] != "Debian")
        return [(uri, suite) for _, _, uri, suite in main]

    def _apt(self, arguments: Sequence[str], *, cwd: Path) -> str:
        if shutil.which("apt-get") is None:
            raise Missing("this machine has no apt-get")
        done = subprocess.run(
            ["env", "LC_ALL=C.UTF-8", "apt-get", "-q", *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if line.startswith("E:")]
            raise Missing(" ".join(words or done.stderr.splitlines()[-1:]) or "apt-get failed")
        return done.stdout


def unpack(deb: Path, into: Path) -> None:
    """Lay a package's files out under `into`; no maintainer script runs."""
    done = subprocess.run(
        ["dpkg-deb", "-x", str(deb), str(into)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Unavailable(
            f"{deb.name} could not be unpacked: {done.stderr.strip()}",
            remedy=f"delete {deb} and run the same command again",
        )
