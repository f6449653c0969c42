"""Every artifact a target needs, fetched once, verified, cached, and bundled for the hosts (D2).

Sources in order: what the user names, the cache, the upstream URL, Debian. A source that fails is
remembered in words, so that the error and the page can say what was tried.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from soakbed.adapters.artifact_bundles import Bundle, build_bundle
from soakbed.adapters.artifact_debian import DebianPackages
from soakbed.adapters.artifact_download import Watch, download, unanswered
from soakbed.adapters.artifact_named import Named, stand_ins
from soakbed.adapters.artifact_pins import TargetPin, UpstreamFile, UpstreamPin, read_pins
from soakbed.adapters.artifact_sources import Missing, sha256_of
from soakbed.errors import Unavailable
from soakbed.records.places import Places
from soakbed.records.run import ArtifactUse

__all__ = ["Artifacts", "CachedArtifacts", "Found", "machine_arch"]

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


def machine_arch(machine: str = "") -> str:
    """Debian's word for a machine type as `uname -m` says it; "" means this machine."""
    machine = machine or platform.machine()
    return _ARCHES.get(machine, machine)


class Artifacts(Protocol):
    """What `stages.configure` needs to know about artifacts."""

    def bundle(self, target: str, *, allow_substitute: bool, arch: str = "") -> Bundle:
        """The bundle of one target. Raises Unavailable with what was tried and a remedy."""


@dataclass(frozen=True, slots=True)
class Found:
    """The verified files that a target is made of, before they are bundled."""

    version: str
    files: tuple[Path, ...]
    uses: tuple[ArtifactUse, ...]


@dataclass(frozen=True, slots=True)
class _Search:
    """One target looked for; `tried` grows with every source that failed."""

    target: str
    pin: TargetPin
    arch: str
    allow_substitute: bool
    named: Named | None
    tried: list[str] = field(default_factory=list)


