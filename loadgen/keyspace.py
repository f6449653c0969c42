"""Which keys are asked for, and what is written under them; all from the plan's seed.

One operation is one number, its *code*: key number times two, plus one for a write. The loop
only ever takes the next code; everything random happens here, a small chunk at a time.
"""

from __future__ import annotations

from array import array
from bisect import bisect
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from itertools import accumulate, count
from math import gcd
from random import Random

from loadgen.contract.plan import Keyspace, Popularity
from loadgen.contract.value_ids import FOREIGN

__all__ = [
    "CHUNK",
    "Codes",
    "Digits",
    "ID_BYTES",
    "KEY_DIGITS",
    "Values",
    "engine_number",
    "key_bytes",
]

# Codes are drawn this many at a time: 20 us for uniform, 80 us for zipf, so that drawing never
# shows as lag of the event loop (one pass of a busy loop is 300 us).
CHUNK = 256

KEY_DIGITS = 12
KEPT_DIGITS = 100_000

# "k" + key number (12) + "w" + rank (4) + "s" + sequence (14) at the front of every value.
SEQUENCE_DIGITS = 14
ID_BYTES = 1 + KEY_DIGITS + 1 + 4 + 1 + SEQUENCE_DIGITS
_RANK_AT, _SEQUENCE_AT = 1 + KEY_DIGITS + 1, 1 + KEY_DIGITS + 1 + 4
# 72 h at 385,000 writes a second; the sequence has room for a thousand engines one after the other.
IDS_PER_ENGINE = 10**11
# Of those thousand the first 500 are of the session "steady", which goes on after a crash; then
# come ten each of the sessions before it.
STEADY_ENGINES, ENGINES_PER_SESSION = 500, 10


def key_bytes(prefix: str, number: int) -> bytes:
    """The key as the target sees it; all keys of a plan are equally long."""
    return b"%b%012d" % (prefix.encode(), number)


def engine_number(session: str, attempt: int) -> int:
    """Which of its rank's engines in the whole run this is, 0 to 999: whose ids it writes.

    `attempt` counts the engines of one session. The sessions of a run are "fill", "capacity",
    "knee-1" and on, and "steady" (soakbed.stages.load_plan).
    """
    if session == "steady":
        return attempt % STEADY_ENGINES
    step = session.removeprefix("knee-")
    place = {"fill": 0, "capacity": 1}.get(session, 2 + int(step) % 47 if step.isdecimal() else 49)
    return STEADY_ENGINES + place * ENGINES_PER_SESSION + attempt % ENGINES_PER_SESSION


class Codes:
    """The codes of one worker in one phase: an endless stream of its own from each second on.

    `stream` sets phases apart, so that the measured phase does not replay its own warm-up. The
    same seed, rank, stream and second give the same codes, whatever was drawn before.
    """

    def __init__(
        self, keyspace: Keyspace, read_share: float, *, seed: int, rank: int, stream: str
    ) -> None:
        self._draw = _drawer(keyspace.keys, keyspace.popularity)
        self._read_share = read_share
        self._name = f"codes/{seed}/{rank}/{stream}"

    def chunks(self, second: int = 0) -> Iterator[list[int]]:
        """Chunks of `CHUNK` codes without end, as they are from this second of the phase on."""
        random = Random(f"{self._name}/{second}")
        draw, uniform, read_share = self._draw, random.random, self._read_share
        while True:
            yield [(key << 1) | (uniform() >= read_share) for key in draw(random)]


def _drawer(keys: int, popularity: Popularity) -> Callable[[Random], list[int]]:
    """A function that draws one chunk of key numbers."""
    if popularity.kind == "zipf":
        return partial(_draw_zipf, keys, _zipf_weights(keys, popularity.theta))
    if popularity.kind == "hot_set":
        hot = max(1, round(keys * popularity.hot_keys_share))
        return partial(_draw_hot, keys, hot, popularity.hot_traffic_share)
    return partial(_draw_uniform, keys)


def _draw_uniform(keys: int, random: Random) -> list[int]:
    uniform = random.random
    return [int(uniform() * keys) for _ in range(CHUNK)]


