"""A disk that takes nothing costs no load, and no window as long as memory holds it."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from loadgen.contract.spool import SpoolWriter, read_spool
from loadgen.contract.window import SessionEnd
from loadgen.engine import spooling
from loadgen.engine.spooling import Spool
from tests.unit.loadgen.engine.test_engine_past import window

END = SessionEnd(0, "finished", "", 0, 0, 0, 0)


class Disk(SpoolWriter):
    """A spool on a disk that is full as long as it is told so."""

    full = False
    refused = 0

    def write(self, payload: bytes, *, start_s: int | None = None) -> None:
        if self.full:
            self.refused += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        super().write(payload, start_s=start_s)


def until(true: Callable[[], object]) -> None:
    ends_s = time.monotonic() + 120
    while not true():
        assert time.monotonic() < ends_s
        time.sleep(0.001)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a disk that is full: a write that goes beyond is short, and the next is refused."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_a_full_disk_refuses_is_written_in_its_order_when_there_is_room(tmp_path):
    disk = Disk(tmp_path / "worker-0.spool")
    spool = Spool(disk)
    spool.put(window(0))
    until(lambda: len(list(read_spool(tmp_path / "worker-0.spool"))) == 1)
    disk.full = True
    for seq in range(1, 20):
        spool.put(window(seq))
    until(lambda: disk.refused >= 19)
    assert "from" in spool.told()["disk"]
    disk.full = False
    spool.put(window(20))
    spool.put(END)
    assert spool.close() == ""
    records = list(read_spool(tmp_path / "worker-0.spool"))
    assert [one["seq"] for one in records[:-1]] == list(range(21))
    assert spool.told()["disk"].endswith(", 0 windows lost")


def test_beyond_what_memory_may_hold_windows_are_lost_and_counted_and_the_end_is_kept(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(spooling, "KEPT_BYTES", 2_000)
    disk = Disk(tmp_path / "worker-0.spool")
    disk.full = True
    spool = Spool(disk)
    for seq in range(20):
        spool.put(window(seq))
    until(lambda: disk.refused >= 20)
    disk.full = False
    spool.put(END)
    assert spool.close() == ""
    *windows, end = read_spool(tmp_path / "worker-0.spool")
    assert end["kind"] == "end"
    kept = [one["seq"] for one in windows]
    assert kept == list(range(len(kept)))
    assert 0 < len(kept) < 10
    assert f"{20 - len(kept)} windows lost" in spool.told()["disk"]


def test_a_disk_that_stays_full_is_told_of_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(spooling, "LAST_PATIENCE_S", 0.05)
    disk = Disk(tmp_path / "worker-0.spool")
    disk.full = True
    spool = Spool(disk)
    spool.put(window(0))
    spool.put(END)
    assert spool.close() == "2 records: No space left on device"


def test_other_work_that_a_full_disk_refuses_is_done_later(tmp_path):
    disk, tries = Disk(tmp_path / "worker-0.spool"), []

    def note() -> None:
        tries.append(disk.full)
        if disk.full:
            raise OSError(errno.ENOSPC, "full")

    disk.full = True
    spool = Spool(disk)
    spool.also_do(note)
    until(lambda: tries)
    disk.full = False
    spool.put(window(0))
    spool.close()
    assert tries == [True, False]


def test_half_a_frame_that_a_full_disk_took_is_taken_back(tmp_path):
    path = tmp_path / "worker-0.spool"
    writer = SpoolWriter(path)
    writer.append_window(window(0))
    size = path.stat().st_size
    with largest_file(size + 50), pytest.raises(OSError, match=r"No space|too large"):
        writer.append_window(window(1))
    assert path.stat().st_size == size
    writer.append_window(window(1))
    assert [one["seq"] for one in read_spool(path)] == [0, 1]
