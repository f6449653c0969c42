import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soakbed.archive.lock import TestbedBusy, held_alone
from soakbed.archive.run_folder import RunFolder, write_whole
from soakbed.errors import ArchiveError
from soakbed.records.run import NotMeasured, StageTime, TargetReady
from soakbed.stages.specs import load_run_spec

PROJECT = Path(__file__).resolve().parents[4]


@pytest.fixture
def spec():
    return load_run_spec(
        PROJECT / "infra/testbeds/local-4x.json",
        PROJECT / "loadgen/workloads/quick.yaml",
        ["etcd", "tikv"],
    )


def test_a_record_is_made_once_and_read_ever_after(tmp_path, spec):
    run = RunFolder.begin(tmp_path, spec)
    made = []

    def make():
        made.append(1)
        return NotMeasured(target="tikv", reason="none", remedy="wait")

    first = run.keep("tikv/ready", TargetReady, make)
    second = RunFolder.open(tmp_path, run.run_id).keep("tikv/ready", TargetReady, make)
    assert (first, len(made)) == (second, 1)


def test_a_stage_that_fails_leaves_no_record(tmp_path, spec):
    run = RunFolder.begin(tmp_path, spec)

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        run.keep("etcd/ready", TargetReady, fail)
    assert not run.has("etcd/ready")
    assert [path.name for path in run.path.rglob("*")] == ["spec.json"]


def test_the_unfinished_run_of_the_same_spec_is_resumed_and_another_spec_begins_anew(
    tmp_path, spec
):
    run = RunFolder.begin(tmp_path, spec)
    assert RunFolder.resumable(tmp_path, spec).run_id == run.run_id
    assert RunFolder.resumable(tmp_path, spec.model_copy(update={"profile": "stock"})) is None
    run.finish()
    assert RunFolder.resumable(tmp_path, spec) is None
    assert RunFolder.open(tmp_path, "latest").run_id == run.run_id


def test_two_runs_in_one_second_get_folders_of_their_own(tmp_path, spec):
    runs = {RunFolder.begin(tmp_path, spec).run_id for _ in range(3)}
    assert len(runs) == 3


def test_a_missing_run_is_named_with_those_that_exist(tmp_path, spec):
    run = RunFolder.begin(tmp_path, spec)
    with pytest.raises(ArchiveError) as caught:
        RunFolder.open(tmp_path, "nope")
    assert run.run_id in caught.value.remedy
    assert caught.value.exit_code == 6


def test_a_damaged_record_says_which_file_and_how_to_go_on(tmp_path, spec):
    run = RunFolder.begin(tmp_path, spec)
    (run.path / "spec.json").write_text('{"schema": 1')
    with pytest.raises(ArchiveError, match=r"spec\.json is damaged"):
        run.spec()


def test_a_writer_that_is_killed_leaves_the_old_record_whole(tmp_path):
    target = tmp_path / "record.json"
    write_whole(target, json.dumps({"old": True}))
    code = (
        "import sys; from pathlib import Path; from soakbed.archive.run_folder import write_whole\n"
        "print('go', flush=True)\n"
        "while True: write_whole(Path(sys.argv[1]), '{\"new\": \"' + 'x' * 1_000_000 + '\"}')\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE, cwd=PROJECT
    )
    child.stdout.readline()
    time.sleep(0.2)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert list(json.loads(target.read_text())) in (["old"], ["new"])


def test_stage_times_are_appended_over_attempts(tmp_path, spec):
    run = RunFolder.begin(tmp_path, spec)
    run.note_time(StageTime(stage="configure", started_s=1, seconds=2, changed=3))
    again = RunFolder.open(tmp_path, run.run_id)
    again.note_time(StageTime(stage="configure", started_s=9, seconds=1, changed=0))
    assert [taken.changed for taken in again.times()] == [3, 0]


def test_a_second_pipeline_on_one_testbed_is_turned_away_with_the_holder_named(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from soakbed.archive.lock import held_alone\n"
        "with held_alone(Path(sys.argv[1]), 'tb'):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, cwd=PROJECT
    )
    assert child.stdout.readline() == b"held\n"
    with pytest.raises(TestbedBusy, match=str(child.pid)), held_alone(tmp_path, "tb"):
        pass
    with held_alone(tmp_path, "another"):
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with held_alone(tmp_path, "tb"):  # the kernel released it
        pass
