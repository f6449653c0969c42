"""What each sub-command does, in the words of the pipeline; `cli` only parses."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from soakbed.adapters.ansible import Playbooks
from soakbed.adapters.artifacts import CachedArtifacts
from soakbed.adapters.ssh import Ssh
from soakbed.adapters.terraform import Terraform
from soakbed.adapters.wheels import loadgen_build
from soakbed.archive.lock import held_alone
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.errors import ArchiveError, Interrupted, InvalidRun
from soakbed.pipeline import Bench, Stopwatch, Tools, fetch, prepare
from soakbed.pressing import Pressing
from soakbed.progress import Display, time_table
from soakbed.records.cost import PlannedCost
from soakbed.records.places import Places
from soakbed.records.run import StageTime
from soakbed.records.spec import RunSpec, TestbedSpec, WorkloadSpec
from soakbed.records.summary import MeasuredTarget, Summary
from soakbed.records.testbed import Testbed
from soakbed.report.cost import planned_text, still_costs
from soakbed.report.text import calibration_text, summary_text
from soakbed.reporting import Format, compare_and_report, judge_again, judge_and_report, page_place
from soakbed.stages.calibrate import KEPT, with_earlier
from soakbed.stages.calibrate import calibrate as measure_ceiling
from soakbed.stages.configure import configure_target
from soakbed.stages.cost import require_budget
from soakbed.stages.cost_plan import hour_cost_of, plan_of_hosts, plan_of_run
from soakbed.stages.hardware import require_hardware
from soakbed.stages.teardown import teardown as unmake
from soakbed.units import bytes_text

__all__ = [
    "Session",
    "announce_cost",
    "bench",
    "calibrate",
    "collect_again",
    "conclude",
    "configure",
    "judge",
    "lock_folder",
    "provision",
    "report",
    "require_hardware_of",
    "run_through",
    "setup",
    "teardown",
]

_LOCKS = Path("/run/lock")


def lock_folder(states: Path) -> Path:
    """Where locks of testbeds lie; `states` where this machine has no place for them."""
    return _LOCKS if os.access(_LOCKS, os.W_OK) else states


@dataclass(frozen=True, slots=True)
class Session:
    """One command on one testbed: its places, its display and its stopwatch."""

    spec: TestbedSpec
    places: Places
    console: Console
    display: Display
    watch: Stopwatch
    command: tuple[str, ...]

    @classmethod
    def begin(
        cls, spec: TestbedSpec, places: Places, console: Console, *, command: Sequence[str]
    ) -> Session:
        """A session that has touched nothing yet."""
        display = Display(console)
        return cls(spec, places, console, display, Stopwatch(display), tuple(command))

    @property
    def tools(self) -> Tools:
        """The foreign programs, bound to this testbed's places."""
        return Tools(
            terraform=Terraform(self.places, self.spec.remote_state),
            ansible=Playbooks(self.places.playbooks, private=self.places.state),
            artifacts=CachedArtifacts.of(self.places, watch=self._say_download),
            progress=self.display,
        )

    def _say_download(self, name: str, done: int, of: int) -> None:
        whole = f" of {bytes_text(of)}" if of else ""
        self.display(f"{name}: {bytes_text(done)}{whole}")

    @property
    def locks(self) -> Path:
        """Where the testbed's lock lies, for all clones on this machine."""
        return lock_folder(self.places.state.parent)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the testbed; show progress; print where the time went, also after a failure."""
        with held_alone(self.locks, self.spec.name):
            self.places.state.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with self.display.shown():
                    yield
            except KeyboardInterrupt:
                raise Interrupted(
                    "interrupted; what is finished is kept",
                    remedy=f"go on with: {shlex.join(self.command)}",
                ) from None
            finally:
                if self.watch.times:
                    self.console.print(time_table(self.watch.times))


def announce_cost(session: Session, plan: Callable[[TestbedSpec, Places], PlannedCost]) -> None:
    """Say what is going to be paid, before anything is made; SpecError where no budget holds it."""
    spec, places = session.spec, session.places
    hour = hour_cost_of(spec, places)
    if spec.budget is None and (hour.is_free or (hour.per_hour is None and spec.aws is None)):
        return
    planned = plan(spec, places)
    session.console.print(planned_text(planned, title=f"testbed {spec.name}"))
    require_budget(planned, name=spec.name)


def require_hardware_of(session: Session, spec: RunSpec) -> None:
    """SpecError where the hosts of a run would not fit each other or one of its targets."""
    require_hardware(
        spec.testbed, spec.targets, session.places, allow_substitute=spec.allow_substitute
    )


def setup(session: Session, targets: Sequence[str], *, allow_substitute: bool) -> None:
    """Everything that later commands need, into the cache."""
    require_hardware(session.spec, targets, session.places, allow_substitute=allow_substitute)
    with session.alone():
        lacking = fetch(
            session.spec,
            targets,
            tools=session.tools,
            places=session.places,
            watch=session.watch,
            allow_substitute=allow_substitute,
        )
    for target, error in lacking.items():
        session.console.print(f"{target}: {error}", style="yellow", markup=False, soft_wrap=True)


def provision(session: Session, profile: str) -> None:
    """Hosts made and prepared."""
    require_hardware(session.spec, (), session.places)
    announce_cost(session, plan_of_hosts)
    kept = session.places.state / "stages.jsonl"
    with session.alone():
        kept.unlink(missing_ok=True)  # only the newest provision is part of a run's story
        session.watch.note = lambda taken: _append(kept, taken.model_dump_json())
        tools = session.tools
        prepare(session.spec, profile, tools=tools, places=session.places, watch=session.watch)
    _say_hosts(session)


def _append(path: Path, line: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def _say_hosts(session: Session) -> None:
    for name, host in session.spec.hosts.items():
        session.console.print(f"{name}  {host.duty:5} {host.address}", highlight=False)


def configure(session: Session, spec: RunSpec) -> None:
    """One target up, to look at."""
    require_hardware_of(session, spec)
    announce_cost(session, plan_of_hosts)
    with session.alone():
        tools = session.tools
        testbed = prepare(
            spec.testbed, spec.profile, tools=tools, places=session.places, watch=session.watch
        )
        target = spec.targets[0]
        with session.watch.stage(f"{target}: configure") as changed:
            ready = configure_target(
                testbed,
                target,
                spec,
                ansible=tools.ansible,
                artifacts=tools.artifacts,
                places=session.places,
                log=session.places.state / "logs" / f"{target}.jsonl",
                progress=tools.progress,
            )
            changed(ready.changed_tasks)
    session.console.print(f"{target} {ready.version} at {', '.join(ready.endpoints)}")


def calibrate(session: Session, workload: WorkloadSpec, profile: str, *, as_json: bool) -> None:
    """The load hosts' ceiling, kept beside the testbed's state."""
    require_hardware(session.spec, (), session.places)
    announce_cost(session, plan_of_hosts)
    with session.alone():
        tools, places = session.tools, session.places
        testbed = prepare(
            session.spec,
            profile,
            tools=tools,
            places=places,
            watch=session.watch,
            only_what_is_missing=True,
        )
        with (
            session.watch.stage("calibrate"),
            Ssh(testbed) as shell,
            tempfile.TemporaryDirectory(prefix="soakbed-calibrate-") as scratch,
        ):
            made = measure_ceiling(
                testbed,
                workload,
                shell=shell,
                package=places.project / "loadgen",
                engine_build=loadgen_build(places),
                scratch=Path(scratch),
                progress=tools.progress,
            )
        made = with_earlier(made, places.state / KEPT)
        text = json.dumps(made.model_dump(mode="json", by_alias=True), indent=1) + "\n"
        write_whole(places.state / KEPT, text)
    if as_json:
        print(text, end="")
    else:
        session.console.print(calibration_text(made))


def bench(session: Session, spec: RunSpec) -> None:
    """A run from its first missing record to the page."""
    results = session.places.results
    run = RunFolder.resumable(results, spec)
    if run is None:
        require_hardware_of(session, spec)
        announce_cost(session, lambda _testbed, places: plan_of_run(spec, places))
        run = RunFolder.begin(results, spec)
        session.console.print(f"run {run.run_id}", highlight=False)
    else:
        session.console.print(f"run {run.run_id}, resumed", highlight=False)
    run_through(session, spec, run)


def run_through(session: Session, spec: RunSpec, run: RunFolder) -> None:
    """The testbed held, the run from its first missing record to the page, and what came of it."""
    session.watch.note = run.note_time
    with session.alone():
        kept = session.places.state / "stages.jsonl"
        lines = kept.read_text().splitlines() if kept.exists() else []
        earlier = tuple(StageTime.model_validate_json(line) for line in lines)
        press = Bench(spec, run, session.places, session.tools, session.watch, earlier)
        summary = press(session.command)
    _say_still_costs(session)
    conclude(session.console, run, summary, strict=True)


def _say_still_costs(session: Session) -> None:
    if told := still_costs(hour_cost_of(session.spec, session.places), session.spec.name):
        session.console.print(told, style="yellow", markup=False, highlight=False, soft_wrap=True)


def conclude(console: Console, run: RunFolder, summary: Summary, *, strict: bool) -> None:
    """Say what came of a finished run. `strict`: raise InvalidRun when a verdict is invalid."""
    console.print(summary_text(summary))
    console.print(f"page: {run.path / 'report' / 'index.html'}", highlight=False, soft_wrap=True)
    broken = [
        name
        for name, target in summary.targets.items()
        if isinstance(target, MeasuredTarget) and target.verdict == "invalid"
    ]
    if strict and broken:
        raise InvalidRun(
            f"finished, but the measurement of {', '.join(broken)} was judged invalid",
            remedy=f"read the reasons on the page of {run.run_id}",
        )


def collect_again(session: Session) -> None:
    """Evidence from live hosts into the unfinished run, for the target that is up."""
    run = RunFolder.open(session.places.results, "current")
    spec = run.spec()
    up = [t for t in spec.targets if run.has(f"{t}/ready") and not run.has(f"{t}/wiped")]
    if not up:
        raise ArchiveError(
            f"run {run.run_id} has no target up", remedy=f"soakbed resume {run.run_id}"
        )
    with session.alone():
        testbed = run.read("testbed", Testbed)
        with Ssh(testbed) as shell:
            pressed = Pressing(spec, run, session.places, session.tools, session.watch, shell)
            pressed.collect(up[0], testbed, shell)


def judge(run_id: str, results: Path, console: Console) -> None:
    """Verdicts and page of one run from the archive alone; exit code 7 when one is invalid."""
    run = RunFolder.open(results, run_id)
    display = Display(console)
    with display.shown():
        summary = judge_and_report(run, stage=Stopwatch(display).stage)
    conclude(console, run, summary, strict=True)


def report(
    run_ids: Sequence[str], results: Path, console: Console, *, form: Format, output: Path | None
) -> None:
    """One run or several, judged again, as a page or as text.

    A page goes to its place or to `output`; text goes to `output` or to standard output.
    """
    runs = [RunFolder.open(results, run_id) for run_id in run_ids]
    runs = list({run.path: run for run in runs}.values())  # "latest" may be named as well
    display = Display(console)
    stage = Stopwatch(display).stage
    with display.shown():
        if form == "html" and output is None and len(runs) == 1:
            summary = judge_and_report(runs[0], stage=stage)
        else:
            if form == "html" and output is None:
                output = page_place(results, runs)
            summaries = [judge_again(run, stage=stage) for run in runs]
            summary = summaries[0]
            text = compare_and_report(runs, form=form, output=output, stage=stage)
    if form == "html" and output is None:
        conclude(console, runs[0], summary, strict=False)
    elif output is None:
        print(text, end="")
    else:
        console.print(f"{form}: {output}", highlight=False, soft_wrap=True)


def teardown(session: Session) -> None:
    """Nothing of the testbed left on this machine."""
    with session.alone(), session.watch.stage("teardown"):
        tools = session.tools
        before = unmake(
            session.spec, terraform=tools.terraform, places=session.places, progress=tools.progress
        )
    found = f"there were {before.counts()}" if before else "it was gone already"
    session.console.print(f"testbed {session.spec.name}: nothing is left; {found}", highlight=False)
