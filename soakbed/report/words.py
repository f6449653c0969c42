"""What the page calls things, and what each target promises. Data and one small function.

Promises are those of the targets' own documents, for the configuration that soakbed deploys.
"""

from __future__ import annotations

from dataclasses import dataclass

from soakbed.records.spec import RunSpec

__all__ = ["MODES", "OPERATIONS", "TARGET_WORDS", "TargetWords", "promise"]

OPERATIONS = {"read": "Read", "write": "Write"}
MODES = {
    "open": "open loop: sent when due, whether or not earlier replies had come",
    "closed": "closed loop: each connection sends when its last reply has come",
}


@dataclass(frozen=True, slots=True)
class TargetWords:
    """How one target is written and drawn. Colours keep apart for colour-blind readers too."""

    label: str
    short_promise: str
    promise: str
    light: str
    dark: str


TARGET_WORDS = {
    "etcd": TargetWords(
        label="etcd",
        short_promise="linearizable, majority on disk",
        promise="Linearizable reads and writes (strict serializability). A write is acknowledged "
        "once a majority of members has it on disk; an acknowledged write survives the loss of "
        "any minority. One Raft group.",
        light="#1f6fb2",
        dark="#6cb2ee",
    ),
    "redis_cluster": TargetWords(
        label="Redis Cluster",
        short_promise="asynchronous, acknowledged writes can be lost",
        promise="Asynchronous replication. A write is acknowledged by its master alone, so "
        "acknowledged writes may be lost at failover or in a partition; reads from masters. "
        "{appendfsync}",
        light="#c4492b",
        dark="#f58b6c",
    ),
    "tikv": TargetWords(
        label="TiKV",
        short_promise="linearizable per key, majority on disk",
        promise="Raw operations on one key (API V1, without a time to live) are linearizable: the "
        "leader of the key's region answers reads under its lease. A write is acknowledged once a "
        "majority of the region's Raft group has synced it to its Raft log; an acknowledged write "
        "survives the loss of any minority. Many Raft groups: raw operations promise nothing "
        "across keys. Transactions are not measured here.",
        light="#23825b",
        dark="#5fc79a",
    ),
}

_APPENDFSYNC = {
    "always": "appendfsync always, as declared: the master's log is synced before the reply.",
    "everysec": "appendfsync everysec, as declared: a master that loses power loses up to about "
    "two seconds of acknowledged writes.",
    "no": "appendfsync no, as declared: the system decides when the log reaches the disk.",
}


def promise(target: str, spec: RunSpec) -> str:
    """What `target` promises as this run configured it."""
    return TARGET_WORDS[target].promise.format(appendfsync=_APPENDFSYNC[spec.appendfsync])
