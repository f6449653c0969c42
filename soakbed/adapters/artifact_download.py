"""One file over HTTP: with progress, resumed where it broke off, and kept only when it is right.

What has come so far lies in `.<name>.part` beside the target. A file of the wrong hash is deleted,
a broken off one stays for the next try, and on a full disk nothing new is left behind.
"""

from __future__ import annotations

import http.client
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from soakbed.adapters.artifact_sources import Missing, no_room, sha256_of, verified
from soakbed.errors import Unavailable
from soakbed.units import bytes_text

__all__ = ["Watch", "download", "part_of", "unanswered"]

# A source that does not answer must cost seconds: the next one is waiting. It bounds the connect
# and each single read, so that a slow but living download goes on.
ANSWER_WITHIN_S = 5.0
# A connection that breaks again and again is tried for as long as each try brings something.
MOST_TRIES = 5
# No artifact is larger; without a length from pin or server a download must still end.
MOST_BYTES = 4 * 1024**3
_CHUNK_BYTES = 1024 * 1024

Watch = Callable[[str, int, int], None]  # name, bytes so far, bytes in all (0: not known)


def _unwatched(_name: str, _done: int, _of: int) -> None:
    pass


def part_of(target: Path) -> Path:
    """Where the first half of a broken off download of `target` lies."""
    return target.with_name(f".{target.name}.part")


def download(
    url: str, target: Path, *, sha256: str, length: int = 0, watch: Watch = _unwatched
) -> None:
    """Fetch `url` into `target`, going on where an earlier try broke off.

    `length`: what is pinned, 0 for nothing. Raises Missing when it cannot be had or is another
    file, Unavailable when the disk is full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = part_of(target)
    old = _size(part)
    _receive_all(url, part, length=length, watch=lambda done, of: watch(target.name, done, of))
    if old and sha256_of(part) != sha256:  # the old half may be of another file: begin anew
        part.unlink()
        _receive_all(url, part, length=length, watch=lambda done, of: watch(target.name, done, of))
    try:
        verified(part, sha256, source=url)
    except Missing:
        part.unlink()
        raise
    part.chmod(0o644)
    part.replace(target)


def unanswered(url: str) -> str:
    """Why nothing is to be had at `url`; "" if it answers. Reads nothing of the file."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, method="HEAD"), timeout=ANSWER_WITHIN_S
        ):
            return ""
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _reason(error)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    return str(getattr(error, "reason", "") or error or type(error).__name__)


def _receive_all(url: str, part: Path, *, length: int, watch: Callable[[int, int], None]) -> None:
    """Try until the whole file is there, or a try brings nothing more."""
    for left in reversed(range(MOST_TRIES)):
        had = _size(part)
        try:
            _receive(url, part, length=length, watch=watch)
            return
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and (full := no_room(part, error)):
                part.unlink(missing_ok=True)
                raise full from error
            has = _size(part)
            if left and has > had:
                continue
            kept = f" after {bytes_text(has)}, which are kept: the next try goes on there"
            raise Missing(f"{url}: {_reason(error)}{kept if has else ''}") from error


def _receive(url: str, part: Path, *, length: int, watch: Callable[[int, int], None]) -> None:
    have = _size(part)
    if length and have > length:
        have = 0
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        reply = urllib.request.urlopen(request, timeout=ANSWER_WITHIN_S)
    except urllib.error.HTTPError as error:
        error.close()
        if have and error.code == 416:  # nothing comes after what we have
            return
        raise
    with reply:
        begin = have if _begins_at(reply, have) else 0
        told = int(reply.headers.get("Content-Length") or 0)
        whole = begin + told if told else length
        _refuse_another_length(whole, length, url)
        _refuse_no_room(part, whole - begin)
        with part.open("ab" if begin else "wb") as out:
            done = begin
            while chunk := reply.read(_CHUNK_BYTES):
                done += len(chunk)
                if done > (whole or MOST_BYTES):
                    raise OSError(f"more than {bytes_text(whole or MOST_BYTES)} came")
                out.write(chunk)
                out.flush()
                watch(done, whole)
    if whole and done < whole:
        raise OSError(f"broke off at {bytes_text(done)} of {bytes_text(whole)}")


def _begins_at(reply: Any, have: int) -> bool:  # noqa: ANN401  (urllib's reply has no one type)
    """Whether the server goes on where we stopped; many answer with the whole file instead."""
    span = re.match(r"bytes (\d+)-", reply.headers.get("Content-Range") or "")
    return bool(getattr(reply, "status", 200) == 206 and span and int(span[1]) == have)


def _refuse_another_length(whole: int, length: int, url: str) -> None:
    if length and whole != length:
        raise Missing(f"{url} has {whole} bytes, pinned are {length}")


def _refuse_no_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise Unavailable(
            f"{part.parent}: {bytes_text(needed)} are still to come and {bytes_text(free)} are "
            "free, so nothing was fetched",
            remedy="make room there, or set SOAKBED_CACHE to a folder on a larger disk",
        )
