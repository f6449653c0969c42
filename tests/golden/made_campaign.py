"""A campaign whose cells are made-up runs with effects that are known beforehand.

Four cells by an L4 of three factors: connections double the capacity of every target, value_bytes
make reads slower by half, and popularity does nothing at all.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from soakbed.archive.campaign_folder import CampaignFolder
from soakbed.records.campaign import Attempt, Campaign, CampaignSpec, Cell, CellState
from soakbed.records.spec import Phases, TestbedSpec
from soakbed.report.campaign_page import campaign_page
from soakbed.stages.campaign_plan import plan_campaign
from soakbed.stages.campaign_results import campaign_report_of
from soakbed.stages.campaign_times import overheads_of
from tests.golden.make_run import BEGAN_S, _write, make_run, spec_of
from tests.golden.pretences import ETCD, REDIS, Pretence
from tests.golden.recorded import judged

PHASES = {"warmup_s": 1, "capacity_s": 3, "settle_s": 1, "steady_s": 4}
CONTENT: dict[str, Any] = {
    "schema": 1,
    "name": "made-up",
    "targets": ["etcd", "redis_cluster"],
    "workload": {"keys": 20_000, "phases": PHASES},
    "factors": {
        "connections": [16, 64],
        "value_bytes": [256, 4096],
        "popularity": [{"kind": "uniform"}, {"kind": "zipf", "theta": 0.8}],
    },
    "design": "L4",
    "cool_down_s": 1,
}
# Sound on purpose: no generator at its limit, no core taken.
_CALM = {
    "core_taken_at_s": -1,
    "cpu_share": 0.3,
    "capacity_cpu_share": 0.5,
    "lag_us": 3.0,
    "stall_share": 0.0,
}
BASE = {
    "etcd": replace(ETCD, capacity_per_s=5000.0, **_CALM),
    "redis_cluster": replace(REDIS, capacity_per_s=2400.0, **_CALM),
}


def campaign_spec(**changed: Any) -> CampaignSpec:
    return CampaignSpec.model_validate({**CONTENT, **changed})


def made_testbed() -> TestbedSpec:
    return spec_of((ETCD,), Phases(), with_tikv=False).testbed


def pretence_of(cell: Cell, target: str) -> Pretence:
    """The target as this cell finds it; a repeat is faster by one percent than the one before."""
    base = BASE[target]
    luck = 1 + 0.01 * (cell.repeat - 2)
    many = 2.0 if cell.levels["connections"] == "64" else 1.0
    slow = 1.5 if cell.levels.get("value_bytes") == "4096" else 1.0
    return replace(base, capacity_per_s=base.capacity_per_s * many * luck, read_us=300.0 * slow)


def begun(results: Path, spec: CampaignSpec) -> CampaignFolder:
    """A campaign of which nothing was pressed."""
    testbed = made_testbed()
    plan = plan_campaign(spec, testbed, overheads=overheads_of(results, testbed, spec.targets))

    def make(campaign_id: str) -> Campaign:
        return Campaign(
            campaign_id=campaign_id,
            created_s=BEGAN_S,
            command="soakbed campaign run made-up.yaml",
            commit="0123456789abcdef",
            spec=spec,
            testbed=testbed,
            plan=plan,
            states=tuple(CellState(key=cell.key) for cell in plan.cells),
        )

    return CampaignFolder.begin(results, make, name=f"{spec.name}-made-up")


def press_made_up(cell: Cell, run: Path) -> None:
    """Everything that a bench leaves of a cell."""
    targets = tuple(pretence_of(cell, target) for target in cell.targets)
    with tempfile.TemporaryDirectory() as scratch:
        made = make_run(
            Path(scratch) / run.name, targets=targets, phases=Phases(**PHASES), with_tikv=False
        )
        _write(made / "spec.json", cell.spec.model_dump(mode="json", by_alias=True))
        shutil.copytree(made, run, dirs_exist_ok=True)
    judged(run)


def pressed(results: Path, spec: CampaignSpec) -> CampaignFolder:
    """A campaign with every cell done."""
    folder = begun(results, spec)
    for place, cell in enumerate(folder.read().plan.cells):
        run_id = f"{20231114 + place}T000000Z-{cell.spec.workload.name}-{place}-made-up"
        press_made_up(cell, results / run_id)
        began = BEGAN_S + 100.0 * place
        attempt = Attempt(run_id=run_id, started_s=began, ended_s=began + 90.0, outcome="finished")
        folder.note(CellState(key=cell.key, attempts=(attempt,)))
    return folder


def page_of_campaign(results: Path) -> Path:
    """The page of a campaign with every cell done once."""
    folder = pressed(results, campaign_spec())
    folder.page.write_text(campaign_page(campaign_report_of(folder)))
    return folder.page
