"""What a Locust process says of a measured stretch, for `locust_redis` and `locust_etcd`.

The plan's two phases are kept: once all users are connected and at work, the warm-up, then
Locust's statistics begin anew.
Percentiles are Locust's own, whole milliseconds, as anyone would read them from it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.env import Environment

from loadgen.contract.plan import Plan
from tests.benchmarks.measure import PLAN_VARIABLE

# So many a user, on average, before the warm-up begins.
FIRST_REQUESTS = 5
LOOK_S = 0.05

__all__ = ["measured", "the_plan"]


def the_plan() -> Plan:
    """What every contender is given."""
    return Plan.read(Path(os.environ[PLAN_VARIABLE]))


def measured(plan: Plan) -> None:
    """Hook into Locust: measure the plan's last phase, write `locust.json` beside it, and quit."""
    kept: dict[str, Environment] = {}

    @events.init.add_listener
    def remember(environment: Environment, **_: Any) -> None:
        kept["environment"] = environment

    @events.spawning_complete.add_listener
    def begin(**_: Any) -> None:
        gevent.spawn(_measure, kept["environment"], plan)


def _measure(environment: Environment, plan: Plan) -> None:
    warmup, phase = plan.phases
    # redis-py dials at a user's first request, with 20 ms of work for each TLS context.
    while environment.stats.total.num_requests < FIRST_REQUESTS * plan.connections:
        gevent.sleep(LOOK_S)
    gevent.sleep(warmup.duration_s)
    environment.stats.reset_all()
    began, cpu_s = time.monotonic(), time.process_time()
    gevent.sleep(phase.duration_s)
    total = environment.stats.total
    report = {
        "operations": total.num_requests,
        "failures": total.num_failures,
        "seconds": time.monotonic() - began,
        "cpu_s": time.process_time() - cpu_s,
        "p50_us": total.get_response_time_percentile(0.5) * 1000,
        "p99_us": total.get_response_time_percentile(0.99) * 1000,
        "mean_us": total.avg_response_time * 1000,
    }
    (Path(os.environ[PLAN_VARIABLE]).parent / "locust.json").write_text(json.dumps(report))
    assert environment.runner is not None
    environment.runner.quit()
