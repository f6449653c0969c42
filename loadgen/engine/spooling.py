"""Finished windows on their way out: to disk on one thread, to the relay on another.

Neither may hold up the loop. The loop only puts a window into a queue; JSON, compression and
fsync happen here, and `SWITCH_S` makes Python give the loop its turn back within 50 us.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections.abc import Callable
from typing import IO, Any

from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import SessionBegin, SessionEnd, Window

__all__ = ["SWITCH_S", "Relay", "Spool"]

# Python's own 5 ms would be a 5 ms stall of the loop in every window; see loadgen/README.md.
SWITCH_S = 50e-6

RELAY_AHEAD = 256


_Work = Window | SessionBegin | SessionEnd | Callable[[], None]


class Spool:
    """The worker's spool file, written and fsynced by a thread of its own."""

    def __init__(self, writer: SpoolWriter, also: Callable[[Window], None] | None = None) -> None:
        self.error: OSError | None = None
        self._writer = writer
        self._also = also
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    def put(self, record: Window | SessionBegin | SessionEnd) -> None:
        """Take a record; returns at once."""
        self._queue.put(record)

    def also_do(self, work: Callable[[], None]) -> None:
        """Have something else written by the same thread, after what it has; returns at once."""
        self._queue.put(work)

    def close(self) -> None:
        """Wait until everything is on disk."""
        self._queue.put(None)
        self._thread.join()
        self._writer.close()

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            if self.error is None:
                try:
                    if isinstance(record, Window):
                        self._writer.append_window(record)
                    elif callable(record):
                        record()
                    else:
                        self._writer.append(record.to_json())
                except OSError as error:
                    self.error = error  # the session looks at it once a window, and fails
            if self._also is not None and isinstance(record, Window):
                self._also(record)


class Relay:
    """Windows as JSON lines for the Locust worker, as far as it keeps up.

    The spool is the record; a relay that hangs or went away costs its own view and nothing else.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.dropped = 0
        self._stream = stream
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue(RELAY_AHEAD)
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def put(self, window: Window) -> None:
        """Take a window, or drop it when the reader is that far behind."""
        try:
            self._queue.put_nowait(window.to_json())
        except queue.Full:
            self.dropped += 1

    def close(self, patience_s: float = 2.0) -> None:
        """Give the reader a last moment to take what is queued."""
        try:
            self._queue.put(None, timeout=patience_s)
        except queue.Full:
            return
        self._thread.join(patience_s)

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            try:
                self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")
                self._stream.flush()
            except (OSError, ValueError):
                return  # nobody reads any more
