"""Two-phase commit, ours and `tikv-client`'s: all or nothing, and nobody loses an update."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from random import Random

import pytest

from loadgen.clients.tikv import OK, TikvFailed
from loadgen.clients.tikv_txn import TransactionClient
from loadgen.engine.outcome import FAILED, UNKNOWN
from loadgen.engine.tls import client_context
from tests.benchmarks.throwaway import Pki
from tests.integration.tikv_clients import ClientError
from tests.integration.tikv_transactions import Begin, ChildTxn, beginning
from tests.tikv_double import Double
from tests.tikv_double.mvcc import encoded

pytestmark = pytest.mark.timeout(600)

LEFT, RIGHT = b"account-1", b"account-9"  # in two regions, led by two stores
KINDS = pytest.mark.parametrize("pessimistic", [False, True], ids=["optimistic", "pessimistic"])


@pytest.fixture(params=["ours over TLS", "ours", "tikv-client"])
def client_name(request) -> str:
    if request.param == "tikv-client" and find_spec("tikv_client") is None:
        pytest.skip("tikv-client has wheels for CPython 3.11 on Linux x86-64 alone: test there")
    return request.param


@pytest.fixture
def double(client_name: str, throwaway_pki: Pki) -> Iterator[Double]:
    tls = throwaway_pki.tls("host") if client_name.endswith("over TLS") else None
    with Double(pds=3, tls=tls, split_at=[encoded(b"account-5")]) as running:
        yield running


@pytest.fixture
def begin(client_name: str, double: Double, throwaway_pki: Pki) -> Iterator[Begin]:
    tls = throwaway_pki.tls() if client_name.endswith("over TLS") else None
    name = client_name.removesuffix(" over TLS")
    with beginning(name, double.pds, tls) as made:
        yield made


def write(begin: Begin, pairs: dict[bytes, bytes], *, pessimistic: bool = False) -> None:
    txn = begin(pessimistic)
    for key, value in pairs.items():
        txn.put(key, value)
    txn.commit()


def read(begin: Begin, *keys: bytes) -> list[bytes | None]:
    txn = begin(False)
    return [txn.get(key) for key in keys]


@KINDS
def test_what_is_committed_is_seen_in_every_region(begin: Begin, double: Double, pessimistic):
    write(begin, {LEFT: b"10", RIGHT: b"20"}, pessimistic=pessimistic)
    assert read(begin, LEFT, RIGHT, b"account-7") == [b"10", b"20", None]
    txn = begin(pessimistic)
    txn.delete(LEFT)
    txn.commit()
    assert read(begin, LEFT, RIGHT) == [None, b"20"]


@KINDS
def test_what_is_rolled_back_never_was_and_leaves_no_lock(
    begin: Begin, double: Double, pessimistic
):
    txn = begin(pessimistic)
    txn.put(LEFT, b"10")
    assert txn.get(LEFT) == b"10"
    txn.rollback()
    assert double.command("locks") == []
    assert read(begin, LEFT) == [None]


def test_a_reader_sees_the_moment_it_began(begin: Begin):
    write(begin, {LEFT: b"10", RIGHT: b"20"})
    reader = begin(False)
    assert reader.get(LEFT) == b"10"
    write(begin, {LEFT: b"11", RIGHT: b"19"})
    assert reader.get(RIGHT) == b"20"
    assert read(begin, LEFT, RIGHT) == [b"11", b"19"]


def test_of_two_that_change_the_same_key_the_later_is_refused_and_leaves_no_lock(
    begin: Begin, double: Double
):
    first, second = begin(False), begin(False)
    first.put(LEFT, b"first")
    second.put(LEFT, b"second")
    second.put(RIGHT, b"second")
    first.commit()
    with pytest.raises((ClientError, TikvFailed)):
        second.commit()
    if isinstance(second, ChildTxn):
        second.rollback()  # tikv-client leaves its locks to the caller, ours does not
    assert read(begin, LEFT, RIGHT) == [b"first", None]
    assert double.command("locks") == []


def test_a_pessimistic_lock_gives_the_newest_value(begin: Begin):
    write(begin, {LEFT: b"10"})
    txn = begin(True)
    write(begin, {LEFT: b"11"})
    assert txn.get_for_update(LEFT) == b"11"
    txn.put(LEFT, b"12")
    txn.commit()
    assert read(begin, LEFT) == [b"12"]


def test_a_split_and_a_leader_move_in_between_are_followed(begin: Begin, double: Double):
    write(begin, {LEFT: b"10", RIGHT: b"20"})
    txn = begin(False)
    for number in range(1, 10):
        txn.put(b"account-%d" % number, b"new")
    double.split(encoded(b"account-2"), encoded(b"account-4"))
    double.move_leader(encoded(b"account-9"), double.leader_of(encoded(b"account-9")) % 3 + 1)
    txn.commit()
    assert read(begin, *(b"account-%d" % number for number in range(1, 10))) == [b"new"] * 9


def test_locks_of_a_dead_transaction_go_with_its_primary(begin: Begin, double: Double):
    """Its primary was never committed: what it wrote never was."""
    write(begin, {LEFT: b"10", RIGHT: b"20"})
    double.fault("status", method="KvCommit", code="CANCELLED", count=None)
    double.fault("status", method="KvBatchRollback", code="CANCELLED", count=None)
    with pytest.raises((ClientError, TikvFailed)):
        write(begin, {LEFT: b"0", RIGHT: b"30"})
    double.command("clear_faults")
    assert len(double.command("locks")) == 2
    double.command("expire_locks")
    assert read(begin, LEFT, RIGHT) == [b"10", b"20"]


@pytest.fixture
def ours(throwaway_pki: Pki) -> Iterator[tuple[Double, TransactionClient]]:
    context = client_context(throwaway_pki.tls(), protocols=("h2",))
    tls = throwaway_pki.tls("host")
    with (
        Double(tls=tls, split_at=[encoded(b"account-5")]) as double,
        TransactionClient(double.pds, context, deadline_s=60) as client,
    ):
        yield double, client


def committed(client: TransactionClient, pairs: dict[bytes, bytes]):
    with client.begin() as txn:
        for key, value in pairs.items():
            txn.put(key, value)
        return txn.commit()


def test_a_commit_whose_answer_is_lost_is_unknown_and_whole(ours):
    double, client = ours
    double.fault("drop_connection", method="KvCommit", after=True)
    assert committed(client, {LEFT: b"1", RIGHT: b"2"}).outcome == UNKNOWN
    with client.begin() as txn:  # the lock that stayed on RIGHT is asked for at its primary
        assert [txn.get(key).needed() for key in (RIGHT, LEFT)] == [b"2", b"1"]


def test_a_commit_that_never_came_is_unknown_and_then_nothing(ours):
    double, client = ours
    double.fault("drop_connection", method="KvCommit")
    assert committed(client, {LEFT: b"1", RIGHT: b"2"}).outcome == UNKNOWN
    double.command("expire_locks")
    with client.begin() as txn:
        assert [txn.get(key).needed() for key in (RIGHT, LEFT)] == [None, None]


@pytest.mark.parametrize("after", [False, True])
def test_a_lost_prewrite_is_failed_and_nothing_stays(ours, after):
    double, client = ours
    double.fault("drop_connection", method="KvPrewrite", after=after)
    assert committed(client, {LEFT: b"1", RIGHT: b"2"}).outcome == FAILED
    assert double.command("locks") == []
    with client.begin() as txn:
        assert txn.get(LEFT).needed() is None


def test_whoever_waits_for_a_lock_says_so_and_gives_up_in_time(ours, throwaway_pki: Pki):
    double, client = ours
    context = client_context(throwaway_pki.tls(), protocols=("h2",))
    with (
        TransactionClient(double.pds, context, deadline_s=2) as hasty,
        client.begin(pessimistic=True) as holds,
        hasty.begin(pessimistic=True) as waits,
    ):
        assert holds.get_for_update(LEFT).outcome == OK
        refused = waits.get_for_update(LEFT)
        assert (refused.outcome, refused.cause) == (FAILED, "timeout")
        assert "is locked by transaction" in refused.text
        holds.rollback()
        assert waits.get_for_update(LEFT).outcome == OK


@KINDS
def test_nobody_loses_an_update_of_others(ours, throwaway_pki: Pki, pessimistic):
    double, _ = ours
    context = client_context(throwaway_pki.tls(), protocols=("h2",))

    def count_up(times: int) -> int:
        done = 0
        with TransactionClient(double.pds, context) as client:
            while done < times:
                with client.begin(pessimistic=pessimistic) as txn:
                    look = txn.get_for_update if pessimistic else txn.get
                    value = look(LEFT).needed()
                    txn.put(LEFT, b"%d" % (int(value or b"0") + 1)).needed()
                    done += txn.commit().outcome == OK
        return done

    with ThreadPoolExecutor(3) as pool:
        total = sum(pool.map(count_up, [15, 15, 15]))
    with TransactionClient(double.pds, context) as client, client.begin() as txn:
        assert txn.get(LEFT).needed() == b"%d" % total


def test_money_is_neither_made_nor_lost_while_everything_goes_wrong(ours):
    double, client = ours
    accounts = [b"account-%d" % number for number in range(10)]
    assert committed(client, dict.fromkeys(accounts, b"100")).outcome == OK
    for kind, method, after in (
        ("drop_connection", "KvPrewrite", True),
        ("drop_connection", "KvCommit", True),
        ("drop_connection", "KvCommit", False),
        ("server_is_busy", "KvPrewrite", False),
        ("not_leader", "KvCommit", False),
        ("epoch_not_match", "KvGet", False),
    ):
        double.fault(kind, method=method, after=after, count=None, share=0.08)
    random, outcomes = Random(1), []
    for turn in range(60):
        payer, payee = random.sample(accounts, 2)
        outcomes.append(moved(client, payer, payee))
        if turn == 20:
            double.split(encoded(b"account-3"))
        if outcomes[-1] == UNKNOWN:
            double.command("expire_locks")
    double.command("clear_faults")
    assert outcomes.count(OK) > 20
    assert {FAILED, UNKNOWN} <= set(outcomes)
    with client.begin() as txn:
        assert sum(int(txn.get(account).needed()) for account in accounts) == 1000


def moved(client: TransactionClient, payer: bytes, payee: bytes) -> str:
    """Move one coin; how it ended."""
    with client.begin() as txn:
        held = [txn.get(key) for key in (payer, payee)]
        if any(result.outcome != OK for result in held):
            return FAILED
        mine, theirs = (int(result.needed()) for result in held)
        txn.put(payer, b"%d" % (mine - 1))
        txn.put(payee, b"%d" % (theirs + 1))
        return txn.commit().outcome
