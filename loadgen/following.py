"""What a worker's engine adds to its files, as it comes, over the ends of hours and of processes.

The engine renames its spool when an hour is over; whoever reads along first finishes the renamed
file and then begins the next. Nothing is read twice or left out, whatever happens in between.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadgen.contract.parts import hour_of_part, parts_of, read_part
from loadgen.contract.spool import SPOOL, read_opened, read_spool_from

__all__ = ["Follower"]


class Follower:
    """Reads the records of worker `rank`. `after_hour`: closed hours up to this one were read
    before, by an earlier process; it grows as further ones are read to their ends.
    """

    def __init__(self, folder: Path, rank: int, *, after_hour: int = -1) -> None:
        self.after_hour = after_hour
        self._folder = folder
        self._rank = rank
        self._spool = folder / f"worker-{rank}{SPOOL}"
        # In the file behind `after_hour`: where to go on, and records that were read.
        self._offset, self._read = 0, 0

    def new(self) -> Iterator[dict[str, Any]]:
        """Records that came since; none while there is no file. Raises SpoolDamaged."""
        while True:
            # Opened before the closed ones are looked for: if it is renamed in between, it is
            # found among them, and if it is renamed later, it is still the one that is open.
            try:
                file = self._spool.open("rb")
            except FileNotFoundError:
                file = None
            closed = self._next_closed()
            if closed is None:
                if file is not None:
                    with file:
                        yield from self._counted(read_opened(file, self._spool, self._offset))
                return
            if file is not None:
                file.close()
            try:
                yield from self._rest_of(closed)
            except FileNotFoundError:
                continue  # sealed since it was listed
            self.after_hour = hour_of_part(closed) or 0
            self._offset, self._read = 0, 0

    def _next_closed(self) -> Path | None:
        for path in parts_of(self._folder, self._rank):
            hour = hour_of_part(path)
            if hour is not None and hour > self.after_hour:
                return path
        return None

    def _rest_of(self, path: Path) -> Iterator[dict[str, Any]]:
        if path.suffix == SPOOL:
            yield from self._counted(read_spool_from(path, self._offset))
        else:
            yield from itertools.islice(read_part(path), self._read, None)

    def _counted(self, records: Iterator[tuple[dict[str, Any], int]]) -> Iterator[dict[str, Any]]:
        for record, offset in records:
            self._offset = offset
            self._read += 1
            yield record
