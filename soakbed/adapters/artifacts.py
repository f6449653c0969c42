"""Every artifact a target needs, fetched once, verified, cached, and bundled for the hosts (D2).

Sources in order: the folder or mirror the user names, the cache, the upstream URL, Debian. A
source that fails is remembered in words, so that the error and the page can say what was tried.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from filelock import FileLock

from soakbed.adapters.artifact_bundles import Bundle, build_bundle
from soakbed.adapters.artifact_pins import DebianPin, TargetPin, UpstreamFile, read_pins
from soakbed.adapters.artifact_sources import Missing, copy_named, download, sha256_of
from soakbed.adapters.debian import Deb, DebianArchive, upstream_version
from soakbed.errors import Unavailable
from soakbed.records.places import Places
from soakbed.records.run import ArtifactUse

__all__ = ["Artifacts", "CachedArtifacts", "machine_arch"]

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


def machine_arch(machine: str = "") -> str:
    """Debian's word for a machine type as `uname -m` says it; "" means this machine."""
    machine = machine or platform.machine()
    return _ARCHES.get(machine, machine)


class Artifacts(Protocol):
    """What `stages.configure` needs to know about artifacts."""

    def bundle(self, target: str, *, allow_substitute: bool, arch: str = "") -> Bundle:
        """The bundle of one target. Raises Unavailable with what was tried and a remedy."""


class CachedArtifacts:
    """Artifacts by the pins of artifacts.yml. `named` and `debian_mirror` may be ""."""

    def __init__(
        self, pins: Path, cache: Path, *, named: str = "", debian_mirror: str = ""
    ) -> None:
        self._pins_file = pins
        self._cache = cache
        self._named = named
        self._debian_mirror = debian_mirror

    @classmethod
    def of(cls, places: Places) -> CachedArtifacts:
        """The artifacts of a project."""
        return cls(
            places.playbooks / "group_vars" / "all" / "artifacts.yml",
            places.cache / "artifacts",
            named=places.artifacts,
            debian_mirror=places.debian_mirror,
        )

    def bundle(self, target: str, *, allow_substitute: bool, arch: str = "") -> Bundle:
        """Fetch what is missing, verify everything, and make the bundle."""
        arch = arch or machine_arch()
        pin = self._pin(target)
        self._cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self._cache / "lock"):
            tried: list[str] = []
            found = self._upstream(target, pin, arch, tried) or self._debian(
                target, pin, arch, tried=tried, allow_substitute=allow_substitute
            )
            version, files, uses = found
            return build_bundle(target, version, files, uses=uses, into=self._cache / "bundles")

    def _pin(self, target: str) -> TargetPin:
        if target == "tikv":
            raise Unavailable(
                "TiKV is not deployable yet: it has no role and no pinned artifact",
                remedy='ask for the others alone, TARGETS="etcd redis_cluster", or keep its row',
            )
        return read_pins(self._pins_file)[target]

    def _upstream(
        self, target: str, pin: TargetPin, arch: str, tried: list[str]
    ) -> tuple[str, list[Path], list[ArtifactUse]] | None:
        if pin.upstream is None:
            return None
        wanted = pin.upstream.files.get(arch)
        if wanted is None:
            tried.append(f"{target} {pin.version} has no upstream build for {arch}")
            return None
        file = self._cache / target / wanted.name
        origin = self._fetch_upstream(wanted, file, pin.upstream.base_url + wanted.name, tried)
        if not origin:
            return None
        use = ArtifactUse(
            name=wanted.name,
            version=pin.version,
            pinned_version=pin.version,
            sha256=wanted.sha256,
            origin=origin,
            substituted=False,
        )
        return pin.version, [file], [use]

    def _fetch_upstream(self, wanted: UpstreamFile, file: Path, url: str, tried: list[str]) -> str:
        note = file.with_name(file.name + ".origin")
        sources: list[tuple[str, Callable[[], None]]] = []
        if self._named:
            sources.append(
                ("named", lambda: copy_named(self._named, wanted.name, file, sha256=wanted.sha256))
            )
        if file.is_file() and sha256_of(file) == wanted.sha256:
            origin = note.read_text() if note.is_file() else "upstream"
            sources.append((f"cache:{origin}", lambda: None))
        sources.append(("upstream", lambda: download(url, file, sha256=wanted.sha256)))
        for origin, fetch in sources:
            try:
                fetch()
            except Missing as missing:
                tried.append(str(missing))
                continue
            if not origin.startswith("cache:"):
                note.write_text(origin)
            return origin
        return ""

    def _debian(
        self, target: str, pin: TargetPin, arch: str, *, tried: list[str], allow_substitute: bool
    ) -> tuple[str, list[Path], list[ArtifactUse]]:
        if pin.upstream is not None and not allow_substitute:
            raise self._refused(target, pin, tried)
        debs, origin = self._debs(target, pin.debian, arch, tried)
        uses = [_debian_use(pin, deb, origin=origin, tried=tried) for deb in debs]
        main = next(deb for deb in debs if deb.package == pin.debian.main_package)
        if any(use.substituted for use in uses) and not allow_substitute:
            raise self._refused(target, pin, [f"Debian has {main.package} {main.version}"])
        return upstream_version(main.version), [deb.file for deb in debs], uses

    def _debs(
        self, target: str, pin: DebianPin, arch: str, tried: list[str]
    ) -> tuple[list[Deb], str]:
        folder = self._cache / target / f"{pin.release}-{arch}"
        noted = folder / "debs.json"
        try:
            if self._named and (debs := self._named_debs(pin, arch, folder, tried)):
                return debs, "named"
            if cached := _noted_debs(noted, pin):
                return cached, "cache:debian"
            archive = DebianArchive(self._cache / "apt", mirror=self._debian_mirror, arch=arch)
            debs = archive.fetch(sorted(pin.packages), release=pin.release, into=folder)
            _refuse_other_files(debs, pin, arch)
        except Missing as missing:
            tried.append(f"Debian {pin.release}: {missing}")
            raise Unavailable(
                f"{target} cannot be had. Tried: {'; '.join(tried)}",
                remedy="put the files named in playbooks/group_vars/all/artifacts.yml into a "
                "folder and set SOAKBED_ARTIFACTS to it, or set SOAKBED_DEBIAN_MIRROR",
            ) from missing
        rows = [[deb.package, deb.version, deb.file.name, deb.sha256] for deb in debs]
        noted.write_text(json.dumps({"pin": _pin_hash(pin), "debs": rows}, indent=1))
        return debs, "debian"

    def _named_debs(self, pin: DebianPin, arch: str, folder: Path, tried: list[str]) -> list[Deb]:
        debs = []
        for package, wanted in sorted(pin.packages.items()):
            version = wanted.version.split(":", 1)[-1]
            file = folder / f"{package}_{version}_{arch}.deb"
            try:
                copy_named(self._named, file.name, file, sha256=wanted.sha256[arch])
            except Missing as missing:
                tried.append(str(missing))
                return []
            debs.append(Deb(package, wanted.version, file, wanted.sha256[arch]))
        return debs

    def _refused(self, target: str, pin: TargetPin, tried: list[str]) -> Unavailable:
        return Unavailable(
            f"{target} {pin.version} cannot be had, and allow_substitute is off. "
            f"Tried: {'; '.join(tried)}",
            remedy="put the file into a folder and set SOAKBED_ARTIFACTS to it, or allow "
            "another version with allow_substitute",
        )


