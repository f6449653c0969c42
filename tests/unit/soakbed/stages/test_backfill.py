"""Copying what a load host spools while it spools: nothing twice, nothing lost, whatever breaks."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.contract.history import HistoryBlock, payload_of_block
from loadgen.contract.history_files import HistoryWriter, read_histories
from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter, read_spool
from loadgen.contract.window import GeneratorState, OperationWindow, Window
from soakbed.adapters.ssh import HostUnreachable
from soakbed.records.testbed import Host, Testbed
from soakbed.stages import backfill as stage
from soakbed.stages.backfill import Backfill
from soakbed.stages.load_session import LoadSession
from tests.fakes import FakeLoadHost

PLAN = Plan(
    run_id="r1",
    session="steady",
    target="etcd",
    endpoints=("10.0.0.1:2379",),
    keyspace=Keyspace(100, "/bench/"),
    phases=(Phase("steady", "open", 7200, 100.0),),
    tls=None,
)
L1 = Host(name="l1", duty="load", address="10.0.0.9", key_file="k", cpus=(1,))
TESTBED = Testbed(
    name="t", provider="local", shares_machine=True, known_hosts_file="k", hosts={"l1": L1}
)
HOUR = 472_222
BEGAN_S = HOUR * 3600 + 3590


class LoadHost:
    """A load host's session folder on which an engine is, hour after hour."""

    def __init__(self, tmp_path: Path) -> None:
        self.shell = FakeLoadHost(tmp_path / "sessions")
        session = LoadSession(PLAN, TESTBED, shell=self.shell)
        self.folder = self.shell.local(session.folder)
        self.folder.mkdir(parents=True)
        PLAN.write(self.folder / "plan.json")
        self.archive = tmp_path / "load" / "steady"
        self.backfill = Backfill(session, self.archive, shell=self.shell)
        self.seq = 0

    @property
    def spool(self) -> Path:
        return self.folder / "worker-0.spool"

    def press(self, seconds: int) -> None:
        """So many windows, each hour in a spool of its own."""
        for _ in range(seconds):
            start_s = BEGAN_S + self.seq
            if self.spool.exists() and start_s % 3600 == 0:
                self.spool.rename(self.folder / f"worker-0.{start_s // 3600 - 1}.spool")
            writer = SpoolWriter(self.spool)
            writer.append(window(self.seq, start_s))
            writer.close()
            self.seq += 1

    def seal(self, hour: int) -> None:
        """Stands for the sealed form: what matters here is that it comes whole and replaces."""
        closed = self.folder / f"worker-0.{hour}.spool"
        (self.folder / f"worker-0.{hour}.sealed").write_bytes(closed.read_bytes()[::-1])
        closed.unlink()

    def same(self) -> bool:
        """Whether the archive holds the files of the host, byte by byte, and no other."""
        return files(self.archive) == files(self.folder)


def window(seq: int, start_s: int) -> dict:
    # Not two alike: compressed windows of the same counts would be.
    made = OperationWindow(ok=random.Random(seq).randint(1, 10**6))
    return Window(
        0, seq, "steady", "open", start_s, 1, {"read": made}, GeneratorState(0.5)
    ).to_json()


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


def seqs(folder: Path) -> list[int]:
    hours = sorted(folder.glob("worker-0.*.spool"))
    return [r["seq"] for path in [*hours, folder / "worker-0.spool"] for r in read_spool(path)]


@pytest.fixture
def host(tmp_path: Path) -> LoadHost:
    return LoadHost(tmp_path)


def test_the_open_spool_grows_here_as_it_grows_there(host):
    for _ in range(3):
        host.press(3)
        host.backfill.catch_up()
        assert host.same()
    assert host.backfill.fetched_bytes == host.spool.stat().st_size


def test_an_hour_that_closed_between_two_calls_is_not_fetched_again(host):
    host.press(5)
    host.backfill.catch_up()
    host.press(10)
    host.backfill.catch_up()
    assert host.same()
    assert host.backfill.fetched_bytes == sum(
        path.stat().st_size for path in host.folder.glob("*.spool")
    )


def test_a_sealed_hour_takes_the_place_of_its_spool(host):
    host.press(15)
    host.backfill.catch_up()
    host.seal(HOUR)
    host.backfill.catch_up()
    assert host.same()
    assert sorted(path.suffix for path in host.archive.glob("worker-*")) == [".sealed", ".spool"]


def test_an_hour_that_was_sealed_while_nobody_looked_replaces_the_open_copy_of_it(host):
    host.press(5)
    host.backfill.catch_up()
    host.press(10)
    host.seal(HOUR)
    host.backfill.catch_up()
    assert host.same()


