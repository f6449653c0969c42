"""What an acknowledged operation means, per target: said beside every figure that is compared.

From the targets' own documents, for the configuration that soakbed deploys (design.md D8). Two
guarantees that read alike are alike; anything else is unlike and is said, never ranked.
"""

from __future__ import annotations

from soakbed.records.spec import TargetName

__all__ = ["LABELS", "guarantees"]

LABELS: dict[TargetName, str] = {
    "etcd": "etcd",
    "redis_cluster": "Redis Cluster",
    "tikv": "TiKV",
}

_MAJORITY = "acknowledged once a majority has it on disk; survives the loss of any minority"
_LEADER = "linearizable"
_PROMISES: dict[TargetName, dict[str, str]] = {
    "etcd": {"read": _LEADER, "write": _MAJORITY},
    "tikv": {"read": f"{_LEADER}, per key", "write": _MAJORITY},
    "redis_cluster": {
        "read": "from the master of the key's slot; may be lost again at failover",
        "write": "acknowledged by its master alone and replicated later; may be lost at failover",
    },
}
_APPENDFSYNC = {
    "always": "the master's log is synced before the reply",
    "everysec": "a master that loses power loses up to about two seconds of them",
    "no": "the system decides when the master's log reaches the disk",
}


def guarantees(target: TargetName, appendfsync: str) -> dict[str, str]:
    """Operation ("read", "write") -> what `target` promises; `appendfsync` is that of Redis.

    >>> guarantees("etcd", "no")["read"]
    'linearizable'
    """
    told = dict(_PROMISES[target])
    if target == "redis_cluster":
        synced = _APPENDFSYNC.get(appendfsync, f"appendfsync {appendfsync}")
        told["write"] += f"; {synced}"
    return told
