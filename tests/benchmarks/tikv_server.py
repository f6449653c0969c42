"""The double of PD and TiKV as a server of engine-bench: clients are measured on it, never TiKV."""

from __future__ import annotations

from dataclasses import dataclass, field

from loadgen.keyspace import key_bytes
from tests.benchmarks.throwaway import Pki
from tests.tikv_double import Double

__all__ = ["REGIONS", "STORES", "TikvDouble"]

STORES = 3
REGIONS = 12


@dataclass
class TikvDouble:
    """Mutual TLS, three stores, the plan's keys in regions of the same size."""

    core: int
    pki: Pki
    prefix: str
    keys: int
    served_by: str
    _double: Double = field(init=False)

    def __post_init__(self) -> None:
        edges = [key_bytes(self.prefix, self.keys * at // REGIONS) for at in range(1, REGIONS)]
        self._double = Double(
            stores=STORES,
            tls=self.pki.tls("host"),
            split_at=edges,
            core=self.core,
            served_by=self.served_by,
        )

    @property
    def endpoint(self) -> str:
        """address:port of PD."""
        return self._double.pds[0]

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._double.start()

    def stop(self, *, kill: bool = False) -> None:
        """End it."""
        self._double.stop()
