"""What the page calls things, and what each target promises. Data and one small function.

Promises are those of the targets' own documents, for the configuration that soakbed deploys.
"""

from __future__ import annotations

from dataclasses import dataclass

from soakbed.records.spec import RunSpec

__all__ = [
    "CONSEQUENCES",
    "DIFFERENCES",
    "INKS",
    "KEPT",
    "MARK_PATHS",
    "MODES",
    "OPERATIONS",
    "SYMBOLS",
    "TARGET_WORDS",
    "Ink",
    "VERDICTS",
    "TargetWords",
    "promise",
]

OPERATIONS = {"read": "Read", "write": "Write"}
MODES = {
    "open": "open loop: sent when due, whether or not earlier replies had come",
    "closed": "closed loop: each connection sends when its last reply has come",
}
# The word of a difference, as it is said of the contender.
DIFFERENCES = {
    "better": "better",
    "worse": "worse",
    "same": "same within noise",
    "cannot_tell": "cannot tell",
    "not_comparable": "not comparable",
}
CONSEQUENCES = {
    "not_comparable": "not comparable",
    "caveat": "caveat",
    "noted": "noted",
    "same": "the same",
}


# Of one target of one cell of a campaign.
VERDICTS = {
    "valid": "valid",
    "invalid": "invalid",
    "incomplete": "incomplete",
    "not_measured": "not measured",
    "failed": "failed",
    "left": "not yet pressed",
}


# Whether a target kept its word, and of each check.
KEPT = {
    "ok": "ok",
    "violation": "violation",
    "unknown": "unknown",
    "not_promised": "not promised",
    "skipped": "skipped",
}


@dataclass(frozen=True, slots=True)
class Ink:
    """One colour, on light and on dark paper."""

    light: str
    dark: str


# Found by search for the greatest least distance (OKLab) between any two as seen with full colour
# vision and with protan-, deuter- and tritanopia (Machado 2009), each 3:1 against its paper; a test
# keeps both. Where there are more contenders than colours, the marks tell them apart.
INKS = (
    Ink("#4c6ca5", "#73bbfb"),
    Ink("#b2331f", "#bd5b3a"),
    Ink("#33a285", "#a9f4c2"),
    Ink("#6e209c", "#a156d9"),
    Ink("#c08422", "#e59919"),
    Ink("#103e51", "#7397a7"),
)
# Marks by plotly's names, as paths in a box of 12 by 12 for legends and tables.
MARK_PATHS = {
    "circle": "M6 1a5 5 0 1 0 0 10a5 5 0 1 0 0-10z",
    "square": "M1.5 1.5h9v9h-9z",
    "triangle-up": "M6 .8 11.4 10.6H.6z",
    "diamond": "M6 .3 11.2 6 6 11.7.8 6z",
    "cross": "M4.2 1h3.6v3.2H11v3.6H7.8V11H4.2V7.8H1V4.2h3.2z",
    "star": "M6 .4 7.5 4.4l4.2.2-3.3 2.6 1.1 4.1L6 8.9 2.5 11.3l1.1-4.1L.3 4.6l4.2-.2z",
    "triangle-down": "M6 11.2.6 1.4h10.8z",
}
SYMBOLS = tuple(MARK_PATHS)


@dataclass(frozen=True, slots=True)
class TargetWords:
    """How one target is written; `ink` is its colour where targets are what differs."""

    label: str
    short_promise: str
    promise: str
    ink: int


TARGET_WORDS = {
    "etcd": TargetWords(
        label="etcd",
        short_promise="linearizable, majority on disk",
        promise="Linearizable reads and writes (strict serializability). A write is acknowledged "
        "once a majority of members has it on disk; an acknowledged write survives the loss of "
        "any minority. One Raft group.",
        ink=0,
    ),
    "redis_cluster": TargetWords(
        label="Redis Cluster",
        short_promise="asynchronous, acknowledged writes can be lost",
        promise="Asynchronous replication. A write is acknowledged by its master alone, so "
        "acknowledged writes may be lost at failover or in a partition; reads from masters. "
        "{appendfsync}",
        ink=1,
    ),
    "tikv": TargetWords(
        label="TiKV",
        short_promise="linearizable per key, majority on disk",
        promise="Raw operations on one key (API V1, without a time to live) are linearizable: the "
        "leader of the key's region answers reads under its lease. A write is acknowledged once a "
        "majority of the region's Raft group has synced it to its Raft log; an acknowledged write "
        "survives the loss of any minority. Many Raft groups: raw operations promise nothing "
        "across keys. Transactions are not measured here.",
        ink=2,
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
