"""Pressing one target: configure, load session by session, collect, wipe; alone on the hosts (D11).

Every stage leaves a record, and a second call resumes at the first that is missing. When a stop
was asked for, what is under way ends, what has not begun does not, and the evidence is fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loadgen.contract.plan import Plan
from soakbed.adapters.ansible import Ansible
from soakbed.adapters.artifacts import Artifacts
from soakbed.adapters.patient import PatientShell
from soakbed.adapters.ssh import HostUnreachable, Shell
from soakbed.adapters.terraform import Terraform
from soakbed.adapters.wheels import engine_of
from soakbed.archive.manifest import with_engine
from soakbed.archive.run_folder import RunFolder
from soakbed.errors import ConfigureError, LoadError, Unavailable
from soakbed.records.calibration import RunCalibration
from soakbed.records.places import Places
from soakbed.records.run import LoadOutcome, NotMeasured, ReadyTarget, StageTime, TargetReady
from soakbed.records.spec import RunSpec, TargetName
from soakbed.records.testbed import Testbed
from soakbed.stages.before_load import check_before_load
from soakbed.stages.budget import budget_watch
from soakbed.stages.calibrate import warning_of
from soakbed.stages.care import care_for
from soakbed.stages.client_check import broken_promise
from soakbed.stages.clocks import clocks_kept
from soakbed.stages.collect import collect, host_facts
from soakbed.stages.configure import configure_target, verify_target, wipe_target
from soakbed.stages.course import Course, course_of, with_steps
from soakbed.stages.heartbeat import Heartbeat
from soakbed.stages.load import drive, plan_session, session_is_there
from soakbed.stages.placement import placement_kept
from soakbed.stages.quiesce import quiesce
from soakbed.stages.samples import sampled, samples_name
from soakbed.stages.watch_notes import WATCH

__all__ = ["PATIENCE_S", "Pressing", "Progress", "Stopwatch", "Tools"]

Progress = Callable[[str], None]
# A host that does not answer for so long while no load is on is no matter of waiting.
PATIENCE_S = 1800.0


@dataclass(frozen=True, slots=True)
class Tools:
    """The foreign programs that the stages drive, and where to tell how it goes."""

    terraform: Terraform
    ansible: Ansible
    artifacts: Artifacts
    progress: Progress


@dataclass(slots=True)
class Stopwatch:
    """Times the stages of one command; `note` keeps each time where the run can find it."""

    progress: Progress
    note: Callable[[StageTime], None] = lambda _taken: None
    times: list[StageTime] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[int], None]]:
        """Time one stage; call what it yields with the number of changes, if that is known."""
        changes: list[int] = []
        started_s, started = time.time(), time.monotonic()
        self.progress(f"[{name}]")
        yield changes.append
        taken = StageTime(
            stage=name,
            started_s=round(started_s, 3),
            seconds=round(time.monotonic() - started, 3),
            changed=sum(changes) if changes else None,
        )
        self.times.append(taken)
        self.note(taken)


@dataclass(frozen=True, slots=True)
class Pressing:
    """What presses the targets of one run, one after the other."""

    spec: RunSpec
    run: RunFolder
    places: Places
    tools: Tools
    watch: Stopwatch
    hosts: Shell  # as they answer now; stages are given one that may wait for them
    heart: Heartbeat | None = None  # None: the hosts live without a lease

    def _beat(self, target: str) -> None:
        """Before what may take long: the hosts must not end meanwhile."""
        if self.heart is not None:
            self.heart(target=target)

    def _note_engine(self, target: str) -> None:
        """Which engine presses a target; more than one where a resumed run brought another."""
        held = self.run.read("manifest", dict[str, Any])
        engines = with_engine(held.get("engines", {}), target, engine_of(self.places))
        self.run.write("manifest", {**held, "engines": engines})

    def __call__(self, target: TargetName, testbed: Testbed, shell: Shell) -> None:
        """One target from configuration to wiped hosts."""
        if self.run.has(f"{target}/wiped") or (self._must_stop() and not self._begun(target)):
            return
        ready = self._ready(target, testbed, shell)
        if isinstance(ready, NotMeasured):
            return
        if not self.run.has(f"{target}/collected"):
            self._keep_facts(testbed, shell, target, "before")
            name = samples_name(self.run.run_id, target)
            with sampled(name, self.spec, testbed, shell=self.hosts, progress=self.tools.progress):
                self._sessions(ready, testbed, shell)
            quiesce(self.run, target, testbed, shell=self.hosts, progress=self.tools.progress)
            if any(self.run.folder(target, "load").glob("*.json")):
                self.collect(target, testbed, self._patient() if self.run.is_soak() else shell)
        if (stop := self.run.stop()) and stop.keeps_hosts:
            self.tools.progress(f"warning: {target} is left as it is on its hosts: {stop.why}")
            return
        with self.watch.stage(f"{target}: stop and wipe"):
            wipe_target(testbed, target, ansible=self.tools.ansible, places=self.places)
            self.run.write(f"{target}/wiped", {"schema": 1, "at_s": time.time()})

    def _must_stop(self) -> bool:
        """Whether nothing new is begun: somebody asked for the end, or the budget is spent."""
        return budget_watch(self.run, self.tools.progress)()

    def _patient(self) -> Shell:
        """A shell that waits for hosts, but not for ever: load is over."""
        return PatientShell(self.hosts, self.tools.progress, PATIENCE_S)

    def _begun(self, target: str) -> bool:
        """Whether anything of a target is on the hosts."""
        return self.run.has(f"{target}/ready")

    def _sessions(self, ready: ReadyTarget, testbed: Testbed, shell: Shell) -> None:
        """Session after session, each at what those before found; none more after a stop."""
        while (course := self._course(ready.target, testbed)).session:
            folder = self.run.path / ready.target / "load" / course.session
            if self._must_stop() and not (folder / WATCH).exists():
                return
            try:
                self._load(ready, testbed, shell, course)
            except LoadError as error:
                if not self.run.stop_asked() or isinstance(error, HostUnreachable):
                    raise
                self.tools.progress(f"warning: {error.problem}")
                return

    def _course(self, target: str, testbed: Testbed) -> Course:
        """The next session of a target; what is known of its knee is kept, and told at the end."""
        course = course_of(self.spec, testbed, self.run, target)
        if course.found is not None and course.found.steps:
            self.run.write(f"{target}/knee", course.found)
            if course.found.settled and not self.run.has(f"{target}/load/steady"):
                self.tools.progress(f"{target}: the knee: {course.found.sentence}")
        return course

    def _ready(self, target: TargetName, testbed: Testbed, shell: Shell) -> TargetReady:
        """The target up and answering; configured again after an interruption, unless loaded."""
        name = f"{target}/ready"
        if self.run.has(name):
            ready = self.run.ready(target)
            begun = self.run.stop_asked() or self._measuring(target, testbed, shell)
            if isinstance(ready, NotMeasured) or begun:
                return ready
        self._beat(target)
        with self.watch.stage(f"{target}: configure") as changed:
            try:
                made: TargetReady
                made = up = configure_target(
                    testbed,
                    target,
                    self.spec,
                    ansible=self.tools.ansible,
                    artifacts=self.tools.artifacts,
                    places=self.places,
                    log=self.run.folder("ansible") / f"{target}.jsonl",
                    progress=self.tools.progress,
                )
                changed(up.changed_tasks)
            except Unavailable as error:
                if self.spec.on_unavailable == "fail":
                    raise
                made = NotMeasured(target=target, reason=error.problem, remedy=error.remedy)
                self.tools.progress(f"{target}: not measured: {error.problem}")
        self.run.write(name, made)
        return made

    def _measuring(self, target: str, testbed: Testbed, shell: Shell) -> bool:
        """Whether load is on, or done: then hands off the members."""
        session = course_of(self.spec, testbed, self.run, target).session
        name = f"{self.run.run_id}-{target}-{session}"
        return not session or session_is_there(name, testbed, shell=shell)

    def _load(self, ready: ReadyTarget, testbed: Testbed, shell: Shell, course: Course) -> None:
        """One session of load; its record is kept only when all of its evidence is fetched."""
        session = course.session
        record = f"{ready.target}/load/{session}"
        folder = self.run.folder(ready.target, "load", session)
        with self.watch.stage(f"{ready.target}: {session}"):
            plan = plan_session(
                self.spec,
                ready,
                run_id=self.run.run_id,
                session=session,
                capacity_per_s=course.capacity_per_s,
                testbed=testbed,
                knee=course.knee,
            )
            self._note_engine(ready.target)
            if not (folder / WATCH).exists():  # else it presses already, and goes on
                self._before(plan, ready, testbed, shell)
            outcome = self._with_stop(self._driven(plan, ready, testbed, shell), plan)
            if session == "fill" and outcome.outcome != "finished":
                raise LoadError(
                    f"{ready.target}: the key space was not filled: {outcome.reason}",
                    remedy="mend what the reason says, then run the same command again",
                )
            self.run.write(record, with_steps(outcome, self.spec, self.run, ready.target))

    def _before(self, plan: Plan, ready: ReadyTarget, testbed: Testbed, shell: Shell) -> None:
        """Warn of a rate near the generator's ceiling, refuse what cannot end well."""
        held = RunCalibration.in_manifest(self.run.read("manifest", dict[str, Any]))
        work, tell = self.spec.workload, self.tools.progress
        if warning := warning_of(held, ready.target, work, plan.phases[-1].rate_per_s):
            tell(warning)
        check_before_load(plan, ready, self.spec, testbed, shell=shell, progress=tell)

    def _driven(
        self, plan: Plan, ready: ReadyTarget, testbed: Testbed, shell: Shell
    ) -> LoadOutcome:
        """Press, with what is looked at right before and after it."""
        tell, around = self.tools.progress, (ready, plan.session, testbed)
        with (
            placement_kept(self.run, *around, shell=shell, progress=tell),
            clocks_kept(self.run, *around, shell=shell, progress=tell),
        ):
            return drive(
                plan,
                testbed,
                shell=self.hosts,
                folder=self.run.folder(ready.target, "load", plan.session),
                progress=tell,
                care=care_for(
                    self.run,
                    ready.target,
                    testbed,
                    shell=self.hosts,
                    progress=tell,
                    heart=self.heart,
                ),
            )

    def _with_stop(self, outcome: LoadOutcome, plan: Plan) -> LoadOutcome:
        """Why a session was stopped, and how much of its plan it had done by then."""
        stop = self.run.stop()
        if stop is None or outcome.outcome != "stopped":
            return outcome
        whole_s = sum(phase.duration_s for phase in plan.phases if phase.mode != "fill")
        done_s = outcome.ended_s - outcome.started_s
        told = f"{stop.why}, after {done_s:,.0f} s of {whole_s:,} s"
        return outcome.model_copy(update={"reason": told})

    def collect(self, target: TargetName, testbed: Testbed, shell: Shell) -> None:
        """Journals, configurations and facts from the live hosts into the run folder."""
        self._beat(target)
        with self.watch.stage(f"{target}: collect"):
            alarms = self._alarms(target, testbed, shell)
            self._keep_facts(testbed, shell, target, "after", alarms=alarms)
            found = collect(
                testbed,
                target,
                shell=shell,
                folder=self.run.folder(target),
                since_s=(self.run.path / "spec.json").stat().st_mtime,
            )
            self.run.write(f"{target}/collected", found)

    def _alarms(self, target: TargetName, testbed: Testbed, shell: Shell) -> list[str]:
        """Whether the target still keeps its promise after the load: quorum, slots, no alarm."""
        try:
            verify_target(
                testbed,
                target,
                self.spec,
                ansible=self.tools.ansible,
                artifacts=self.tools.artifacts,
                places=self.places,
                log=self.run.folder("ansible") / f"{target}.jsonl",
                progress=self.tools.progress,
            )
        except ConfigureError as error:
            return [error.problem.splitlines()[0]]  # the rest is in the log
        return broken_promise(self.run.ready(target), testbed, shell=shell)

    def _keep_facts(
        self,
        testbed: Testbed,
        shell: Shell,
        target: str,
        when: str,
        *,
        alarms: list[str] | None = None,
    ) -> None:
        if when == "before" and any(self.run.folder(target, "load").glob("*.json")):
            return  # resumed: what the hosts were like before the load is already written
        for host, facts in host_facts(testbed, shell=shell).items():
            told = {"alarms": alarms} if alarms is not None else {}
            self.run.write(f"{target}/hosts/{host}/facts-{when}", {**facts, **told})
