"""What to fetch: `playbooks/group_vars/all/artifacts.yml` as typed records.

Read by `adapters.artifacts`; a mistake in the file is an error that names the key. Written by
`soakbed artifacts resolve` alone, line by line, so that its comments stay.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pydantic
import yaml
from pydantic import Field, model_validator

from soakbed.adapters.artifact_sources import whole_file
from soakbed.errors import Mistake, SpecError
from soakbed.records.frozen import Frozen

__all__ = [
    "DebianPin",
    "PackagePin",
    "Resolved",
    "RootPin",
    "TargetPin",
    "UpstreamFile",
    "UpstreamPin",
    "read_pins",
    "write_resolved",
]

_SHA256 = r"^[0-9a-f]{64}$"


class UpstreamFile(Frozen):
    """One file of an upstream release.

    `sha256` = "" was never resolved: such a file is not downloaded. `length` = 0 is not known.
    `component`: the name under which a mirror with signed manifests lists it.
    """

    name: str
    component: str = ""
    sha256: str = Field(default="", pattern=rf"^$|{_SHA256}")
    length: int = Field(default=0, ge=0)


class RootPin(Frozen):
    """Whose word about checksums counts: the root keys of a mirror with signed manifests.

    `keys` are key ids, which are hashes of the keys; `version` is the root manifest they signed.
    """

    version: int = Field(ge=1)
    threshold: int = Field(ge=1)
    keys: tuple[str, ...]

    @model_validator(mode="after")
    def _enough_keys(self) -> RootPin:
        if len(set(self.keys)) < self.threshold:
            raise ValueError(f"{len(set(self.keys))} keys cannot give {self.threshold} signatures")
        return self


class UpstreamPin(Frozen):
    """An upstream release: where it lies, and its files for each architecture."""

    base_url: str
    root: RootPin | None = None
    files: Mapping[str, tuple[UpstreamFile, ...]]


class PackagePin(Frozen):
    """One Debian package; `sha256` by architecture."""

    version: str
    sha256: Mapping[str, str]


class DebianPin(Frozen):
    """A set of Debian packages from one release; `main_package` carries the target's version."""

    release: str
    main_package: str
    packages: Mapping[str, PackagePin]


class TargetPin(Frozen):
    """What one target is made of: an upstream release, Debian's packages, or either."""

    version: str
    upstream: UpstreamPin | None = None
    debian: DebianPin | None = None

    @model_validator(mode="after")
    def _comes_from_somewhere(self) -> TargetPin:
        if self.upstream is None and self.debian is None:
            raise ValueError("neither upstream nor debian is named")
        return self


class _Pins(Frozen):
    artifacts: Mapping[str, TargetPin]


def read_pins(file: Path) -> Mapping[str, TargetPin]:
    """Read artifacts.yml. Raises SpecError with every mistake in it."""
    try:
        return _Pins.model_validate(yaml.safe_load(file.read_text())).artifacts
    except pydantic.ValidationError as error:
        raise SpecError(
            [
                Mistake(
                    file=str(file),
                    key=".".join(str(part) for part in complaint["loc"]),
                    value=repr(complaint["input"])[:80],
                    problem=complaint["msg"],
                    remedy="write it as the other entries of the file are written",
                )
                for complaint in error.errors()
            ]
        ) from error


@dataclass(frozen=True, slots=True)
class Resolved:
    """What signed manifests say of one file."""

    sha256: str
    length: int


def write_resolved(file: Path, resolved: Mapping[str, Resolved], *, renew: bool) -> list[str]:
    """Write sha256 and length of the files named into artifacts.yml; returns the changed names.

    Raises SpecError when a file is pinned already, to something else, and `renew` is off; nothing
    is written then.
    """
    pinned = {
        one.name: one
        for pin in read_pins(file).values()
        if pin.upstream
        for files in pin.upstream.files.values()
        for one in files
    }
    changes = {
        name: new
        for name, new in resolved.items()
        if (pinned[name].sha256, pinned[name].length) != (new.sha256, new.length)
    }
    held = [name for name in changes if pinned[name].sha256]
    if held and not renew:
        raise SpecError([_pinned_already(file, pinned[name], changes[name]) for name in held])
    if changes:
        with whole_file(file) as partial:
            partial.write_text(_edited(file.read_text(), changes))
            read_pins(partial)
    return sorted(changes)


def _pinned_already(file: Path, pin: UpstreamFile, new: Resolved) -> Mistake:
    return Mistake(
        file=str(file),
        key=f"{pin.name}.sha256",
        value=pin.sha256,
        problem=f"the signed manifest says {new.sha256} ({new.length} bytes): another file than "
        "the one that was pinned",
        remedy="find out why a released file changed; only then: soakbed artifacts resolve --renew",
    )


def _edited(text: str, changes: Mapping[str, Resolved]) -> str:
    """The same text with the values of `sha256:` and `length:` after each `name:` replaced."""
    lines, name = [], ""
    for line in text.splitlines():
        if found := re.match(r"\s*(?:- )?name: (\S+)$", line):
            name = found[1]
        new = changes.get(name)
        if new is not None and (found := re.match(r"(\s*)(sha256|length): ", line)):
            value = new.sha256 if found[2] == "sha256" else str(new.length)
            line = f"{found[1]}{found[2]}: {value}"
        lines.append(line)
    return "\n".join(lines) + "\n"
