"""Ports on loopback for servers that must be told theirs before they start.

What the kernel gives to `bind(port 0)` it may a moment later give to any connection that goes out,
and four test files at a time make thousands of those. So these ports lie below the range it gives
from, each process of pytest has its own part of them, and none is given twice.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

__all__ = ["BUS_ABOVE", "free_port"]

BUS_ABOVE = 10_000  # Redis has its bus so far above its port; below the kernel's range, too
_FIRST, _PARTS, _EACH = 10_240, 6, 1_500
_own = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PARTS
_numbers = itertools.count(random.SystemRandom().randrange(_EACH))


def free_port() -> int:
    """A port of which nobody listens, nor `BUS_ABOVE` above it; never the same again in a while."""
    for _ in range(_EACH):
        port = _FIRST + _own * _EACH + next(_numbers) % _EACH
        if all(_free(one) for one in (port, port + BUS_ABOVE)):
            return port
    raise RuntimeError(f"no free port of {_EACH} on loopback")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection that was is none
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
