"""What is needed, what of it is in the cache, and where the rest would come from; fetches nothing.

Read by `soakbed artifacts list` and `verify`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from soakbed.adapters.artifact_debian import deb_name, noted_debs
from soakbed.adapters.artifact_download import part_of
from soakbed.adapters.artifact_named import Named, stand_ins
from soakbed.adapters.artifact_pins import DebianPin, TargetPin, UpstreamFile, read_pins
from soakbed.adapters.artifact_sources import Missing, sha256_of
from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.records.frozen import Frozen

__all__ = ["NeededFile", "needed_files"]

State = Literal["whole", "half", "damaged", "absent"]


class NeededFile(Frozen):
    """One file of a target. `pinned`: the artifact asked for; else it can only stand in for it.

    `cached`: "half" is a download that broke off. `sha256` is "" where it was never resolved.
    `source`: where it is taken from, or would be.
    """

    target: str
    name: str
    version: str
    arch: str
    pinned: bool
    sha256: str
    length: int
    cached: State
    source: str


def needed_files(
    artifacts: CachedArtifacts, targets: Sequence[str], arch: str
) -> tuple[NeededFile, ...]:
    """Every file of `targets` for one architecture, pinned ones first."""
    pins = read_pins(artifacts.pins_file)
    named = Named(artifacts.named, artifacts.cache) if artifacts.named else None
    rows: list[NeededFile] = []
    for target in targets:
        rows += _upstream(artifacts, target, pins[target], arch, named)
        rows += _given(artifacts, target, pins[target], arch, named)
        rows += _debian(artifacts, target, pins[target], arch, named)
    return tuple(rows)


def _upstream(
    artifacts: CachedArtifacts, target: str, pin: TargetPin, arch: str, named: Named | None
) -> Iterator[NeededFile]:
    if pin.upstream is None:
        return
    for one in pin.upstream.files.get(arch, ()):
        file = artifacts.cached(target, one)
        state = _state(file, one.sha256)
        yield NeededFile(
            target=target,
            name=one.name,
            version=pin.version,
            arch=arch,
            pinned=True,
            sha256=one.sha256,
            length=one.length,
            cached=state,
            source=_source(one, state, named, pin.upstream.base_url),
        )


def _source(one: UpstreamFile, state: State, named: Named | None, base_url: str) -> str:
    if not one.sha256:
        return f"{base_url}{one.name} (not before `soakbed artifacts resolve`)"
    if named and named.folder and _state(named.folder / one.name, one.sha256) == "whole":
        return str(named.folder / one.name)
    if named and named.url:
        return f"{named.url}/{one.name}"
    return "cache" if state == "whole" else base_url + one.name


def _given(
    artifacts: CachedArtifacts, target: str, pin: TargetPin, arch: str, named: Named | None
) -> Iterator[NeededFile]:
    """What stands in for the pinned files from the user's folder, if it has any of it."""
    if named is None or named.folder is None:
        return
    try:
        taken = stand_ins(target, pin, named.folder, arch, into=artifacts.cache / target / "given")
    except Missing:
        return
    for file, use in taken:
        if use.substituted:
            yield NeededFile(
                target=target,
                name=use.name,
                version=use.version,
                arch=arch,
                pinned=False,
                sha256=use.sha256,
                length=file.stat().st_size,
                cached="whole",
                source=str(named.folder),
            )


def _debian(
    artifacts: CachedArtifacts, target: str, pin: TargetPin, arch: str, named: Named | None
) -> Iterator[NeededFile]:
    if pin.debian is None:
        return
    folder = artifacts.cache / target / f"{pin.debian.release}-{arch}"
    noted = {deb.package: deb for deb in noted_debs(folder / "debs.json", pin.debian)}
    for package, wanted in sorted(pin.debian.packages.items()):
        name = deb_name(package, wanted.version, arch)
        held = noted.get(package)
        file = held.file if held else folder / name
        state = _state(file, held.sha256 if held else wanted.sha256.get(arch, ""))
        yield NeededFile(
            target=target,
            name=name,
            version=held.version if held else wanted.version,
            arch=arch,
            pinned=pin.upstream is None,
            sha256=wanted.sha256.get(arch, ""),
            length=file.stat().st_size if state == "whole" else 0,
            cached=state,
            source=_deb_source(name, wanted.sha256.get(arch, ""), state, named, pin.debian),
        )


def _deb_source(name: str, sha256: str, state: State, named: Named | None, pin: DebianPin) -> str:
    if named and named.folder and _state(named.folder / name, sha256) == "whole":
        return str(named.folder / name)
    return "cache" if state == "whole" else f"Debian {pin.release}"


def _state(file: Path, sha256: str) -> State:
    if file.is_file():
        return "whole" if sha256_of(file) == sha256 else "damaged"
    return "half" if part_of(file).is_file() else "absent"
