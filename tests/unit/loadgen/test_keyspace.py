"""Keys, their popularity, and values that say where they belong."""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.contract.plan import Keyspace, Popularity
from loadgen.keyspace import ID_BYTES, Codes, Values, engine_number, key_bytes

KINDS = ["uniform", "zipf", "hot_set"]


def codes(keys=1000, kind="uniform", count=20_000, read_share=0.5, second=0, **how) -> list[int]:
    keyspace = Keyspace(keys, "/bench/", Popularity(kind=kind))
    how = {"seed": 1, "rank": 0, "stream": "s", **how}
    return list(
        islice(chain.from_iterable(Codes(keyspace, read_share, **how).chunks(second)), count)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_sequence(kind):
    assert codes(kind=kind) == codes(kind=kind)


@pytest.mark.parametrize("other", [{"seed": 2}, {"rank": 1}, {"stream": "t"}, {"second": 1}])
def test_seed_rank_stream_and_second_each_set_sequences_apart(other):
    assert codes() != codes(**other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keys", [1, 2, 3, 7, 1000])
def test_every_key_drawn_exists(kind, keys):
    assert all(0 <= code >> 1 < keys for code in codes(kind=kind, keys=keys, count=2000))


@pytest.mark.parametrize("read_share", [0.0, 0.25, 0.5, 0.95, 1.0])
def test_reads_have_their_share(read_share):
    drawn = codes(read_share=read_share)
    reads = sum(not code & 1 for code in drawn)
    assert reads / len(drawn) == pytest.approx(read_share, abs=0.02)


def test_uniform_draws_every_key_about_as_often():
    counts = Counter(code >> 1 for code in codes(keys=10, count=50_000))
    assert len(counts) == 10
    assert all(count == pytest.approx(5000, rel=0.1) for count in counts.values())


def test_zipf_draws_its_keys_by_rank_to_the_power_of_minus_theta():
    counts = [
        n for _, n in Counter(c >> 1 for c in codes(kind="zipf", count=100_000)).most_common()
    ]
    harmonic = sum(rank**-0.99 for rank in range(1, 1001))
    assert counts[0] / 100_000 == pytest.approx(1 / harmonic, rel=0.05)
    assert counts[9] / 100_000 == pytest.approx(10**-0.99 / harmonic, rel=0.12)


def test_a_hot_set_gets_its_share_of_the_traffic():
    counts = Counter(code >> 1 for code in codes(kind="hot_set", count=50_000))
    hottest = sum(count for _, count in counts.most_common(50))
    assert hottest / 50_000 == pytest.approx(0.95, abs=0.01)


def test_popular_keys_do_not_lie_side_by_side():
    hottest = [key for key, _ in Counter(c >> 1 for c in codes(kind="zipf")).most_common(5)]
    assert all(abs(one - other) > 1 for one in hottest for other in hottest if one != other)


def test_a_value_belongs_to_its_own_key_and_to_no_other():
    values = Values("/bench/", 1024, rank=3)
    value = values.identity(42) + values.filler
    assert len(value) == 1024
    assert values.belongs(42, value)
    assert not values.belongs(43, value)


@given(size=st.integers(ID_BYTES, 4096), at=st.integers(0, 4095))
def test_a_value_with_one_byte_changed_in_key_or_filler_is_known_as_corrupt(size, at):
    values = Values("/bench/", size, rank=0)
    value = bytearray(values.identity(7) + values.filler)
    at %= size
    value[at] ^= 0x80
    in_id = 14 <= at < ID_BYTES  # rank and sequence differ from value to value
    assert values.belongs(7, bytes(value)) is in_id


def test_a_value_cut_short_or_too_long_is_corrupt():
    values = Values("/bench/", 64, rank=0)
    value = values.identity(7) + values.filler
    assert not values.belongs(7, value[:-1])
    assert not values.belongs(7, value + b"0")


def test_no_two_values_of_a_run_are_alike():
    by_rank = [Values("/bench/", 64, rank=rank) for rank in range(3)]
    made = [values.identity(1) for values in by_rank for _ in range(100)]
    assert len(set(made)) == len(made)


def test_a_second_session_recognises_what_the_first_one_wrote():
    first, second = (Values("/bench/", 256, rank=rank) for rank in (0, 5))
    assert second.belongs(9, first.identity(9) + first.filler)


def test_all_keys_are_equally_long():
    assert {len(key_bytes("/bench/", number)) for number in (0, 9, 10**11)} == {19}


def test_the_id_of_a_value_is_read_back_and_nothing_else_has_one():
    values = Values("/bench/", 64, rank=7, engine=2)
    written = values.identity(42) + values.filler
    assert values.id_of(42, written) == 7 * 10**14 + 2 * 10**11 + 1
    assert values.sequence_in(b"a head" + written + b"xy", 6 + 64) == 2 * 10**11 + 1
    for foreign in (b"", written[:-1], written + b"x", written.replace(b"s0", b"sx"), bytes(64)):
        assert values.id_of(42, foreign) == -1
    assert values.id_of(43, written) == -1


def test_no_two_engines_of_a_rank_write_the_same_ids_in_a_run():
    sessions = ["fill", "capacity", *(f"knee-{step}" for step in range(1, 40)), "steady"]
    numbers = [engine_number(session, attempt) for session in sessions for attempt in range(10)]
    numbers += [engine_number("steady", attempt) for attempt in range(10, 500)]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 1000
