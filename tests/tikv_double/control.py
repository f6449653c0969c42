"""The commands of the control channel: one JSON object a line in, one out.

`{"do": "split", "keys": ["6d"]}`; keys and values are hex. An answer has "ok", or "error".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from time import monotonic
from typing import Any

from tests.tikv_double.cluster import Cluster
from tests.tikv_double.counters import Counters
from tests.tikv_double.faults import Fault, Faults
from tests.tikv_double.pd_service import Members
from tests.tikv_double.servers import Servers

__all__ = ["Control"]


class Control:
    """Carries out commands on the cluster; each `do_` method is one."""

    def __init__(
        self,
        cluster: Cluster,
        members: Members,
        servers: Servers,
        faults: Faults,
        counters: Counters,
    ) -> None:
        self.cluster = cluster
        self.members = members
        self.servers = servers
        self.faults = faults
        self.counters = counters

    async def run(self, command: dict[str, Any]) -> dict[str, Any]:
        """One command; what was wrong with it is the answer, too."""
        words = dict(command)
        method: Callable[..., Awaitable[Any]] | None
        method = getattr(self, f"do_{words.pop('do', '')}", None)
        if method is None:
            known = sorted(name[3:] for name in dir(self) if name.startswith("do_"))
            return {"error": f"no command {command.get('do')!r}, only {', '.join(known)}"}
        try:
            return {"ok": await method(**words)}
        except (KeyError, TypeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    # -- regions: `tell_pd` false leaves PD behind, as it is until the next heartbeat ---------

    def _changed(self, tell_pd: bool) -> list[dict[str, Any]]:
        if tell_pd:
            self.cluster.tell_pd()
        return self._regions()

    def _regions(self) -> list[dict[str, Any]]:
        return [
            {**asdict(region), "start": region.start.hex(), "end": region.end.hex()}
            for region in self.cluster.regions
        ]

    async def do_regions(self) -> Any:
        return self._regions()

    async def do_split(self, keys: list[str], tell_pd: bool = True) -> Any:
        for key in keys:
            self.cluster.split(bytes.fromhex(key))
        return self._changed(tell_pd)

    async def do_merge(self, key: str, tell_pd: bool = True) -> Any:
        self.cluster.merge(bytes.fromhex(key))
        return self._changed(tell_pd)

    async def do_move_leader(self, key: str, store: int | None, tell_pd: bool = True) -> Any:
        self.cluster.move_leader(bytes.fromhex(key), store)
        return self._changed(tell_pd)

    async def do_spread_leaders(self, tell_pd: bool = True) -> Any:
        self.cluster.spread_leaders()
        return self._changed(tell_pd)

    async def do_replace_peer(self, key: str, store: int, tell_pd: bool = True) -> Any:
        self.cluster.replace_peer(bytes.fromhex(key), store)
        return self._changed(tell_pd)

    async def do_tell_pd(self) -> Any:
        self.cluster.tell_pd()

    # -- servers -----------------------------------------------------------------------------

    async def do_stop_store(self, store: int, elect: bool = False, tell_pd: bool = True) -> Any:
        """Its port closes; with `elect` its regions get other leaders."""
        self.cluster.stores[store].up = False
        await self.servers.stop(f"store-{store}")
        if elect:
            self.cluster.elect_without(store)
        return self._changed(tell_pd)

    async def do_start_store(self, store: int) -> Any:
        self.cluster.stores[store].up = True
        await self.servers.start(f"store-{store}")

    async def do_stall_store(self, store: int, seconds: float) -> Any:
        """It takes requests in and answers none of them until then."""
        self.cluster.stores[store].stalled_until = monotonic() + seconds

    async def do_stop_pd(self, member: int, leader: int | None = None) -> Any:
        await self.servers.stop(f"pd-{member}")
        self.members.leader = leader

    async def do_start_pd(self, member: int) -> Any:
        await self.servers.start(f"pd-{member}")

    async def do_pd_leader(self, member: int | None) -> Any:
        if member is not None and member not in self.members.addresses:
            raise ValueError(f"no PD member {member}")
        self.members.leader = member

    # -- faults ------------------------------------------------------------------------------

    async def do_fault(self, **rule: Any) -> Any:
        self.faults.rules.append(Fault(**rule))

    async def do_clear_faults(self) -> Any:
        left = [asdict(rule) for rule in self.faults.rules]
        self.faults.rules.clear()
        return left

    # -- what came of it -----------------------------------------------------------------------

    async def do_counters(self, reset: bool = False) -> Any:
        counted = self.counters.to_json()
        if reset:
            self.counters.counts.clear()
        return counted

    async def do_values(self, start: str = "", end: str = "", limit: int = 1000) -> Any:
        """key -> value, both hex, in order."""
        keys = self.cluster.between(bytes.fromhex(start), bytes.fromhex(end))
        return {key.hex(): self.cluster.data[key].hex() for key in keys[:limit]}

    async def do_keys(self) -> Any:
        """How many keys there are."""
        return len(self.cluster.keys)

    async def do_writes(self) -> Any:
        """[key, front of the value, times applied]; a compare-and-swap that wrote counts, too."""
        return [
            [key.hex(), identity.hex(), times]
            for (key, identity), times in self.cluster.writes.items()
        ]

    async def do_locks(self) -> Any:
        """Keys that transactions have locked."""
        return sorted(key.hex() for key in self.cluster.mvcc.locks)

    async def do_expire_locks(self) -> Any:
        """As if every transaction that holds one had died long ago."""
        for lock in self.cluster.mvcc.locks.values():
            lock.ttl = 0

    async def do_lead_astray(self, store: int, key: str, value: str | None = None) -> Any:
        """One store's copy holds another value of a key, or none; reads of it see that."""
        told = None if value is None else bytes.fromhex(value)
        self.cluster.astray.setdefault(store, {})[bytes.fromhex(key)] = told

    async def do_load(self, pairs: dict[str, str]) -> Any:
        """Put keys and values there without any request."""
        for key, value in pairs.items():
            self.cluster.put(bytes.fromhex(key), bytes.fromhex(value))
        self.cluster.writes.clear()
