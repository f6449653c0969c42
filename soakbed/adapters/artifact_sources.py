"""Whole and verified files: what every source of artifacts has in common.

A file appears in the cache by rename, after its sha256 was found right; half a file never counts.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from soakbed.errors import Unavailable

__all__ = ["Missing", "copy_file", "no_room", "sha256_of", "verified", "whole_file"]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Missing(Exception):
    """A source does not have the file, or has another one; the text says which."""


def sha256_of(file: Path) -> str:
    """The file's sha256, in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A new file beside `target` that takes its place only when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        if full := no_room(target, error):
            raise full from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def no_room(target: Path, error: OSError) -> Unavailable | None:
    """The error to raise where a disk is full; None for every other mishap."""
    if error.errno not in _DISK_FULL:
        return None
    return Unavailable(
        f"{target.parent}: the disk is full, so {target.name} could not be kept; "
        "what was there before is whole",
        remedy="make room there, or set SOAKBED_CACHE to a folder on a larger disk",
    )


def verified(file: Path, sha256: str, *, source: str) -> None:
    """Raise Missing unless the file is the pinned one."""
    found = sha256_of(file)
    if found != sha256:
        raise Missing(f"{source} has sha256 {found[:16]}..., pinned is {sha256[:16]}...")


def copy_file(source: Path, target: Path, *, sha256: str) -> None:
    """Take a file of this machine into the cache. Raises Missing."""
    if not source.is_file():
        raise Missing(f"{source} does not exist")
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
        verified(partial, sha256, source=str(source))
