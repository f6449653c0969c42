"""What to fetch: `playbooks/group_vars/all/artifacts.yml` as typed records.

Read by `adapters.artifacts`; a mistake in the file is an error that names the key.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pydantic
import yaml

from soakbed.errors import Mistake, SpecError
from soakbed.records.frozen import Frozen

__all__ = ["DebianPin", "PackagePin", "TargetPin", "UpstreamFile", "UpstreamPin", "read_pins"]


class UpstreamFile(Frozen):
    """One file of an upstream release."""

    name: str
    sha256: str


class UpstreamPin(Frozen):
    """An upstream release: where it lies, and its file for each architecture."""

    base_url: str
    files: Mapping[str, UpstreamFile]


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
    """What one target is made of."""

    version: str
    upstream: UpstreamPin | None = None
    debian: DebianPin


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