def _zipf_weights(keys: int, theta: float) -> array[float]:
    """Running sums of 1 / rank^theta: exact, 8 bytes a key, made once before the load."""
    return array("d", accumulate(rank**-theta for rank in range(1, keys + 1)))


def _spread(keys: int) -> int:
    """A multiplier prime to `keys`, near the golden section of it.

    Popular ranks times this, modulo `keys`, lie far apart, so that the hot keys do not share
    one region of a target that splits its key space by range.
    """
    step = max(1, int(keys * 0.6180339887))
    while gcd(step, keys) != 1:
        step += 1
    return step


def _draw_zipf(keys: int, weights: array[float], random: Random) -> list[int]:
    uniform, total, step, last = random.random, weights[-1], _spread(keys), keys - 1
    return [bisect(weights, uniform() * total, 0, last) * step % keys for _ in range(CHUNK)]


def _draw_hot(keys: int, hot: int, traffic_share: float, random: Random) -> list[int]:
    """`traffic_share` of the draws fall on the `hot` keys, the rest on all the others."""
    uniform, step, cold = random.random, _spread(keys), keys - hot
    ranks = (
        int(uniform() * hot)
        if cold == 0 or uniform() < traffic_share
        else hot + int(uniform() * cold)
        for _ in range(CHUNK)
    )
    return [rank * step % keys for rank in ranks]


class Digits(dict[int, bytes]):
    """Key number -> its digits, made once per key for the first `KEPT_DIGITS` keys asked for.

    A look-up costs a sixth of formatting the number anew (42 ns, 271 ns); 100,000 keys take 10 MB.
    """

    def __missing__(self, key: int) -> bytes:
        made = b"%012d" % key
        if len(self) < KEPT_DIGITS:
            self[key] = made
        return made


class Values:
    """What is written: an id that no other write of the run has, the key's number, and filler.

    The filler comes from the key prefix, not from the seed, so that a second session of the
    run recognises what the first one wrote.
    """

    __slots__ = ("digits", "filler", "marker", "next_number", "value_bytes")

    def __init__(self, prefix: str, value_bytes: int, *, rank: int, engine: int = 0) -> None:
        """`engine`: which one of its rank this is (`engine_number`); each has ids of its own."""
        self.value_bytes = value_bytes
        self.filler = _filler(prefix, value_bytes - ID_BYTES)
        self.digits = Digits()
        # The engine's own requests count as key -1: these digits reach into the filler, so that
        # nothing a target answers to them can be taken for a value.
        self.digits[-1] = bytes(ID_BYTES)
        # A value is "k" + digits + marker + number + filler; the encoders write it in one piece.
        self.marker = b"w%04ds" % rank
        self.next_number = count(engine % 1000 * IDS_PER_ENGINE + 1).__next__

    def identity(self, key: int) -> bytes:
        """The front of the next value for `key`; the whole value is this plus `filler`."""
        return b"k%b%b%014d" % (self.digits[key], self.marker, self.next_number())

    def sequence_in(self, message: bytes, end: int) -> int:
        """The sequence in the id of a value that ends at `end` of a request of ours."""
        end -= len(self.filler)
        return int(message[end - SEQUENCE_DIGITS : end])

    def id_of(self, key: int, value: bytes) -> int:
        """Rank times 10^14 plus the sequence, unique in the run; -1 for what was not written under
        `key` by this run.
        """
        written = value[_RANK_AT:_SEQUENCE_AT] + value[_SEQUENCE_AT + 1 : ID_BYTES]
        if not self.belongs(key, value) or value[_SEQUENCE_AT : _SEQUENCE_AT + 1] != b"s":
            return FOREIGN
        return int(written) if written.isdigit() else FOREIGN

    def belongs(self, key: int, value: bytes) -> bool:
        """Whether `value` can be something that was written under `key` by this run."""
        return (
            value.startswith(b"k" + self.digits[key] + b"w")
            and len(value) == self.value_bytes
            and value.endswith(self.filler)
        )


def _filler(prefix: str, size: int) -> bytes:
    """Letters that do not compress to nothing, the same for all workers and sessions."""
    made = b""
    block = 0
    while len(made) < size:
        made += blake2b(f"{prefix}/{block}".encode()).hexdigest().encode()
        block += 1
    return made[:size]
