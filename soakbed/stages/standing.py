"""A run folder, and the hosts if they are asked -> how the run stands. Changes nothing anywhere."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from loadgen.contract.plan import Plan
from soakbed.adapters.ssh import Shell
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import LoadError
from soakbed.records.cost import HourCost, RunCost
from soakbed.records.run import NotMeasured
from soakbed.records.standing import Cost, Standing, TargetStanding
from soakbed.records.testbed import Testbed
from soakbed.records.testbed_spec import TestbedSpec
from soakbed.records.watch import Watch
from soakbed.stages.cost import so_far
from soakbed.stages.load_session import LoadSession
from soakbed.stages.watch_notes import WATCH, clocks_in, watch_of, with_glance

__all__ = ["CONTROLLER_LOG", "looked_at", "seen_by", "standing_of", "under_way"]

CONTROLLER_LOG = "controller.log"


def standing_of(run: RunFolder, controller_pid: int | None) -> Standing:
    """What the run folder says. Raises ArchiveError when a record is damaged."""
    spec, now_s = run.spec(), time.time()
    began_s = (run.path / "spec.json").stat().st_mtime
    stop, times = run.stop(), run.times()
    log = run.path / CONTROLLER_LOG
    folder = under_way(run)
    return Standing(
        run_id=run.run_id,
        is_soak=run.is_soak(),
        controller_pid=controller_pid,
        began_s=began_s,
        at_s=now_s,
        stage=times[-1].stage if times else "",
        stopping=stop.why if stop else "",
        targets=tuple(_target(run, name) for name in spec.targets),
        watch=watch_of(folder) if folder else None,
        archive_free_bytes=shutil.disk_usage(run.path).free,
        cost=_cost(run, spec.testbed, began_s=began_s, now_s=now_s),
        log=str(log) if log.exists() else "",
    )


def _cost(run: RunFolder, testbed: TestbedSpec, *, began_s: float, now_s: float) -> Cost | None:
    """By the prices that were kept with the run; before there are any by those of its spec."""
    held = run.read("cost", RunCost) if run.has("cost") else None
    if held is None and testbed.hour_price:
        hour = HourCost.named(testbed.hour_price)
        held = RunCost(hour=hour, began_s=began_s, hosts_since_s=began_s)
    if held is None or held.hour.is_free:
        return None
    return so_far(held, now_s)


def looked_at(standing: Standing, run: RunFolder, testbed: Testbed, *, shell: Shell) -> Standing:
    """The same with what the load hosts say now of the session that is under way."""
    folder = under_way(run)
    if folder is None or standing.watch is None or (folder.with_suffix(".json")).exists():
        return standing
    plan = Plan.read(folder / "plan.json")
    try:
        glance = LoadSession(plan, testbed, shell=shell).glance()
    except LoadError as error:
        return standing.model_copy(update={"unreachable": error.problem})
    seen = with_glance(standing.watch, glance, clocks_in(folder))
    if not glance.active():
        seen = seen.model_copy(update={"state": "over", "told": "no unit of the session runs"})
    return standing.model_copy(update={"watch": seen, "looked_s": time.time()})


def under_way(run: RunFolder) -> Path | None:
    """The folder of the session that somebody looked at last; None before any load."""
    seen = sorted(run.path.glob(f"*/load/*/{WATCH}"), key=lambda path: path.stat().st_mtime)
    return seen[-1].parent if seen else None


def seen_by(run: RunFolder, pid: int) -> Watch | None:
    """What the controller `pid` saw at its newest look, once it saw windows; None until then."""
    folder = under_way(run)
    watch = watch_of(folder) if folder else None
    return watch if watch is not None and watch.pid == pid and watch.workers else None


def _target(run: RunFolder, name: str) -> TargetStanding:
    done = tuple(sorted(path.stem for path in run.path.glob(f"{name}/load/*.json")))
    if not run.has(f"{name}/ready"):
        return TargetStanding(target=name, state="waiting")
    if isinstance(run.ready(name), NotMeasured):
        return TargetStanding(target=name, state="not_measured")
    if run.has(f"{name}/wiped"):
        state = "measured" if run.has(f"{name}/collected") else "wiped"
    else:
        begun = any(run.path.glob(f"{name}/load/*/{WATCH}"))
        state = "pressing" if begun else "configured"
    return TargetStanding(target=name, state=state, sessions_done=done)
