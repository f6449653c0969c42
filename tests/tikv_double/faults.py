"""What goes wrong on command: the rules, and which of them meets a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.tikv_double.cluster import Cluster, Region
from tests.tikv_double.messages import errorpb, kvrpcpb
from tests.tikv_double.raw import RAW
from tests.tikv_double.refusals import (
    Refused,
    entry_too_large,
    epoch_not_match,
    key_not_in_region,
    not_leader,
    server_is_busy,
)
from tests.tikv_double.txn import TXN_METHODS

__all__ = ["KINDS", "PD_METHODS", "REGION_ERRORS", "Fault", "Faults", "refusal"]

# Region errors that carry nothing, or nothing but the region.
PLAIN = (
    "RecoveryInProgress",
    "data_is_not_ready",
    "disk_full",
    "max_timestamp_not_synced",
    "proposal_in_merging_mode",
    "read_index_not_ready",
    "region_not_found",
    "region_not_initialized",
    "stale_command",
    "store_not_match",
)
REGION_ERRORS = (
    *PLAIN,
    "epoch_not_match",
    "key_not_in_region",
    "message_only",
    "not_leader",
    "raft_entry_too_large",
    "server_is_busy",
)
ANYWHERE = ("drop_connection", "hang", "stall", "status")  # PD's methods, too
KINDS = (*REGION_ERRORS, *ANYWHERE, "key_error")
PD_METHODS = (
    "AllocID",
    "GetAllStores",
    "GetMembers",
    "GetPrevRegion",
    "GetRegion",
    "GetRegionByID",
    "GetStore",
    "IsBootstrapped",
    "ScanRegions",
    "ScatterRegion",
    "SplitRegions",
)


@dataclass
class Fault:
    """One rule: `kind` meets the next `count` requests (None: all), or a `share` of them.

    `after` means that the command is applied first and the answer is what goes wrong.
    """

    kind: str
    method: str = ""  # of TiKV or PD; empty: every raw command
    store: int | None = None
    count: int | None = 1
    share: float = 1.0
    after: bool = False
    backoff_ms: int = 0  # server_is_busy
    stall_s: float = 0.0  # stall
    hint: int | None = None  # not_leader: the store that is named; None names nobody
    regions: bool = True  # epoch_not_match: with the regions as they are
    text: str = ""
    code: str = "UNAVAILABLE"  # status: gRPC's name
    met: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault {self.kind!r}, only {', '.join(KINDS)}")
        known = (*RAW, *TXN_METHODS, *PD_METHODS)
        if self.method and self.method not in known:
            raise ValueError(f"no method {self.method!r}, only {', '.join(known)}")
        if self.method in PD_METHODS and self.kind not in ANYWHERE:
            raise ValueError(f"PD knows no {self.kind}, only {', '.join(ANYWHERE)}")


@dataclass
class Faults:
    """The rules in force, oldest first; one request meets at most one."""

    rules: list[Fault] = field(default_factory=list)
    _random: Random = field(default_factory=lambda: Random(1))

    def meet(self, method: str, store: int | None, *, default: bool = True) -> Fault | None:
        """The rule that this request meets; `default` is whether unnamed methods are meant."""
        for rule in self.rules:
            if rule.method != method and (rule.method or not default):
                continue
            if rule.store not in (None, store) or self._random.random() >= rule.share:
                continue
            rule.met += 1
            if rule.count is not None and rule.met >= rule.count:
                self.rules.remove(rule)
            return rule
        return None


def refusal(rule: Fault, cluster: Cluster, context: kvrpcpb.Context, ask: Any) -> Refused:
    """The region error of a rule."""
    region = cluster.by_id(context.region_id) or cluster.regions[0]
    key = getattr(ask, "key", b"")
    made = {
        "epoch_not_match": lambda: epoch_not_match(
            cluster, region, context, with_regions=rule.regions
        ),
        "key_not_in_region": lambda: key_not_in_region(region, key),
        "message_only": lambda: Refused(
            "message_only", errorpb.Error(message=rule.text or "TiKV is Closing")
        ),
        "not_leader": lambda: not_leader(region, rule.hint),
        "raft_entry_too_large": lambda: entry_too_large(region, ask.ByteSize()),
        "server_is_busy": lambda: server_is_busy(rule.text or "scheduler is busy", rule.backoff_ms),
    }.get(rule.kind)
    return made() if made else _plain(rule.kind, region)


def _plain(kind: str, region: Region) -> Refused:
    error = errorpb.Error(message=kind.replace("_", " "))
    inner = getattr(error, kind)
    inner.SetInParent()
    if "region_id" in type(inner).DESCRIPTOR.fields_by_name:
        inner.region_id = region.id
    return Refused(kind, error)
