"""Breaks one client's connection: gRPC's server offers no such thing, the kernel does."""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

__all__ = ["break_connection"]

_PEER = re.compile(r"ipv[46]:\[?([^\]]+?)\]?:(\d+)$")


def break_connection(peer: str) -> bool:
    """Shut down this process's socket to `peer` (as gRPC names it); False if there is none."""
    found = _PEER.match(unquote(peer))
    if not found:
        return False
    address, port = found[1], int(found[2])
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as sock:
                if sock.family == socket.AF_UNIX:  # the event loop's own; it has no address
                    continue
                host, at = sock.getpeername()[:2]
                if (host.removeprefix("::ffff:"), at) == (address, port):
                    sock.shutdown(socket.SHUT_RDWR)
                    return True
    return False
