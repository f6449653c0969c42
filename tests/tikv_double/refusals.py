"""Whether a store may serve a request, as TiKV 6.5 checks it, and the error that it answers.

Order and errors follow `pre_propose_raft_command` of its raftstore: store, region, peer, leader,
epoch; a plain request is checked against the version alone, not against conf_ver.
"""

from __future__ import annotations

from google.protobuf.unknown_fields import UnknownFieldSet

from tests.tikv_double.cluster import Cluster, Region
from tests.tikv_double.messages import errorpb, kvrpcpb

__all__ = [
    "Refused",
    "admit",
    "entry_too_large",
    "epoch_not_match",
    "is_replica_read",
    "key_not_in_region",
    "not_leader",
    "server_is_busy",
]

MAX_REGIONS_IN_ERROR = 10
REPLICA_READ = 12


class Refused(Exception):
    """A region error; `kind` is its name in the counters."""

    def __init__(self, kind: str, error: errorpb.Error) -> None:
        super().__init__(f"{kind}: {error.message}")
        self.kind = kind
        self.error = error


def is_replica_read(context: kvrpcpb.Context) -> bool:
    """Context.replica_read, which the messages of `tikv-python` have dropped."""
    return any(one.field_number == REPLICA_READ and one.data for one in UnknownFieldSet(context))


def admit(
    cluster: Cluster, store: int, context: kvrpcpb.Context, *, replica_read: bool = False
) -> Region:
    """The region that the request is for. Raises Refused.

    A replica read is for any peer, once it has applied what its leader had committed.
    """
    if context.peer.store_id != store:
        raise _store_not_match(context.peer.store_id, store)
    region = cluster.by_id(context.region_id)
    peer = region.peer(store) if region else None
    if region is None or peer is None:
        raise _region_not_found(context.region_id)
    if context.peer.id != peer.id:
        text = f"mismatch peer id {context.peer.id} != {peer.id}"
        raise Refused("mismatch_peer_id", errorpb.Error(message=text))
    if region.leader != store and not replica_read:
        raise not_leader(region, region.leader)
    if not context.HasField("region_epoch"):
        raise Refused("missing_epoch", errorpb.Error(message="missing epoch!"))
    if context.region_epoch.version != region.version:
        raise epoch_not_match(cluster, region, context)
    return region


def _store_not_match(asked: int, mine: int) -> Refused:
    error = errorpb.Error(message=f"to store id {asked}, mine {mine}")
    error.store_not_match.request_store_id = asked
    error.store_not_match.actual_store_id = mine
    return Refused("store_not_match", error)


def _region_not_found(number: int) -> Refused:
    error = errorpb.Error(message=f"region {number} not found")
    error.region_not_found.region_id = number
    return Refused("region_not_found", error)


def not_leader(region: Region, hint: int | None) -> Refused:
    """With the leader's peer where it is known: `hint` is its store."""
    peer = region.peer(hint)
    error = errorpb.Error(
        message=f"peer is not leader for region {region.id}, leader may {peer or 'None'}"
    )
    error.not_leader.region_id = region.id
    if peer is not None:
        error.not_leader.leader.CopyFrom(peer)
    return Refused("not_leader", error)


def epoch_not_match(
    cluster: Cluster, region: Region, context: kvrpcpb.Context, *, with_regions: bool = True
) -> Refused:
    """With the region as it is, and its left neighbours that were probably split from it."""
    asked = context.region_epoch
    error = errorpb.Error(
        message=f"EpochNotMatch current epoch of region {region.id} is conf_ver: "
        f"{region.conf_ver} version: {region.version}, but you sent conf_ver: "
        f"{asked.conf_ver} version: {asked.version}"
    )
    error.epoch_not_match.SetInParent()
    if with_regions:
        found = [region]
        wanted = min(max(region.version - asked.version, 0), MAX_REGIONS_IN_ERROR)
        at = cluster.regions.index(region)
        found += reversed(cluster.regions[max(0, at - wanted) : at])
        error.epoch_not_match.current_regions.extend(each.meta() for each in found)
    return Refused("epoch_not_match", error)


def key_not_in_region(region: Region, key: bytes) -> Refused:
    """A write found, when applied, that its key lies elsewhere."""
    error = errorpb.Error(
        message=f"key {key.hex().upper()} is not in region key range "
        f"[{region.start.hex().upper()}, {region.end.hex().upper()}) for region {region.id}"
    )
    error.key_not_in_region.key = key
    error.key_not_in_region.region_id = region.id
    error.key_not_in_region.start_key = region.start
    error.key_not_in_region.end_key = region.end
    return Refused("key_not_in_region", error)


def entry_too_large(region: Region, size: int) -> Refused:
    """More than raft-entry-max-size in one command."""
    error = errorpb.Error(message=f"raft entry is too large, region {region.id}, entry size {size}")
    error.raft_entry_too_large.region_id = region.id
    error.raft_entry_too_large.entry_size = size
    return Refused("raft_entry_too_large", error)


def server_is_busy(reason: str, backoff_ms: int) -> Refused:
    """Flow control or a full scheduler; 6.5 seldom says how long to wait, so 0 is usual."""
    error = errorpb.Error(message=reason)
    error.server_is_busy.reason = reason
    error.server_is_busy.backoff_ms = backoff_ms
    return Refused("server_is_busy", error)
