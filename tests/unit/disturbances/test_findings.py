"""The proof can fail: each claim about a soak does not hold where it is not so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from loadgen.contract.plan import Keyspace, Phase, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.contract.window import (
    GeneratorState,
    OperationWindow,
    SessionBegin,
    SessionEnd,
    Window,
)
from soakbed.archive.data.collate import collate
from soakbed.records.summary import (
    GapSummary,
    MeasuredTarget,
    OperationSummary,
    Summary,
    SummaryTestbed,
)
from tests.disturbances.faults import Disturbance
from tests.disturbances.findings import Left, findings_of

BEGAN_S = 1_700_000_000
KILLED_S, BACK_S = BEGAN_S + 12, BEGAN_S + 15
PER_WINDOW = 10
PLAN = Plan(
    run_id="r",
    session="steady",
    target="redis_cluster",
    endpoints=("127.0.0.1:1",),
    keyspace=Keyspace(100, "bench:"),
    phases=(Phase("steady", "open", 30, rate_per_s=10.0),),
    tls=None,
)
KILLED = Disturbance("engine killed", KILLED_S + 0.4, KILLED_S + 2.0)
GAP = GapSummary(
    from_s=KILLED_S, until_s=BACK_S, workers=(0,), cause="worker_died", told="engine_died"
)
NOTHING = OperationSummary(
    count=0, failed=0, unknown=0, response_p50_us=None, response_p99_us=None, service_p99_us=None
)


def written(folder: Path, *, without: frozenset[int] = frozenset()) -> None:
    """Two engines: one dies in second 12, the next enters at second 15 and ends well."""
    folder.mkdir(parents=True)
    PLAN.write(folder / "plan.json")
    writer, seq = SpoolWriter(folder / "worker-0.spool"), 0
    for attempt, (from_s, until_s) in enumerate([(0, 12), (15, 30)]):
        at_s = BEGAN_S + from_s - 0.5
        reason = "engine_died" if attempt else "start"
        writer.append(SessionBegin(0, attempt, at_s, seq, reason).to_json())
        for second in range(from_s, until_s):
            if second not in without:
                writer.append_window(window(seq, BEGAN_S + second))
            seq += 1
    ok = PER_WINDOW * (15 - len([second for second in without if second >= 15]))
    end = SessionEnd(0, "finished", "", sent=ok, ok=ok, failed=0, unknown=0, notes={})
    writer.append(end.to_json())
    writer.close()


def window(seq: int, start_s: int) -> Window:
    made = OperationWindow(ok=PER_WINDOW, sent=PER_WINDOW, due=PER_WINDOW)
    for _ in range(PER_WINDOW):
        made.response.record(100)
        made.service.record(100)
        made.lag.record(0)
    operations = {"read": made, "write": OperationWindow()}
    state = GeneratorState(cpu_share=0.1)
    return Window(0, seq, "steady", "open", start_s, 1, operations, state)


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., Left]:
    def make(
        *,
        lacks: frozenset[int] = frozenset(),
        archive_lacks: frozenset[int] = frozenset(),
        gaps: tuple[GapSummary, ...] = (GAP,),
        story: tuple[Disturbance, ...] = (KILLED,),
        counted: int = 27 * PER_WINDOW,
    ) -> Left:
        run = tmp_path / "results" / "r"
        shutil.rmtree(tmp_path, ignore_errors=True)
        written(tmp_path / "kept", without=lacks)
        written(run / "redis_cluster" / "load" / "steady", without=lacks | archive_lacks)
        collate(run / "redis_cluster", processes=1)
        target = MeasuredTarget(
            version="7",
            substituted=False,
            verdict="valid",
            reasons=(),
            capacity_per_s=0.0,
            offered_per_s=10.0,
            throughput_per_s=10.0,
            read=NOTHING,
            write=NOTHING,
            count=0,
            total_operations=0,
            gaps=gaps,
        )
        testbed = SummaryTestbed(provider="local", hosts=4)
        summary = Summary(run_id="r", testbed=testbed, targets={"redis_cluster": target})
        (run / "summary.json").write_text(summary.model_dump_json(by_alias=True))
        (run / "manifest.json").write_text(json.dumps({}))
        return Left(run, "redis_cluster", {"steady": tmp_path / "kept"}, story, counted)

    return make


def test_a_soak_that_survived_is_said_to_have(left):
    findings = findings_of(left())
    assert len(findings) == 6
    assert [one for one in findings if not one.holds] == []


def claims_broken(left: Left) -> set[str]:
    return {one.claim for one in findings_of(left) if not one.holds}


def test_a_window_that_the_archive_lacks_is_found(left):
    assert claims_broken(left(archive_lacks=frozenset({5}))) >= {
        "the archive holds every window that engines wrote, once, and no other",
        "every gap is named, with the cause that it had",
    }


def test_a_second_that_is_lost_for_no_reason_is_found(left):
    found = left(lacks=frozenset({22}), counted=26 * PER_WINDOW)
    assert claims_broken(found) >= {
        "no second is lost but those in which an engine or its host was down, and the last before"
    }


@pytest.mark.parametrize(
    "gaps",
    [
        (),
        (GAP.model_copy(update={"cause": "unknown"}),),
        (GAP.model_copy(update={"until_s": BACK_S + 1}),),
    ],
)
def test_a_gap_that_is_not_named_or_wrongly_is_found(left, gaps):
    assert "every gap is named, with the cause that it had" in claims_broken(left(gaps=gaps))


def test_a_disturbance_that_nothing_tells_of_is_found(left):
    silent = replace(KILLED, name="master halted")
    assert claims_broken(left(story=(KILLED, silent))) == {"'master halted' is named"}


@pytest.mark.parametrize("counted", [27 * PER_WINDOW - 1, 27 * PER_WINDOW + 200])
def test_a_target_that_counted_otherwise_is_found(left, counted):
    assert claims_broken(left(counted=counted)) == {
        "the target counted what the archive holds, within what nobody can know"
    }
