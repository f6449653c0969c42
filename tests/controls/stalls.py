"""What a stall must do to the figures of an open loop, and what hides it (measuring.md 1.3)."""

from __future__ import annotations

import socket
import threading
import time

__all__ = ["NaiveClient", "analytic_p99_us", "assert_the_stall_shows"]


def analytic_p99_us(stall_s: float, seconds: float) -> float:
    """Response P99 of a constant rate over `seconds` that met one stall.

    The share p = S/T of the operations is delayed, evenly over (0, S), so the 99th percentile is
    S * (1 - 0.01 / p).

    >>> round(analytic_p99_us(1.4, 30))
    1100000
    """
    hit = stall_s / seconds
    assert hit > 0.01, "too short a stall to reach the 99th percentile"
    return stall_s * (1 - 0.01 / hit) * 1e6


def assert_the_stall_shows(p99_us: float, analytic_us: float) -> None:
    """The instrument's P99 is the analytic one, within 5 %."""
    assert abs(p99_us - analytic_us) <= 0.05 * analytic_us, (p99_us, analytic_us)


class NaiveClient(threading.Thread):
    """What most load generators do: one request after the other at a pace, timed from its
    sending, and what a stall made it miss is never sent. A control must be able to catch it.
    """

    def __init__(self, port: int, rate_per_s: float, seconds: float) -> None:
        super().__init__(daemon=True)
        self.latencies_us: list[int] = []
        self._address = ("127.0.0.1", port)
        self._gap_s = 1 / rate_per_s
        self._seconds = seconds

    def run(self) -> None:
        """Until its time is over."""
        with socket.create_connection(self._address, timeout=10) as sock:
            began_s = time.monotonic()
            while (now_s := time.monotonic()) < began_s + self._seconds:
                sock.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nnaive\r\n$1\r\nx\r\n")
                assert sock.recv(100) == b"+OK\r\n"
                self.latencies_us.append(round((time.monotonic() - now_s) * 1e6))
                elapsed_s = time.monotonic() - began_s
                time.sleep(self._gap_s - elapsed_s % self._gap_s)
