"""Finished windows on their way out: to disk on one thread, to the relay on another.

Neither may hold up the loop. The loop only puts a window into a queue; JSON, compression and
fsync happen here, and `SWITCH_S` makes Python give the loop its turn back within 50 us.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from loadgen.contract.history import HistoryBlock, payload_of_block
from loadgen.contract.history_files import HistoryWriter
from loadgen.contract.spool import SpoolWriter, payload_of, payload_of_window
from loadgen.contract.window import SessionBegin, SessionEnd, Window

__all__ = ["SWITCH_S", "Relay", "Spool"]

# Python's own 5 ms would be a 5 ms stall of the loop in every window; see loadgen/README.md.
SWITCH_S = 50e-6

RELAY_AHEAD = 256

# Windows that a full disk does not take: an hour and a half at 6 kB each, 45 s at the largest.
KEPT_BYTES = 32 << 20
KEPT_HISTORY_BYTES = 8 << 20  # minutes of blocks; a history with a gap says so
# Troubles told of, the newest; and how long the end of a session waits for room.
MOST_TROUBLES = 20
LAST_PATIENCE_S = 10.0


@dataclass(slots=True)
class _Trouble:
    """A time in which the disk took nothing; unix seconds, `until_s` 0 as long as it lasts."""

    why: str
    from_s: int
    until_s: int = 0
    lost: int = 0

    def told(self, what: str) -> str:
        """In words."""
        until = f"to {self.until_s}" if self.until_s else "to the end"
        return f"{self.why} from {self.from_s} {until}, {self.lost} {what} lost"


_Work = Window | SessionBegin | SessionEnd | HistoryBlock | Callable[[], None]


class _Kept:
    """What is on its way into one file: it waits while the disk is full, up to a limit."""

    def __init__(self, writer: SpoolWriter | None, *, most_bytes: int) -> None:
        self.troubles: list[_Trouble] = []
        self.waiting: deque[tuple[bytes, int | None]] = deque()  # payload, begin of a window
        self._writer = writer
        self._most_bytes = most_bytes
        self._bytes = 0

    def keep(self, payload: bytes, start_s: int | None) -> None:
        """Take what is to be written; of what has a begin it may be too much."""
        if start_s is not None and self.waiting and self._bytes + len(payload) > self._most_bytes:
            self.troubles[-1].lost += 1
        else:
            self.waiting.append((payload, start_s))
            self._bytes += len(payload)

    def write(self, before: Callable[[], None] = lambda: None) -> None:
        """Write what waits, as far as there is room; the same of `before`, which comes first."""
        try:
            before()
            while self.waiting and self._writer:
                payload, start_s = self.waiting[0]
                self._writer.write(payload, start_s=start_s)
                self._bytes -= len(self.waiting.popleft()[0])
        except OSError as error:
            self._in_trouble(error)
        else:
            if self.troubles and not self.troubles[-1].until_s:
                self.troubles[-1].until_s = int(time.time())

    def _in_trouble(self, error: OSError) -> None:
        if not self.troubles or self.troubles[-1].until_s:
            del self.troubles[: -MOST_TROUBLES + 1]
            self.troubles.append(_Trouble(error.strerror or str(error), int(time.time())))


class Spool:
    """The worker's spool file, written and fsynced by a thread of its own.

    A disk that is full or broken does not end the load: what cannot be written is kept, and tried
    again with the next record, as long as it takes no more than `KEPT_BYTES`; windows beyond that
    are lost, and counted.
    """

    def __init__(
        self,
        writer: SpoolWriter,
        also: Callable[[Window], None] | None = None,
        history: HistoryWriter | None = None,
    ) -> None:
        self._writer = writer
        self._history = history
        self._also = also
        self._windows = _Kept(writer, most_bytes=KEPT_BYTES)
        self._blocks = _Kept(history, most_bytes=KEPT_HISTORY_BYTES)
        self._undone: deque[Callable[[], None]] = deque()
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
        sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    def put(self, record: Window | SessionBegin | SessionEnd | HistoryBlock) -> None:
        """Take a record; returns at once."""
        self._queue.put(record)

    def also_do(self, work: Callable[[], None]) -> None:
        """Have something else written by the same thread, after what it has; returns at once."""
        self._queue.put(work)

    def told(self) -> dict[str, str]:
        """What went wrong with the disk, for the session's end; nothing as a rule."""
        made = {"disk": (self._windows, "windows"), "history_disk": (self._blocks, "blocks")}
        return {
            name: "; ".join(trouble.told(what) for trouble in kept.troubles)
            for name, (kept, what) in made.items()
            if kept.troubles
        }

    def close(self) -> str:
        """Wait until everything is on disk, a while longer if it is full; what is not, "" if all
        is.
        """
        self._queue.put(None)
        self._thread.join()
        ends_s = time.monotonic() + LAST_PATIENCE_S
        windows = self._windows
        while windows.waiting and time.monotonic() < ends_s:
            time.sleep(LAST_PATIENCE_S / 20)
            windows.write(self._do_undone)
        self._writer.close()
        if self._history is not None:
            self._history.close()
        if not windows.waiting:
            return ""
        return f"{len(windows.waiting)} records: {windows.troubles[-1].why}"

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            if callable(record):
                self._undone.append(record)
            elif isinstance(record, HistoryBlock):
                if self._history is not None:
                    self._blocks.keep(payload_of_block(record), record.until_ns // 10**9)
            elif isinstance(record, Window):
                self._windows.keep(payload_of_window(record), record.start_s)
            else:
                self._windows.keep(payload_of(record.to_json()), None)
            self._windows.write(self._do_undone)
            self._blocks.write()
            if self._also is not None and isinstance(record, Window):
                self._also(record)

    def _do_undone(self) -> None:
        while self._undone:
            self._undone[0]()
            self._undone.popleft()


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
