#!/usr/bin/python
"""Waits until all stores are up, splits the key space into regions, and spreads their leaders."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.member_report import ended, report
from ansible.module_utils.pd_api import OPTIONS, SPLIT_TIMEOUT_S, NotYet, Pd, pd_of

DOCUMENTATION = r"""
module: pd_cluster
short_description: Split a TiKV key space and spread its leaders, evenly and provably
description:
  - A fresh cluster is one region with one leader, and a short benchmark would measure one host.
  - Each step looks before it acts, so it can be repeated from any half-done state.
  - Fails when a store leads more or fewer regions than its even share and the tolerance allow.
  - With O(spread) off it only looks, as after a load, which may have split regions of its own.
options:
  unit: {type: str, required: true, description: The local store's unit, for the report.}
  endpoints: {type: list, elements: str, required: true, description: Where PD answers.}
  ca: {type: path, required: true, description: The CA's certificate.}
  cert: {type: path, required: true, description: A certificate of that CA.}
  key: {type: path, required: true, description: Its key.}
  stores: {type: list, elements: str, required: true, description: Address and port of every store.}
  key_prefix: {type: str, required: true, description: What every key begins with.}
  keys: {type: int, required: true, description: How many keys there are.}
  regions: {type: int, required: true, description: Regions to split them into.}
  tolerance: {type: int, default: 1, description: Leaders that a store may be off its share.}
  replicas: {type: int, default: 3, description: Replicas of each region.}
  evict: {type: str, default: "", description: A store that is to lead nothing; it is restarted.}
  spread: {type: bool, default: true, description: Split and spread, and insist on the outcome.}
  timeout_s: {type: int, default: 120, description: How long each wait may take.}
author: [soakbed]
"""
EXAMPLES = r"""
- name: The key space is split and spread
  pd_cluster:
    unit: soakbed-tikv.service
    endpoints: [10.83.17.11:2479]
    ca: /etc/soakbed/pki/ca.crt
    cert: /etc/soakbed/pki/admin.crt
    key: /etc/soakbed/pki/admin.key
    stores: [10.83.17.11:20160]
    key_prefix: "bench:"
    keys: 20000
    regions: 24
"""
RETURN = r"""
did: {type: list, returned: always, description: What was changed.}
soakbed: {type: dict, returned: success, description: Regions and who leads how many, topic spread.}
"""

POLL_S = 0.2
KEY_DIGITS = 12
# PD looks a minute for the regions of one call; TiKV makes a hundred in a second or two.
KEYS_PER_CALL = 100
# Regions that are spread together: PD counts leaders within a group only.
GROUP = "soakbed"


def split_keys(prefix: str, keys: int, regions: int) -> list[str]:
    """Where regions after the first begin, at even distances, in the hex that PD takes."""
    numbers = sorted({i * keys // regions for i in range(1, regions)} - {0})
    return [f"{prefix}{number:0{KEY_DIGITS}d}".encode().hex() for number in numbers]


def moves(leaders: dict[int, int], regions: dict[int, list[int]], stores: list[int]) -> dict:
    """Region -> store whose leader it becomes, so that stores lead evenly; as few as will do.

    `leaders`: region -> store now; `regions`: region -> stores that have a replica of it;
    `stores`: those that are to lead, the others give up what they have.
    """
    held = Counter(dict.fromkeys(stores, 0) | Counter(leaders.values()))
    highest = math.ceil(len(leaders) / len(stores))
    lowest = len(leaders) // len(stores)
    chosen: dict[int, int] = {}
    for region, store in sorted(leaders.items()):
        able = [other for other in regions[region] if other in stores]
        if not able:
            continue
        poorest = min(able, key=lambda other: (held[other], other))
        uneven = held[store] > highest or held[poorest] < lowest
        if store not in stores or (uneven and held[store] - held[poorest] > 1):
            chosen[region] = poorest
            held[store] -= 1
            held[poorest] += 1
    return chosen


class Cluster:
    """PD's view of the cluster, and what was done to it."""

    def __init__(self, pd: Pd, given: dict, alive: Callable[[], None]) -> None:
        self.pd, self.given, self.alive = pd, given, alive
        self.did: list[str] = []

    def bring_about(self) -> dict:
        """Everything, step by step. Returns what came of it."""
        stores = self.wait(self.up)
        self.wait(self.replicated)
        if not self.given["spread"]:
            return self.wait(lambda: self.placement(stores))
        if missing := self.wait(self.missing):
            self.split(missing)
            self.wait(self.all_split)
            self.wait(self.replicated)
            self.scatter()
        leading = {id_: place for id_, place in stores.items() if place != self.given["evict"]}
        self.wait(lambda: self.spread(leading))
        return self.wait(lambda: self.placement(leading))

    def up(self) -> dict[int, str]:
        """Id and address of every store; raises NotYet unless exactly those asked for are Up."""
        rows = [row["store"] for row in self.pd.ask("/stores")["stores"]]
        found = {row["id"]: row["address"] for row in rows}
        if strangers := sorted(set(found.values()) - set(self.given["stores"])):
            raise NotYet(f"PD knows stores {', '.join(strangers)} besides; wipe them all")
        if absent := sorted(set(self.given["stores"]) - set(found.values())):
            raise NotYet(f"stores not registered: {', '.join(absent)}")
        away = [f"{row['address']} is {row['state_name']}" for row in rows]
        if away := [line for line in away if not line.endswith(" is Up")]:
            raise NotYet("; ".join(away))
        return found

    def regions(self) -> list[dict]:
        """Every region that PD knows."""
        return self.pd.ask("/regions").get("regions") or []

    def replicated(self) -> None:
        """Raise NotYet unless every region has a leader and all its replicas, none behind."""
        rows = self.regions()
        if not rows:
            raise NotYet("PD knows no region yet")
        for row in rows:
            voters = [peer for peer in row.get("peers", []) if not peer.get("is_learner")]
            if len(voters) != self.given["replicas"]:
                wanted = self.given["replicas"]
                raise NotYet(f"region {row['id']} has {len(voters)} of {wanted} replicas")
            if not (row.get("leader") or {}).get("store_id"):
                raise NotYet(f"region {row['id']} has no leader")
            if row.get("down_peers") or row.get("pending_peers"):
                raise NotYet(f"region {row['id']} has a replica that is down or behind")

    def missing(self) -> list[str]:
        """Split keys at which no region begins yet."""
        given = self.given
        begins = {row["start_key"].lower() for row in self.regions()}
        wanted = split_keys(given["key_prefix"], given["keys"], given["regions"])
        return [key for key in wanted if key not in begins]

    def all_split(self) -> None:
        """Raise NotYet unless a region begins at every split key."""
        if left := self.missing():
            raise NotYet(f"{len(left)} of {self.given['regions'] - 1} splits are not done")

    def split(self, keys: list[str]) -> None:
        """Split at these keys; those that are split already do no harm."""
        for first in range(0, len(keys), KEYS_PER_CALL):
            part = keys[first : first + KEYS_PER_CALL]
            body = {"split_keys": part, "retry_limit": 5}
            said = self.pd.ask("/regions/split", body, timeout_s=SPLIT_TIMEOUT_S)
            self.did.append(f"split at {len(part)} keys: {said['processed-percentage']} %")

    def scatter(self) -> None:
        """Let PD lay replicas and leaders apart; what is left uneven, `spread` evens out."""
        ids = [row["id"] for row in self.regions()]
        body = {"regions_id": ids, "group": GROUP, "retry_limit": 5}
        said = self.pd.ask("/regions/scatter", body, timeout_s=SPLIT_TIMEOUT_S)
        self.did.append(f"scattered {len(ids)} regions: {said['processed-percentage']} %")

    def spread(self, stores: dict[int, str]) -> None:
        """Move leaders until every store leads its share; raises NotYet while any is on its way."""
        if under_way := self.pd.ask("/operators"):
            raise NotYet(f"{len(under_way)} moves are under way")
        self.replicated()
        rows = self.regions()
        leaders = {row["id"]: row["leader"]["store_id"] for row in rows}
        replicas = {row["id"]: [peer["store_id"] for peer in row["peers"]] for row in rows}
        chosen = moves(leaders, replicas, sorted(stores))
        for region, store in chosen.items():
            body = {"name": "transfer-leader", "region_id": region, "to_store_id": store}
            self.pd.ask("/operators", body)
            self.did.append(f"region {region} is led by {stores[store]}")
        if chosen:
            raise NotYet(f"{len(chosen)} leaders are to move")

    def placement(self, stores: dict[int, str]) -> dict:
        """Who leads how many. Raises NotYet when a store is further off than the tolerance."""
        self.all_split()
        led = Counter(row["leader"]["store_id"] for row in self.regions())
        counts = {stores[store]: led[store] for store in sorted(stores)}
        total, share = sum(counts.values()), sum(counts.values()) / len(counts)
        for place, count in counts.items():
            if self.given["spread"] and abs(count - share) > self.given["tolerance"]:
                raise NotYet(
                    f"{place} leads {count} of {total} regions, its share is {share:.1f} "
                    f"and {self.given['tolerance']} more or less is allowed"
                )
        return {"regions": total, "leaders": counts}

    def wait(self, look: Callable) -> object:
        """Repeat a look until it no longer raises NotYet, or time is up."""
        until = time.monotonic() + self.given["timeout_s"]
        while True:
            try:
                return look()
            except (NotYet, OSError) as reason:
                if time.monotonic() > until:
                    raise NotYet(f"after {self.given['timeout_s']} s: {reason}") from reason
            self.alive()
            time.sleep(POLL_S)


def main() -> None:
    """Run as a module."""
    more = {
        "stores": {"type": "list", "elements": "str", "required": True},
        "key_prefix": {"type": "str", "required": True},
        "keys": {"type": "int", "required": True},
        "regions": {"type": "int", "required": True},
        "tolerance": {"type": "int", "default": 1},
        "replicas": {"type": "int", "default": 3},
        "evict": {"type": "str", "default": ""},
        "spread": {"type": "bool", "default": True},
    }
    module = AnsibleModule(argument_spec=OPTIONS | more)
    given = module.params

    def alive() -> None:
        if gone := ended([given["unit"]]):
            raise RuntimeError(f"{', '.join(gone)} has ended")

    cluster = Cluster(pd_of(given), given, alive)
    try:
        spread = cluster.bring_about()
    except (NotYet, RuntimeError) as reason:
        told = report([given["unit"]])
        module.fail_json(msg=f"TiKV is not ready: {reason}\n{told}", did=cluster.did)
    module.exit_json(changed=bool(cluster.did), did=cluster.did, soakbed={"spread": spread})


if __name__ == "__main__":
    main()
