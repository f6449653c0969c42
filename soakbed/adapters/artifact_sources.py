"""Where single files come from: a folder or mirror, a URL, the cache. Everything is verified.

Used by `adapters.artifacts`. A file appears in the cache by rename, so half a file never counts.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Missing", "copy_named", "download", "sha256_of", "whole_file"]

# A source that does not answer must cost seconds: the next one is waiting. It bounds the connect
# and each single read, so that a slow but living download goes on.
ANSWER_WITHIN_S = 5.0
_CHUNK_BYTES = 1024 * 1024


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
    finally:
        partial.unlink(missing_ok=True)


def _verified(partial: Path, sha256: str, *, source: str) -> None:
    found = sha256_of(partial)
    if found != sha256:
        raise Missing(f"{source} has sha256 {found[:16]}..., pinned is {sha256[:16]}...")


def download(url: str, target: Path, *, sha256: str) -> None:
    """Fetch `url` into `target`. Raises Missing when it cannot be had or is another file."""
    try:
        with (
            whole_file(target) as partial,
            urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as reply,
            partial.open("wb") as out,
        ):
            shutil.copyfileobj(reply, out, _CHUNK_BYTES)
            out.flush()
            _verified(partial, sha256, source=url)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Missing(f"{url}: {reason}") from error


def copy_named(named: str, name: str, target: Path, *, sha256: str) -> None:
    """Take file `name` from the folder or mirror the user named. Raises Missing."""
    if urllib.parse.urlsplit(named).scheme in ("http", "https", "file"):
        download(f"{named.rstrip('/')}/{urllib.parse.quote(name)}", target, sha256=sha256)
        return
    source = Path(named).expanduser() / name
    if not source.is_file():
        raise Missing(f"{source} does not exist")
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
        _verified(partial, sha256, source=str(source))
