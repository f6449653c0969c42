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

from loadgen.contract.spool import SpoolWriter, payload_of, payload_of_window
from loadgen.contract.window import SessionBegin, SessionEnd, Window

__all__ = ["SWITCH_S", "Relay", "Spool"]

# Python's own 5 ms would be a 5 ms stall of the loop in every window; see loadgen/README.md.
SWITCH_S = 50e-6

RELAY_AHEAD = 256

# Windows that a full disk does not take: an hour and a half at 6 kB each, 45 s at the largest.
KEPT_BYTES = 32 << 20
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

    def __str__(self) -> str:
        until = f"to {self.until_s}" if self.until_s else "to the end"
        return f"{self.why} from {self.from_s} {until}, {self.lost} windows lost"


_Work = Window | SessionBegin | SessionEnd | Callable[[], None]


class Spool:
    """The worker's spool file, written and fsynced by a thread of its own.

    A disk that is full or broken does not end the load: what cannot be written is kept, and tried
    again with the next record, as long as it takes no more than `KEPT_BYTES`; windows beyond that
    are lost, and counted.
    """

    def __init__(self, writer: SpoolWriter, also: Callable[[Window], None] | None = None) -> None:
        self._writer = writer
        self._also = also
        self._kept: deque[tuple[bytes, int | None]] = deque()  # payload, begin of a window
        self._kept_bytes = 0
        self._undone: deque[Callable[[], None]] = deque()
        self._troubles: list[_Trouble] = []
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

    def told(self) -> dict[str, str]:
        """What went wrong with the disk, for the session's end; nothing as a rule."""
        return {"disk": "; ".join(map(str, self._troubles))} if self._troubles else {}

    def close(self) -> str:
        """Wait until everything is on disk, a while longer if it is full; what is not, "" if all
        is.
        """
        self._queue.put(None)
        self._thread.join()
        ends_s = time.monotonic() + LAST_PATIENCE_S
        while self._kept and time.monotonic() < ends_s:
            time.sleep(LAST_PATIENCE_S / 20)
            self._write_kept()
        self._writer.close()
        return f"{len(self._kept)} records: {self._troubles[-1].why}" if self._kept else ""

    def _run(self) -> None:
        while (record := self._queue.get()) is not None:
            if callable(record):
                self._undone.append(record)
            elif isinstance(record, Window):
                self._keep(payload_of_window(record), record.start_s)
            else:
                self._keep(payload_of(record.to_json()), None)
            self._write_kept()
            if self._also is not None and isinstance(record, Window):
                self._also(record)

    def _keep(self, payload: bytes, start_s: int | None) -> None:
        if start_s is not None and self._kept and self._kept_bytes + len(payload) > KEPT_BYTES:
            self._troubles[-1].lost += 1
        else:
            self._kept.append((payload, start_s))
            self._kept_bytes += len(payload)

    def _write_kept(self) -> None:
        try:
            self._do_undone()
            while self._kept:
                payload, start_s = self._kept[0]
                self._writer.write(payload, start_s=start_s)
                self._kept.popleft()
                self._kept_bytes -= len(payload)
        except OSError as error:
            self._in_trouble(error)
        else:
            if self._troubles and not self._troubles[-1].until_s:
                self._troubles[-1].until_s = int(time.time())

    def _in_trouble(self, error: OSError) -> None:
        if not self._troubles or self._troubles[-1].until_s:
            del self._troubles[: -MOST_TROUBLES + 1]
            self._troubles.append(_Trouble(error.strerror or str(error), int(time.time())))

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
