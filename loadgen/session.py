"""The folder of one session on a load host: what lies where, and what this host is to do.

`soakbed` makes it with plan.json and session.json; the units started on it fill the rest.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loadgen.contract.plan import Plan

__all__ = ["HostShare", "SessionFolder"]


@dataclass(frozen=True, slots=True)
class HostShare:
    """What one load host does of a session, session.json.

    `units`: the systemd units that the session has here, master first, for a start after a reboot.
    Ports are on loopback; `web_port` 0 means no page. `engine` is the module of the engine. The
    master listens on `rpc_port` of the first load host, the tunnels of all others on their own.
    """

    ranks: tuple[int, ...]
    rpc_port: int = 5557  # as role load_host has it: a tunnel's key opens this port and no other
    web_port: int = 0
    engine: str = "loadgen.engine"
    units: tuple[str, ...] = ()


class SessionFolder:
    """Paths of one session, and the two files that say what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan_file = path / "plan.json"
        self.share_file = path / "session.json"
        self.locust = path / "locust"

    def plan(self) -> Plan:
        """The plan. Raises ValueError or TypeError when it is not one of this version."""
        return Plan.read(self.plan_file)

    def share(self) -> HostShare:
        """What this host does. Raises TypeError on unknown keys."""
        data: dict[str, Any] = json.loads(self.share_file.read_text())
        lists = {name: tuple(data.get(name, ())) for name in ("ranks", "units")}
        return HostShare(**{**data, **lists})

    def write_share(self, share: HostShare) -> None:
        """Write session.json."""
        self.share_file.write_text(json.dumps(asdict(share)) + "\n")

    def spool(self, rank: int) -> Path:
        """Where the engine of `rank` appends its windows."""
        return self.path / f"worker-{rank}.spool"

    def clock(self, rank: int) -> Path:
        """When each phase began, as the engine of `rank` notes it."""
        return self.path / f"clock-{rank}.json"

    def totals(self, rank: int) -> Path:
        """Locust's totals of `rank` up to the last hour that was read to its end."""
        return self.path / f"totals-{rank}.json"

    def lock(self, rank: int) -> Path:
        """Held by the engine of `rank` as long as it lives: how many were before, and its id."""
        return self.path / f"engine-{rank}.lock"

    @property
    def stop_asked(self) -> Path:
        """There when somebody asked the session to stop; nothing is begun again then."""
        return self.path / "stop"

    def progress(self, rank: int) -> Path:
        """The newest window of `rank` in a few numbers, for those who look in."""
        return self.path / f"progress-{rank}.json"

    def engine_log(self, rank: int) -> Path:
        """What the engine of `rank` wrote to its standard error."""
        return self.locust / f"engine-{rank}.log"

    def log(self, name: str) -> Path:
        """Locust's own log of `name`: "master" or "worker-<rank>"."""
        return self.locust / f"{name}.log"
