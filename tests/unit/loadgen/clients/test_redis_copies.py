"""Who is in a Redis Cluster, and digests of slots, without a server."""

import random
from contextlib import suppress

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.clients.redis_digest import SlotDigests, digests_of
from loadgen.clients.redis_members import read_members
from loadgen.engine.outcome import TargetProtocolError

MASTER, REPLICA = "a" * 40, "b" * 40
LINES = f"""\
{MASTER} 10.0.0.1:6379@16379 myself,master - 0 0 1 connected 0-5460 5462 [93->-{REPLICA}]
{REPLICA} fd00::2:6379@16379,host slave,fail {MASTER} 0 0 1 disconnected
{"c" * 40} :0@0 master,noaddr - 0 0 2 disconnected
"""


def test_members_are_read_with_their_masters_slots_and_flags():
    master, replica = read_members(LINES, asked="10.0.0.1:6379")
    assert (master.endpoint, master.of) == ("10.0.0.1:6379", "")
    assert master.slots == ((0, 5460), (5462, 5462))
    assert (replica.endpoint, replica.of, replica.slots) == ("[fd00::2]:6379", MASTER, ())
    assert "fail" in replica.flags


def test_a_member_that_does_not_know_its_own_address_is_where_it_was_asked():
    (member,) = read_members(f"{MASTER} :7000@17000 myself,master - 0 0 1 connected",
                             asked="10.0.0.9:7000")  # fmt: skip
    assert member.endpoint == "10.0.0.9:7000"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("nonsense", id="too few words"),
        pytest.param(f"{MASTER} 10.0.0.1@1 master - 0 0 1 connected", id="no port"),
        pytest.param(f"{MASTER} 10.0.0.1:1@2 master - 0 0 1 connected 5-16384", id="slot too far"),
        pytest.param(f"{MASTER} 10.0.0.1:1@2 master - 0 0 1 connected 9-5", id="range backwards"),
    ],
)
def test_what_is_no_list_of_members_is_refused(text):
    with pytest.raises(TargetProtocolError):
        read_members(text, asked="10.0.0.1:6379")


@given(st.text())
def test_no_text_breaks_the_reader(text):
    with suppress(TargetProtocolError):
        read_members(text, asked="10.0.0.1:6379")


PAIRS = st.dictionaries(st.binary(max_size=8), st.binary(max_size=8), max_size=8)


@given(PAIRS, PAIRS)
def test_slots_are_equal_exactly_if_they_hold_the_same_in_whatever_order(one, other):
    made = []
    for held in (one, other):
        digests = SlotDigests()
        pairs = list(held.items())
        random.shuffle(pairs)
        for key, value in pairs:
            digests.add(7, key, value)
        made.append(digests)
    assert (made[0].digest(range(8)) == made[1].digest(range(8))) == (one == other)
    assert made[0].differs(made[1], range(16)) == ([] if one == other else [7])


class FakeMember:
    """Answers as a member that holds these keys: slot -> key -> value."""

    def __init__(self, held):
        self.held = held
        self.most = 0

    def ask(self, commands, *, until):
        self.most = max(self.most, len(commands))
        return [self.answer(words) for words in commands]

    def one(self, *words, until):
        return self.answer(words)

    def answer(self, words):
        slot = self.held.get(int(words[2]), {}) if words[0] == b"CLUSTER" else {}
        if words[1] == b"COUNTKEYSINSLOT":
            return len(slot)
        if words[1] == b"GETKEYSINSLOT":
            return list(slot)[: int(words[3])]
        found = next((has[words[1]] for has in self.held.values() if words[1] in has), None)
        if words[0] == b"GET" and found == b"a list":
            return hiredis.ReplyError("WRONGTYPE Operation against a key")
        return found


def test_every_key_of_every_slot_is_read_and_one_that_is_no_string_too():
    held = {3: {b"k%d" % n: b"v%d" % n for n in range(2500)}, 9: {b"l": b"a list"}}
    member = FakeMember(held)
    digests = digests_of(member, range(16384), until=0, value_bytes=16384)
    assert (digests.keys[3], digests.keys[9], sum(digests.keys)) == (2500, 1, 2501)
    assert member.most <= 1000
    held[9][b"l"] = b"b list"
    other = digests_of(FakeMember(held), range(16384), until=0, value_bytes=1)
    assert digests.differs(other, range(16384)) == [9]


def test_a_member_that_refuses_to_tell_is_no_empty_one():
    class Refusing(FakeMember):
        def answer(self, words):
            return hiredis.ReplyError("NOPERM no permissions")

    with pytest.raises(TargetProtocolError, match="NOPERM"):
        digests_of(Refusing({}), range(4), until=0, value_bytes=1)