def test_a_copy_that_broke_off_is_taken_up_where_it_was(host, monkeypatch):
    monkeypatch.setattr(stage, "CHUNK_BYTES", 64)
    host.press(8)
    host.shell.line_breaks = BreaksAt(5)
    with pytest.raises(HostUnreachable):
        host.backfill.catch_up()
    had = (host.archive / "worker-0.spool").stat().st_size
    assert 0 < had < host.spool.stat().st_size
    host.shell.line_breaks = []
    fetched_before = host.backfill.fetched_bytes
    host.backfill.catch_up()
    assert host.same()
    assert host.backfill.fetched_bytes - fetched_before == host.spool.stat().st_size - had


class BreaksAt:
    """Stands in for the list of breaks: lets so many parts pass, then breaks for good."""

    def __init__(self, parts: int) -> None:
        self.left = parts

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0

    def pop(self, _index: int) -> BaseException:
        return HostUnreachable("l1 broke off", remedy="wait")


def test_a_torn_end_that_the_host_cut_off_is_not_kept(host):
    host.press(4)
    whole = host.spool.read_bytes()
    host.spool.write_bytes(whole + b"\1\2\3 half a frame")
    host.backfill.catch_up()
    host.spool.write_bytes(whole)
    host.press(3)
    host.backfill.catch_up()
    assert host.same()
    assert seqs(host.archive) == list(range(7))


def test_what_an_earlier_session_left_is_set_aside_and_never_mixed_in(host, tmp_path):
    host.press(3)
    host.backfill.catch_up()
    before = files(host.archive)
    host.backfill.begin(tmp_path / "aside")
    assert files(host.archive) == {}
    assert files(tmp_path / "aside" / "1") == before


def test_files_of_ranks_that_no_host_has_go_at_the_end_and_locusts_come(host):
    host.press(3)
    (host.folder / "locust").mkdir()
    (host.folder / "locust" / "master.log").write_text("over")
    host.archive.mkdir(parents=True)
    (host.archive / "worker-7.spool").write_text("old")
    host.backfill.finish()
    assert host.same()
    assert (host.archive / "locust" / "master.log").read_text() == "over"


def test_a_session_without_a_folder_on_its_host_costs_nothing_that_is_here(host):
    host.press(3)
    host.backfill.catch_up()
    before = files(host.archive)
    host.shell.root = host.shell.root / "gone"
    host.backfill.finish()
    assert files(host.archive) == before


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.sampled_from(["press", "look", "seal", "cut"]), max_size=14))
def test_after_any_history_the_archive_is_what_the_host_has(tmp_path_factory, steps):
    host = LoadHost(tmp_path_factory.mktemp("any"))
    host.press(2)
    for step in steps:
        if step == "press":
            host.press(7)
        elif step == "look":
            host.backfill.catch_up()
        elif step == "cut" and host.spool.exists():
            host.spool.write_bytes(host.spool.read_bytes()[:-3])
            host.backfill.catch_up()
            held = [record["seq"] for record in read_spool(host.spool)]
            rewrite(host.spool, held)
        else:
            for closed in host.folder.glob("worker-0.*.spool"):
                host.seal(int(closed.name.split(".")[1]))
    host.backfill.catch_up()
    assert host.same()


def rewrite(spool: Path, held: list[int]) -> None:
    """As an engine does that starts again: the torn end is cut off."""
    spool.unlink()
    writer = SpoolWriter(spool)
    for seq in held:
        writer.append(window(seq, BEGAN_S + seq))
    writer.close()


def test_histories_come_as_spools_do_hour_by_hour_and_no_sealed_hour_stands_for_them(host):
    history = host.folder / "worker-0.history"

    def record(*seqs: int) -> None:
        writer = HistoryWriter(history)
        for seq in seqs:
            until_s = HOUR * 3600 + 3590 + seq
            block = HistoryBlock(0, 0, "steady", "steady", seq, 0.01, 1, until_ns=until_s * 10**9)
            writer.write(payload_of_block(block), start_s=until_s)
        writer.close()

    record(0, 1)
    host.press(5)
    host.backfill.catch_up()
    record(2, 3, 11)
    host.press(10)
    host.seal(HOUR)
    host.backfill.catch_up()
    host.backfill.finish()
    assert host.same()
    assert [block.seq for block in read_histories(host.archive, 0)] == [0, 1, 2, 3, 11]
    assert len(list(host.archive.glob("*.history"))) == 2
