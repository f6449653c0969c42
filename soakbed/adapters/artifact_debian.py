"""A target's Debian packages, pinned by version and sha256: from the user's folder, cache or apt.

For a target without an upstream release (Redis) they are the pinned artifact; for the others
(etcd) they stand in for it, which `take` names as such.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from soakbed.adapters.artifact_named import Named
from soakbed.adapters.artifact_pins import DebianPin, TargetPin, UpstreamFile
from soakbed.adapters.artifact_sources import Missing, sha256_of
from soakbed.adapters.debian import Deb, DebianArchive, upstream_version
from soakbed.errors import Unavailable
from soakbed.records.run import ArtifactUse

__all__ = ["DebianPackages", "deb_name", "noted_debs"]


class DebianPackages:
    """The packages of one target for one architecture."""

    def __init__(
        self,
        target: str,
        pin: TargetPin,
        cache: Path,
        *,
        mirror: str,
        arch: str,
        named: Named | None,
    ) -> None:
        assert pin.debian is not None  # asked only where packages are pinned
        self._target = target
        self._pin = pin
        self._debian = pin.debian
        self._cache = cache
        self._mirror = mirror
        self._arch = arch
        self._named = named

    def take(
        self, tried: list[str], *, allow_substitute: bool
    ) -> tuple[str, tuple[Path, ...], tuple[ArtifactUse, ...]]:
        """Version, files and accounts. Raises Unavailable with everything that was tried."""
        debs, origin = self._debs(tried, allow_substitute=allow_substitute)
        uses = tuple(_use(self._pin, self._debian, deb, origin=origin, tried=tried) for deb in debs)
        main = next(deb for deb in debs if deb.package == self._debian.main_package)
        if any(use.substituted for use in uses) and not allow_substitute:
            raise Unavailable(
                f"{self._target} {self._pin.version} cannot be had, and allow_substitute is off. "
                f"Tried: Debian has {main.package} {main.version}",
                remedy="put the file into a folder and set SOAKBED_ARTIFACTS to it, or allow "
                "another version with allow_substitute",
            )
        return upstream_version(main.version), tuple(deb.file for deb in debs), uses

    def _debs(self, tried: list[str], *, allow_substitute: bool) -> tuple[list[Deb], str]:
        pin = self._debian
        folder = self._cache / self._target / f"{pin.release}-{self._arch}"
        noted = folder / "debs.json"
        try:
            if self._named and (
                debs := self._named_debs(folder, tried, allow_substitute=allow_substitute)
            ):
                return debs, "named"
            if cached := _whole(noted_debs(noted, pin)):
                return cached, "cache:debian"
            archive = DebianArchive(self._cache / "apt", mirror=self._mirror, arch=self._arch)
            debs = archive.fetch(sorted(pin.packages), release=pin.release, into=folder)
            _refuse_other_files(debs, pin, self._arch)
        except Missing as missing:
            tried.append(f"Debian {pin.release}: {missing}")
            raise Unavailable(
                f"{self._target} cannot be had. Tried: {'; '.join(tried)}",
                remedy="put the files named in playbooks/group_vars/all/artifacts.yml into a "
                "folder and set SOAKBED_ARTIFACTS to it, or set SOAKBED_DEBIAN_MIRROR",
            ) from missing
        rows = [[deb.package, deb.version, deb.file.name, deb.sha256] for deb in debs]
        noted.write_text(json.dumps({"pin": _pin_hash(pin), "debs": rows}, indent=1))
        return debs, "debian"

    def _named_debs(self, folder: Path, tried: list[str], *, allow_substitute: bool) -> list[Deb]:
        """The pinned packages from the user's source, or others of the same names."""
        assert self._named is not None  # asked only then
        debs = []
        for package, wanted in sorted(self._debian.packages.items()):
            pinned = UpstreamFile(
                name=deb_name(package, wanted.version, self._arch),
                sha256=wanted.sha256[self._arch],
            )
            file = folder / pinned.name
            try:
                self._named.copy(pinned, file)
            except Missing as missing:
                other = self._other_deb(package, pinned.name) if allow_substitute else None
                if other is None:
                    tried.append(str(missing))
                    return []
                debs.append(other)
                continue
            debs.append(Deb(package, wanted.version, file, pinned.sha256))
        return debs

    def _other_deb(self, package: str, pinned: str) -> Deb | None:
        """The one package of this name and of another version in the user's folder."""
        assert self._named is not None
        others = [path for path in self._named.debs(package, self._arch) if path.name != pinned]
        if len(others) != 1:
            return None
        version = others[0].name.split("_")[1]
        return Deb(package, version, others[0], sha256_of(others[0]))


def _pin_hash(pin: DebianPin) -> str:
    return hashlib.sha256(pin.model_dump_json().encode()).hexdigest()


def deb_name(package: str, version: str, arch: str) -> str:
    """A package file's name, which leaves the epoch of its version out."""
    return f"{package}_{version.split(':', 1)[-1]}_{arch}.deb"


def noted_debs(noted: Path, pin: DebianPin) -> list[Deb]:
    """The set that was fetched for exactly this pin, whole or not."""
    if not noted.is_file():
        return []
    note = json.loads(noted.read_text())
    if note["pin"] != _pin_hash(pin):
        return []
    return [Deb(row[0], row[1], noted.parent / row[2], row[3]) for row in note["debs"]]


def _whole(debs: list[Deb]) -> list[Deb]:
    """The same set, if every file of it is as it came."""
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


def _use(
    pin: TargetPin, debian: DebianPin, deb: Deb, *, origin: str, tried: list[str]
) -> ArtifactUse:
    package = debian.packages[deb.package]
    fallback = pin.upstream is not None
    pinned = pin.version if fallback else package.version
    substituted = upstream_version(deb.version) != upstream_version(pinned)
    where = "SOAKBED_ARTIFACTS" if origin == "named" else f"Debian {debian.release}"
    reason = ""
    if fallback:
        reason = (
            f"{pin.version} could not be had ({'; '.join(tried)}); "
            f"{where} has {upstream_version(deb.version)}"
        )
    elif deb.version.split(":", 1)[-1] != package.version.split(":", 1)[-1]:
        reason = f"{where} has {deb.package} {deb.version} now"
    return ArtifactUse(
        name=deb.package,
        version=deb.version,
        pinned_version=pinned,
        sha256=deb.sha256,
        origin=origin,
        substituted=substituted,
        reason=reason,
    )
