"""The whole flow on one screen: provision -> configure -> load -> collect -> judge -> report.

Every stage leaves a record; a second call resumes at the first record that is missing.
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from soakbed.adapters.ansible import Ansible
from soakbed.adapters.artifacts import Artifacts
from soakbed.adapters.host_image import ensure_image
from soakbed.adapters.ssh import Ssh
from soakbed.adapters.terraform import Terraform
from soakbed.adapters.wheels import engine_of, load_host_variables, loadgen_build
from soakbed.archive.manifest import manifest, with_engine
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.errors import ConfigureError, LoadError, Unavailable
from soakbed.records.calibration import RunCalibration
from soakbed.records.places import Places
from soakbed.records.run import NotMeasured, ReadyTarget, StageTime, TargetReady
from soakbed.records.spec import TARGETS, RunSpec, TargetName, TestbedSpec
from soakbed.records.summary import Summary
from soakbed.records.testbed import Testbed
from soakbed.reporting import judge_and_report
from soakbed.stages.calibrate import KEPT, known_calibration, machines_of, warning_of
from soakbed.stages.client_check import broken_promise
from soakbed.stages.collect import collect, host_facts
from soakbed.stages.configure import (
    configure_target,
    preparation_of,
    prepare_hosts,
    verify_target,
    wipe_target,
)
from soakbed.stages.course import Course, course_of, with_steps
from soakbed.stages.host_checks import check_local_machine
from soakbed.stages.inventory import inventory
from soakbed.stages.load import drive, plan_session, session_is_there
from soakbed.stages.placement import placement_kept
from soakbed.stages.provision import provision
from soakbed.stages.samples import sampled, samples_name

__all__ = ["Bench", "Stopwatch", "Tools", "fetch", "prepare"]

Progress = Callable[[str], None]


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


def fetch(
    spec: TestbedSpec,
    targets: Sequence[str],
    *,
    tools: Tools,
    places: Places,
    watch: Stopwatch,
    allow_substitute: bool = True,
) -> dict[str, Unavailable]:
    """Image, artifacts and the load hosts' packages into the cache, side by side.

    Returns the targets whose artifacts cannot be had: `bench` calls them not_measured.
    """
    lacking: dict[str, Unavailable] = {}

    def bundle(target: str) -> None:
        try:
            tools.artifacts.bundle(target, allow_substitute=allow_substitute)
        except Unavailable as error:
            lacking[target] = error

    with watch.stage("fetch"), ThreadPoolExecutor() as pool:
        if spec.provider == "local":
            check_local_machine(spec, places)
        jobs = [pool.submit(load_host_variables, places, progress=tools.progress)]
        jobs += [pool.submit(bundle, target) for target in targets]  # type: ignore[arg-type]
        if spec.provider == "local":
            jobs.append(pool.submit(ensure_image, places, progress=tools.progress))  # type: ignore[arg-type]
        for job in jobs:
            job.result()
    return lacking


def prepare(
    spec: TestbedSpec,
    profile: str,
    *,
    tools: Tools,
    places: Places,
    watch: Stopwatch,
    only_what_is_missing: bool = False,
) -> Testbed:
    """Hosts made, tuned, certified and with the load generator on them.

    `only_what_is_missing`: trust an earlier preparation by the same playbooks and profile, as
    `bench` does right after `provision`; a host that was made again is always prepared.
    """
    fetch(spec, TARGETS, tools=tools, places=places, watch=watch)
    with watch.stage("provision") as changed:
        came_up = provision(spec, terraform=tools.terraform, places=places, progress=tools.progress)
        changed(came_up.changed)
    mark = places.state / "prepared.json"
    wanted = preparation_of(places, profile)
    if came_up.changed:
        mark.unlink(missing_ok=True)
    if only_what_is_missing and mark.exists() and json.loads(mark.read_text()) == wanted:
        return came_up.testbed
    with watch.stage("prepare hosts") as changed:
        prepared = prepare_hosts(
            came_up.testbed,
            profile,
            ansible=tools.ansible,
            places=places,
            log=places.state / "logs" / "site.jsonl",
            progress=tools.progress,
        )
        changed(prepared.changed)
        write_whole(places.state / "preflight.json", json.dumps(prepared.facts, indent=1) + "\n")
        write_whole(mark, json.dumps(wanted) + "\n")
    return came_up.testbed


@dataclass(frozen=True, slots=True)
class Bench:
    """One run: press every target of the spec in turn, each alone on the hosts (design D11)."""

    spec: RunSpec
    run: RunFolder
    places: Places
    tools: Tools
    watch: Stopwatch
    earlier: tuple[StageTime, ...] = ()  # of the command that made the hosts

    def __call__(self, command: Sequence[str]) -> Summary:
        """The run from its first missing record to the page."""
        self._keep_manifest(command)
        testbed = prepare(
            self.spec.testbed,
            self.spec.profile,
            tools=self.tools,
            places=self.places,
            watch=self.watch,
            only_what_is_missing=True,
        )
        self.run.keep("testbed", Testbed, lambda: testbed)
        self._keep_preparation(testbed)
        with Ssh(testbed) as shell:
            self._keep_manifest(command, self._calibration(testbed, shell))
            for target in self.spec.targets:
                self._press(target, testbed, shell)
        self._keep_manifest(command)
        summary = judge_and_report(self.run, stage=self.watch.stage)
        self._keep_manifest(command)
        self.run.finish()
        return summary

    def _calibration(self, testbed: Testbed, shell: Ssh) -> RunCalibration:
        """The load hosts' ceiling as it is known now, or as the run began with."""
        held = RunCalibration.in_manifest(self.run.read("manifest", dict[str, Any]))
        if held.calibration is not None:
            return held
        return known_calibration(
            self.places.state / KEPT,
            self.spec.workload,
            engine_build=loadgen_build(self.places),
            machines=machines_of(testbed, shell),
        )

    def _keep_manifest(
        self, command: Sequence[str], calibration: RunCalibration | None = None
    ) -> None:
        """What ran, with the times so far; a resumed run keeps the command it began with."""
        before = self.run.read("manifest", dict[str, Any]) if self.run.has("manifest") else {}
        made = manifest(
            self.run.run_id,
            self.places.project,
            command=str(before.get("command") or shlex.join(command)),
            times=[*self.earlier, *self.run.times()],
        )
        held = calibration.model_dump(mode="json", by_alias=True) if calibration else None
        made["calibration"] = held or before.get("calibration")
        commits = [*before.get("earlier_commits", []), before.get("commit")]
        made["earlier_commits"] = [
            commit for commit in commits if commit not in (None, made["commit"])
        ]
        made["engines"] = before.get("engines", {})
        self.run.write("manifest", made)

    def _note_engine(self, target: str) -> None:
        """Which engine presses a target; more than one where a resumed run brought another."""
        held = self.run.read("manifest", dict[str, Any])
        engines = with_engine(held.get("engines", {}), target, engine_of(self.places))
        self.run.write("manifest", {**held, "engines": engines})

    def _press(self, target: TargetName, testbed: Testbed, shell: Ssh) -> None:
        """One target from configuration to wiped hosts."""
        if self.run.has(f"{target}/wiped"):
            return
        ready = self._ready(target, testbed, shell)
        if isinstance(ready, NotMeasured):
            return
        if not self.run.has(f"{target}/collected"):
            self._keep_facts(testbed, shell, target, "before")
            name = samples_name(self.run.run_id, target)
            with sampled(name, self.spec, testbed, shell=shell, progress=self.tools.progress):
                while (course := self._course(target, testbed)).session:
                    self._load(ready, testbed, shell, course)
            self.collect(target, testbed, shell)
        with self.watch.stage(f"{target}: stop and wipe"):
            wipe_target(testbed, target, ansible=self.tools.ansible, places=self.places)
            self.run.write(f"{target}/wiped", {"schema": 1, "at_s": time.time()})

    def _ready(self, target: TargetName, testbed: Testbed, shell: Ssh) -> TargetReady:
        """The target up and answering; configured again after an interruption, unless loaded."""
        name = f"{target}/ready"
        if self.run.has(name):
            ready = self.run.ready(target)
            if isinstance(ready, NotMeasured) or self._measuring(target, testbed, shell):
                return ready
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

    def _measuring(self, target: str, testbed: Testbed, shell: Ssh) -> bool:
        """Whether load is on, or done: then hands off the members."""
        session = course_of(self.spec, testbed, self.run, target).session
        name = f"{self.run.run_id}-{target}-{session}"
        return not session or session_is_there(name, testbed, shell=shell)

    def _course(self, target: TargetName, testbed: Testbed) -> Course:
        """The next session of a target; what is known of its knee is kept, and told at the end."""
        course = course_of(self.spec, testbed, self.run, target)
        if course.found is not None and course.found.steps:
            self.run.write(f"{target}/knee", course.found)
            if course.found.settled and not self.run.has(f"{target}/load/steady"):
                self.tools.progress(f"{target}: the knee: {course.found.sentence}")
        return course

    def _load(self, ready: ReadyTarget, testbed: Testbed, shell: Ssh, course: Course) -> None:
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
            held = RunCalibration.in_manifest(self.run.read("manifest", dict[str, Any]))
            work, tell = self.spec.workload, self.tools.progress
            if warning := warning_of(held, ready.target, work, plan.phases[-1].rate_per_s):
                tell(warning)
            self._note_engine(ready.target)
            with placement_kept(self.run, ready, session, testbed, shell=shell, progress=tell):
                outcome = drive(plan, testbed, shell=shell, folder=folder, progress=tell)
            if session == "fill" and outcome.outcome != "finished":
                raise LoadError(
                    f"{ready.target}: the key space was not filled: {outcome.reason}",
                    remedy="mend what the reason says, then run the same command again",
                )
            self.run.write(record, with_steps(outcome, self.spec, self.run, ready.target))

    def collect(self, target: TargetName, testbed: Testbed, shell: Ssh) -> None:
        """Journals, configurations and facts from the live hosts into the run folder."""
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

    def _alarms(self, target: TargetName, testbed: Testbed, shell: Ssh) -> list[str]:
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
        shell: Ssh,
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

    def _keep_preparation(self, testbed: Testbed) -> None:
        """The inventory, the log of the preparation, and what the hosts measured in it."""
        path = self.run.path / "inventory.yml"
        if not path.exists():
            write_whole(path, json.dumps(inventory(testbed), indent=1) + "\n")
        for source, copy in (
            (self.places.state / "logs" / "site.jsonl", self.run.folder("ansible") / "site.jsonl"),
            (self.places.state / "preflight.json", self.run.path / "preflight.json"),
        ):
            if source.exists() and not copy.exists():
                shutil.copyfile(source, copy)