def _pin_hash(pin: DebianPin) -> str:
    return hashlib.sha256(pin.model_dump_json().encode()).hexdigest()


def _noted_debs(noted: Path, pin: DebianPin) -> list[Deb]:
    """The set that was fetched for exactly this pin, if every file of it is whole."""
    if not noted.is_file():
        return []
    note = json.loads(noted.read_text())
    if note["pin"] != _pin_hash(pin):
        return []
    debs = [Deb(row[0], row[1], noted.parent / row[2], row[3]) for row in note["debs"]]
    whole = all(deb.file.is_file() and sha256_of(deb.file) == deb.sha256 for deb in debs)
    return debs if whole else []


def _refuse_other_files(debs: list[Deb], pin: DebianPin, arch: str) -> None:
    """Under the pinned version, only the pinned file will do."""
    got = {deb.package for deb in debs}
    if got != set(pin.packages):
        raise Missing(f"apt fetched {', '.join(sorted(got))} only")
    for deb in debs:
        wanted: Mapping[str, str] = pin.packages[deb.package].sha256
        if deb.version == pin.packages[deb.package].version and wanted.get(arch) != deb.sha256:
            raise Missing(f"{deb.file.name} has sha256 {deb.sha256[:16]}..., which is not pinned")


def _debian_use(pin: TargetPin, deb: Deb, *, origin: str, tried: list[str]) -> ArtifactUse:
    package = pin.debian.packages[deb.package]
    fallback = pin.upstream is not None
    pinned = pin.version if fallback else package.version
    substituted = upstream_version(deb.version) != upstream_version(pinned)
    reason = ""
    if fallback:
        reason = (
            f"{pin.version} could not be had ({'; '.join(tried)}); "
            f"Debian {pin.debian.release} has {upstream_version(deb.version)}"
        )
    elif deb.version != package.version:
        reason = f"Debian {pin.debian.release} has {deb.package} {deb.version} now"
    return ArtifactUse(
        name=deb.package,
        version=deb.version,
        pinned_version=pinned,
        sha256=deb.sha256,
        origin=origin,
        substituted=substituted,
        reason=reason,
    )
