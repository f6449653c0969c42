"""What TiKV's region errors say (errorpb.proto of kvproto): follow, or how the operation ended.

A request is sent again only after an error that the store gives before it proposes anything, or
for a read. client-go and client-rust send more of them again; they are idempotent, and we count.
"""

from __future__ import annotations

from typing import NamedTuple

from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.pd_messages import Peer, RegionFound, peer_of, region_of
from loadgen.engine.protobuf import Fields, as_bytes, fields_of
from loadgen.keyspace import KEY_DIGITS

__all__ = ["RawReply", "Verdict", "raw_reply", "verdict_on"]

NOT_LEADER, REGION_NOT_FOUND, KEY_NOT_IN_REGION, EPOCH_NOT_MATCH = 2, 3, 4, 5
SERVER_IS_BUSY, STALE_COMMAND, STORE_NOT_MATCH, RAFT_ENTRY_TOO_LARGE = 6, 7, 8, 9
MAX_TIMESTAMP_NOT_SYNCED, READ_INDEX_NOT_READY, PROPOSAL_IN_MERGING_MODE = 10, 11, 12
DATA_IS_NOT_READY, REGION_NOT_INITIALIZED, DISK_FULL, RECOVERY_IN_PROGRESS = 13, 14, 15, 16
FLASHBACK_IN_PROGRESS, FLASHBACK_NOT_PREPARED, IS_WITNESS, MISMATCH_PEER_ID = 17, 18, 19, 20
BUCKET_VERSION_NOT_MATCH, UNDETERMINED_RESULT = 21, 22

MAX_TOLD = 64  # regions in one EpochNotMatch


class Verdict(NamedTuple):
    """What to learn from an error, and how the operation ends; without `lost` it goes on.

    It goes where `leader` or `regions` say, or later: after PD was asked if `stale`.
    `store_moved`: another store answers at the address that was asked.
    """

    leader: Peer | None = None
    regions: tuple[RegionFound, ...] = ()
    stale: bool = False
    store_moved: bool = False
    lost: Lost | None = None


# TiKV 6.5 says it in words alone, newer ones as MismatchPeerId; both before anything else.
_OTHER_PEER = b"mismatch peer id"

_LATER = Verdict()
_STALE = Verdict(stale=True)

# The store did not propose it: nothing can come of the request.
_FOLLOWED = {
    KEY_NOT_IN_REGION: _STALE,
    MAX_TIMESTAMP_NOT_SYNCED: _LATER,
    READ_INDEX_NOT_READY: _LATER,
    PROPOSAL_IN_MERGING_MODE: _LATER,
    DATA_IS_NOT_READY: _LATER,
    REGION_NOT_INITIALIZED: _STALE,
    RECOVERY_IN_PROGRESS: _LATER,
    IS_WITNESS: _STALE,
    MISMATCH_PEER_ID: _STALE,
}

# Given to waiting proposals too, when a peer is destroyed or loses its lead: a write may yet be
# applied. Reads of these go on.
_MAYBE_APPLIED = {REGION_NOT_FOUND: _STALE, STALE_COMMAND: _LATER, UNDETERMINED_RESULT: _LATER}

_FINAL = {
    SERVER_IS_BUSY: Lost(FAILED, "busy"),
    RAFT_ENTRY_TOO_LARGE: Lost(FAILED, "other"),
    DISK_FULL: Lost(FAILED, "no_space"),
    # The region serves nothing until it is over, which no client can wait for.
    FLASHBACK_IN_PROGRESS: Lost(FAILED, "cluster_down"),
    FLASHBACK_NOT_PREPARED: Lost(FAILED, "other"),
    BUCKET_VERSION_NOT_MATCH: Lost(FAILED, "other"),
}


class RawReply(NamedTuple):
    """A reply of the raw API. None: the field is not there; `pairs` by the digits of the key."""

    region_error: bytes | None
    error: bytes
    value: bytes | None
    pairs: dict[bytes, bytes]


def raw_reply(message: bytes, *, batch_of_reads: bool) -> RawReply:
    """Read one: field 2 is an error's text, but of RawBatchGet it is a pair, of which many come.

    Raises TargetProtocolError on damage.
    """
    fields = Fields(message)
    region_error = fields.data(1) if 1 in fields else None
    if batch_of_reads:
        return RawReply(region_error, b"", None, _pairs(message))
    value = fields.data(3) if 3 in fields else None
    if fields.number(4):  # not_found
        value = None
    return RawReply(region_error, fields.data(2), value, {})


def _pairs(message: bytes) -> dict[bytes, bytes]:
    """Digits of a key -> its value; what tells of an error instead has an empty one."""
    found = {}
    for number, pair in fields_of(message):
        if number == 2:
            fields = Fields(pair)
            found[fields.data(2)[-KEY_DIGITS:]] = b"" if 1 in fields else fields.data(3)
    return found


def verdict_on(region_error: bytes, *, write: bool) -> Verdict:
    """What to do about an errorpb.Error. Raises TargetProtocolError on damage."""
    fields = Fields(region_error)
    kinds = [number for number in fields if NOT_LEADER <= number <= UNDETERMINED_RESULT]
    if len(kinds) > 1:
        raise TargetProtocolError("an error of two kinds")
    kind = kinds[0] if kinds else 0
    if kind == NOT_LEADER:
        leader = peer_of(Fields(fields.data(kind)).data(2))
        return Verdict(leader=leader) if leader.id else _STALE
    if kind == EPOCH_NOT_MATCH:
        current = fields_of(fields.data(kind))
        told = [region_of(as_bytes(value)) for number, value in current if number == 1]
        return Verdict(regions=tuple(told[:MAX_TOLD]), stale=not told)
    if kind == STORE_NOT_MATCH:
        return Verdict(stale=True, store_moved=True)
    if kind in _FOLLOWED:
        return _FOLLOWED[kind]
    if kind in _MAYBE_APPLIED:
        verdict = _MAYBE_APPLIED[kind]
        return verdict._replace(lost=Lost(UNKNOWN, "other")) if write else verdict
    if not kind and fields.data(1).startswith(_OTHER_PEER):
        return _STALE
    # An error of no kind that we know says nothing about whether the write was proposed.
    unsaid = Lost(UNKNOWN if write else FAILED, "other")
    return Verdict(stale=kind not in _FINAL, lost=_FINAL.get(kind, unsaid))
