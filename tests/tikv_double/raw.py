"""What the raw commands do once a region is found, in API V1 without TTL."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from tests.tikv_double.cluster import Cluster, Region
from tests.tikv_double.messages import errorpb, kvrpcpb
from tests.tikv_double.refusals import Refused, entry_too_large, key_not_in_region

__all__ = ["RAW", "READS", "answer_class"]

MAX_KEY_BYTES = 8 * 1024  # storage.max-key-size
MAX_ENTRY_BYTES = 8 * 1024 * 1024  # raftstore.raft-entry-max-size


def answer_class(method: str) -> type:
    """RawGet -> RawGetResponse, and the one that is called otherwise."""
    return getattr(kvrpcpb, f"{method.replace('CompareAndSwap', 'CAS')}Response")


def _write(region: Region, keys: Iterable[bytes], size: int = 0) -> None:
    """What every write passes: its size when proposed, its keys when applied."""
    if size > MAX_ENTRY_BYTES:
        raise entry_too_large(region, size)
    for key in keys:
        if not region.holds(key):
            raise key_not_in_region(region, key)


def _too_long(*keys: bytes) -> str:
    for key in keys:
        if len(key) > MAX_KEY_BYTES:
            return f"max key size exceeded, size: {len(key)}, limit: {MAX_KEY_BYTES}"
    return ""


def _outside(region: Region, key: bytes) -> str:
    """A read of a key that lies elsewhere is an error in words, not a region error."""
    return (
        ""
        if region.holds(key)
        else f"key {key.hex().upper()} is not in region key range of region {region.id}"
    )


def _get(cluster: Cluster, region: Region, ask: Any) -> Any:
    if error := _outside(region, ask.key):
        return kvrpcpb.RawGetResponse(error=error)
    value = cluster.data.get(ask.key)
    return kvrpcpb.RawGetResponse(value=value, not_found=value is None)


def _batch_get(cluster: Cluster, region: Region, ask: Any) -> Any:
    pairs = []
    for key in ask.keys:
        if error := _outside(region, key):
            pairs.append(kvrpcpb.KvPair(error=kvrpcpb.KeyError(abort=error)))
        elif key in cluster.data:
            pairs.append(kvrpcpb.KvPair(key=key, value=cluster.data[key]))
    return kvrpcpb.RawBatchGetResponse(pairs=pairs)


def _put(cluster: Cluster, region: Region, ask: Any) -> Any:
    if error := _too_long(ask.key) or (
        "ttl is not enabled, but get put request with ttl" if ask.ttl else ""
    ):
        return kvrpcpb.RawPutResponse(error=error)
    _write(region, [ask.key], len(ask.key) + len(ask.value))
    cluster.put(ask.key, ask.value)
    return kvrpcpb.RawPutResponse()


def _batch_put(cluster: Cluster, region: Region, ask: Any) -> Any:
    keys = [pair.key for pair in ask.pairs]
    if error := _too_long(*keys):
        return kvrpcpb.RawBatchPutResponse(error=error)
    _write(region, keys, sum(len(pair.key) + len(pair.value) for pair in ask.pairs))
    for pair in ask.pairs:
        cluster.put(pair.key, pair.value)
    return kvrpcpb.RawBatchPutResponse()


def _delete(cluster: Cluster, region: Region, ask: Any) -> Any:
    if error := _too_long(ask.key):
        return kvrpcpb.RawDeleteResponse(error=error)
    _write(region, [ask.key])
    cluster.delete(ask.key)
    return kvrpcpb.RawDeleteResponse()


def _batch_delete(cluster: Cluster, region: Region, ask: Any) -> Any:
    if error := _too_long(*ask.keys):
        return kvrpcpb.RawBatchDeleteResponse(error=error)
    _write(region, ask.keys)
    for key in ask.keys:
        cluster.delete(key)
    return kvrpcpb.RawBatchDeleteResponse()


def _delete_range(cluster: Cluster, region: Region, ask: Any) -> Any:
    if error := _too_long(ask.start_key, ask.end_key):
        return kvrpcpb.RawDeleteRangeResponse(error=error)
    if ask.end_key and ask.start_key >= ask.end_key:
        raise Refused("invalid_range", errorpb.Error(message="invalid delete range command"))
    _write(region, [ask.start_key])
    if region.end and (not ask.end_key or ask.end_key > region.end):
        raise key_not_in_region(region, ask.end_key)
    for key in cluster.between(ask.start_key, ask.end_key):
        cluster.delete(key)
    return kvrpcpb.RawDeleteRangeResponse()


def _scan(cluster: Cluster, region: Region, ask: Any) -> Any:
    """Stays within the region; backwards, `start_key` is the upper bound and not in it."""
    low, high = (ask.end_key, ask.start_key) if ask.reverse else (ask.start_key, ask.end_key)
    inside = region.start <= ask.start_key and (not region.end or ask.start_key <= region.end)
    if not inside or (ask.reverse and not ask.start_key):
        error = kvrpcpb.KeyError(abort=_outside(region, ask.start_key) or "seek before every key")
        return kvrpcpb.RawScanResponse(kvs=[kvrpcpb.KvPair(error=error)])
    if region.end and (not high or high > region.end):
        high = region.end
    keys = cluster.between(max(low, region.start), high)
    keys = list(reversed(keys))[: ask.limit] if ask.reverse else keys[: ask.limit]
    return kvrpcpb.RawScanResponse(
        kvs=[
            kvrpcpb.KvPair(key=key, value=b"" if ask.key_only else cluster.data[key])
            for key in keys
        ]
    )


def _compare_and_swap(cluster: Cluster, region: Region, ask: Any) -> Any:
    if error := _too_long(ask.key):
        return kvrpcpb.RawCASResponse(error=error)
    _write(region, [ask.key], len(ask.key) + len(ask.value))
    value = cluster.data.get(ask.key)
    wanted = None if ask.previous_not_exist else ask.previous_value
    if value == wanted:
        cluster.put(ask.key, ask.value)
    return kvrpcpb.RawCASResponse(
        succeed=value == wanted, previous_not_exist=value is None, previous_value=value
    )


def _checksum(cluster: Cluster, region: Region, ask: Any) -> Any:
    """By exclusive or over the pairs, as TiKV's; of what each pair gives any 64 bits will do."""
    checksum = kvs = size = 0
    for wanted in ask.ranges:
        for key in cluster.between(wanted.start_key, wanted.end_key):
            value = cluster.data[key]
            checksum ^= int.from_bytes(blake2b(key + value, digest_size=8).digest(), "big")
            kvs, size = kvs + 1, size + len(key) + len(value)
    return kvrpcpb.RawChecksumResponse(checksum=checksum, total_kvs=kvs, total_bytes=size)


# What a store may serve that does not lead, when it is asked for a replica read.
READS = ("RawGet", "RawBatchGet", "RawScan", "RawChecksum")
RAW = {
    "RawChecksum": _checksum,
    "RawGet": _get,
    "RawBatchGet": _batch_get,
    "RawPut": _put,
    "RawBatchPut": _batch_put,
    "RawDelete": _delete,
    "RawBatchDelete": _batch_delete,
    "RawDeleteRange": _delete_range,
    "RawScan": _scan,
    "RawCompareAndSwap": _compare_and_swap,
}