class CachedArtifacts:
    """Artifacts by the pins of artifacts.yml. `named` and `debian_mirror` may be "".

    `watch` is told how far a download is.
    """

    def __init__(
        self,
        pins: Path,
        cache: Path,
        *,
        named: str = "",
        debian_mirror: str = "",
        watch: Watch | None = None,
    ) -> None:
        self.pins_file = pins
        self.cache = cache
        self.named = named
        self._debian_mirror = debian_mirror
        self._watch: Watch = watch or (lambda _name, _done, _of: None)

    @classmethod
    def of(cls, places: Places, *, watch: Watch | None = None) -> CachedArtifacts:
        """The artifacts of a project."""
        return cls(
            places.playbooks / "group_vars" / "all" / "artifacts.yml",
            places.cache / "artifacts",
            named=places.artifacts,
            debian_mirror=places.debian_mirror,
            watch=watch,
        )

    def bundle(self, target: str, *, allow_substitute: bool, arch: str = "") -> Bundle:
        """Fetch what is missing, verify everything, and make the bundle."""
        found = self.found(target, allow_substitute=allow_substitute, arch=arch)
        with FileLock(self.cache / "lock"):
            return build_bundle(
                target, found.version, found.files, uses=found.uses, into=self.cache / "bundles"
            )

    def found(self, target: str, *, allow_substitute: bool, arch: str = "") -> Found:
        """The files of one target, fetched where they are missing, all verified."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self.cache / "lock"):
            search = _Search(
                target,
                read_pins(self.pins_file)[target],
                arch or machine_arch(),
                allow_substitute,
                Named(self.named, self.cache) if self.named else None,
            )
            return (
                self._given(search)
                or self._upstream(search)
                or self._debian(search)
                or self._cannot_be_had(search)
            )

    def _given(self, search: _Search) -> Found | None:
        """What the user's folder has beside pinned files: only where substitution is allowed."""
        folder = search.named.folder if search.named else None
        if folder is None or self._named_has_all(search):
            return None
        into = self.cache / search.target / "given"
        try:
            taken = stand_ins(search.target, search.pin, folder, search.arch, into=into)
        except Missing as missing:
            search.tried.append(str(missing))
            return None
        if not taken:
            return None
        uses = tuple(use for _, use in taken)
        refused = [f"{use.reason}" for use in uses if use.substituted]
        if refused and not search.allow_substitute:
            search.tried.append("; ".join(refused))
            return None
        return Found(uses[-1].version, tuple(file for file, _ in taken), uses)

    def _named_has_all(self, search: _Search) -> bool:
        """Whether the user's folder has every pinned file: then those are taken."""
        wanted = _upstream_files(search)
        folder = search.named.folder if search.named else None
        return bool(wanted) and all(
            folder
            and one.sha256
            and (folder / one.name).is_file()
            and sha256_of(folder / one.name) == one.sha256
            for one in wanted
        )

    def _upstream(self, search: _Search) -> Found | None:
        pin = search.pin.upstream
        if pin is None:
            return None
        wanted = _upstream_files(search)
        if not wanted:
            search.tried.append(
                f"{search.target} {search.pin.version} has no upstream build for {search.arch}"
            )
            return None
        files, uses = [], []
        for one in wanted:
            file = self.cached(search.target, one)
            origin = self._fetch(one, file, pin, search)
            if not origin:
                return None
            files.append(file)
            uses.append(
                ArtifactUse(
                    name=one.name,
                    version=search.pin.version,
                    pinned_version=search.pin.version,
                    sha256=one.sha256,
                    origin=origin,
                    substituted=False,
                )
            )
        return Found(search.pin.version, tuple(files), tuple(uses))

    def cached(self, target: str, wanted: UpstreamFile) -> Path:
        """Where an upstream file lies once it was fetched."""
        return self.cache / target / wanted.name

    def _fetch(self, wanted: UpstreamFile, file: Path, pin: UpstreamPin, search: _Search) -> str:
        """Bring one file into the cache; returns its origin, "" if no source has it."""
        url = pin.base_url + wanted.name
        if not wanted.sha256:
            if search.named and search.named.url:
                url = f"{search.named.url}/{wanted.name}"
            search.tried.append(
                f"{url}: {unanswered(url) or 'answers'}; not downloaded, for artifacts.yml has no "
                "sha256 for it yet"
            )
            return ""
        note = file.with_name(file.name + ".origin")
        sources: list[tuple[str, Callable[[], None]]] = []
        if search.named:
            named = search.named
            sources.append(("named", lambda: named.copy(wanted, file, watch=self._watch)))
        if file.is_file() and sha256_of(file) == wanted.sha256:
            origin = note.read_text() if note.is_file() else "upstream"
            sources.append((f"cache:{origin}", lambda: None))
        sources.append(("upstream", lambda: self._download(url, file, wanted)))
        for origin, fetch in sources:
            try:
                fetch()
            except Missing as missing:
                search.tried.append(str(missing))
                continue
            if not origin.startswith("cache:"):
                note.write_text(origin)
            return origin
        return ""

    def _download(self, url: str, file: Path, wanted: UpstreamFile) -> None:
        download(url, file, sha256=wanted.sha256, length=wanted.length, watch=self._watch)

    def _debian(self, search: _Search) -> Found | None:
        pin = search.pin.debian
        if pin is None or (search.pin.upstream is not None and not search.allow_substitute):
            return None
        packages = DebianPackages(
            search.target,
            search.pin,
            self.cache,
            mirror=self._debian_mirror,
            arch=search.arch,
            named=search.named,
        )
        version, files, uses = packages.take(search.tried, allow_substitute=search.allow_substitute)
        return Found(version, files, uses)

    def _cannot_be_had(self, search: _Search) -> Found:
        """Always raises: no source has the target."""
        what = (
            "pd-server and tikv-server (or pd-*.tar.gz and tikv-*.tar.gz)"
            if search.target == "tikv"
            else "the file"
        )
        remedies = [f"put {what} into a folder and set SOAKBED_ARTIFACTS to it"]
        if any(not one.sha256 for one in _upstream_files(search)):
            remedies.insert(
                0,
                "where the mirror can be reached, `soakbed artifacts resolve` (it writes the "
                "sha256 from the mirror's signed manifests)",
            )
        off = "" if search.allow_substitute else ", and allow_substitute is off"
        if off:
            remedies.append("allow another version with allow_substitute")
        raise Unavailable(
            f"{search.target} {search.pin.version} cannot be had{off}. "
            f"Tried: {'; '.join(search.tried)}",
            remedy=", or ".join(remedies),
        )


def _upstream_files(search: _Search) -> tuple[UpstreamFile, ...]:
    return tuple(search.pin.upstream.files.get(search.arch, ())) if search.pin.upstream else ()
