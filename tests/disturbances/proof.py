"""The whole proof: a soak on a testbed of its own, what befalls it, and what is left in the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.disturbances.course import Fault, undergo
from tests.disturbances.evidence import redis_counts
from tests.disturbances.faults import Disturbance
from tests.disturbances.findings import Left
from tests.disturbances.local_host import LocalHost
from tests.disturbances.small_disk import small_disk
from tests.disturbances.soak import Soak

__all__ = ["TARGET", "Proof"]

TARGET = "redis_cluster"
DISK_BYTES = 48 << 20
# The session itself, then fetching, collecting, wiping and the page.
ENDS_WITHIN_S = 240
WORKLOAD: dict[str, Any] = {
    "schema": 1,
    "name": "survives",
    "keys": 2000,
    "value_bytes": 256,
    "read_share": 0.5,
    "connections": 6,
    "timeout_ms": 5000,
    "seed": 7,
    "arrivals": "constant",
    "steady_share_of_capacity": 0.03,
}


class Proof:
    """A soak of `lasts_s` seconds on the testbed of `testbed_file`, which must be up."""

    def __init__(self, folder: Path, testbed_file: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        spec = json.loads(testbed_file.read_text())
        self.hosts = {name: host["address"] for name, host in spec["hosts"].items()}
        self.members = [a for name, a in self.hosts.items() if name.startswith("d")]
        self.state = Path(environment["SOAKBED_STATE"]) / spec["name"]
        load_host = LocalHost(spec["name"], "l1", self.hosts["l1"])
        workload = folder / "survives.yaml"
        log = folder / "controllers.log"
        self.soak = Soak(testbed_file, workload, environment, load_host, log, target=TARGET)

    def undergo(
        self, faults: Sequence[Fault], *, lasts_s: int, say: Callable[[str], None] = print
    ) -> Left:
        """Press, disturb, wait for the end, and gather what is left. Nothing runs on after it."""
        soak = self.soak
        phases = {"warmup_s": 1, "capacity_s": 4, "settle_s": 1, "steady_s": lasts_s}
        soak.workload_file.write_text(yaml.safe_dump({**WORKLOAD, "phases": phases}))
        with (
            small_disk(soak.load_host, size_bytes=DISK_BYTES) as disk,
            soak.ended_whatever_happens(),
        ):
            soak.controller(
                *("soak", "--targets", TARGET, "--testbed", str(soak.testbed_file)),
                *("--workload", str(soak.workload_file)),
            )
            began_s = soak.wait_for_steady()
            story = undergo(soak, disk, faults, began_s=began_s, say=say)
            soak.wait_for_end(within_s=lasts_s + ENDS_WITHIN_S)
            left = self._left(story)
            code = soak.wait_for_controller(within_s=ENDS_WITHIN_S)
            # 7: what was done to it is told on the page, and no figure for anybody.
            assert code in (0, 7), f"soakbed ended with {code}:\n{soak.said()}"
        return left

    def _left(self, story: Sequence[Disturbance]) -> Left:
        """Taken while the members still run: the controller wipes them later."""
        counted = redis_counts(self.members, self.state)
        kept: dict[str, Path] = {}
        for name in ("capacity", "steady"):
            session = self.soak.session(name)
            assert session is not None, f"session {name} is on the load host"
            kept[name] = self.folder / "kept" / name
            shutil.copytree(session, kept[name])
        return Left(self.soak.run(), TARGET, kept, story, counted)
