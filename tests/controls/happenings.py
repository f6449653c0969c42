"""What can happen to an operation at the scripted server, and what the engine must call it.

The names are the script's words. `CAUSE_OF` is written from design.md D7 and the servers' own
documentation, not from the engine's tables: it is what those tables are held against.
"""

from __future__ import annotations

__all__ = ["CAUSE_OF", "GRPC_STATUS", "LIES", "REDIRECTS", "REGION_ERROR", "RESP_ERROR"]

REDIRECTS = ("moved", "ask")

# What a store does that breaks its word and looks well: a read of what was there before the last
# write, a write that is acknowledged and never applied. word -> which operations. Where the key
# holds no older version yet, nothing happens.
LIES = {"stale": "read", "lost": "write"}

# RESP error replies by the script's word.
RESP_ERROR = {
    "down": b"CLUSTERDOWN The cluster is down",
    "loading": b"LOADING Redis is loading the dataset in memory",
    "again": b"TRYAGAIN Multiple keys request during rehashing of slot",
    "memory": b"OOM command not allowed when used memory > 'maxmemory'.",
    "replica": b"READONLY You can't write against a read only replica.",
    "snapshot": b"MISCONF Redis is configured to save RDB snapshots",
    "forbidden": b"NOPERM this user has no permissions to run the command",
    "strange": b"ERR something nobody has heard of",
}

# gRPC status and message by the script's word.
GRPC_STATUS = {
    "down": (14, "etcdserver: no leader"),
    "again": (8, "etcdserver: too many requests"),
    "memory": (8, "etcdserver: mvcc: database space exceeded"),
    "slow_raft": (14, "etcdserver: request timed out"),
    "forbidden": (7, "etcdserver: permission denied"),
    "strange": (2, "something nobody has heard of"),
}

# TiKV's region errors that end an operation, by the script's word (kvproto's errorpb.proto).
REGION_ERROR = {
    "again": "server_is_busy",
    "memory": "disk_full",
    "large": "raft_entry_too_large",
    "flashback": "FlashbackInProgress",
}

# word -> (outcome, cause) that the engine must report, by protocol.
_BOTH = {
    "missing": ("failed", "missing"),
    "corrupt": ("failed", "corrupt"),
    "silent": ("unknown", "timeout"),
    "reset": ("unknown", "connection"),
    "close": ("unknown", "connection"),
    "half": ("unknown", "connection"),
    "garbage": ("unknown", "protocol"),
}
CAUSE_OF = {
    "resp": {
        **_BOTH,
        "down": ("failed", "cluster_down"),
        "loading": ("failed", "busy"),
        "again": ("failed", "busy"),
        "memory": ("failed", "no_space"),
        "replica": ("failed", "read_only"),
        "snapshot": ("failed", "read_only"),
        "forbidden": ("failed", "auth"),
        "strange": ("failed", "other"),
    },
    "grpc": {
        **_BOTH,
        "down": ("unknown", "cluster_down"),
        "again": ("failed", "busy"),
        "memory": ("unknown", "no_space"),
        "slow_raft": ("unknown", "timeout"),
        "forbidden": ("failed", "auth"),
        "strange": ("unknown", "other"),
        "refused": ("failed", "busy"),
    },
    "tikv": {
        **_BOTH,
        "again": ("failed", "busy"),
        "memory": ("failed", "no_space"),
        "large": ("failed", "other"),
        "flashback": ("failed", "cluster_down"),
        "down": ("unknown", "cluster_down"),
        "forbidden": ("failed", "auth"),
        "strange": ("unknown", "other"),
        "refused": ("failed", "busy"),
    },
}
