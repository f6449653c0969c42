"""Real playbooks on this machine: outcomes, errors, secrets, Ctrl-C and kill -9."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from soakbed.adapters.ansible import Playbooks
from soakbed.errors import ConfigureError

SECRET = "correct-horse-battery-staple"

PLAYS = {
    "good.yml": """
        - name: First play
          hosts: all
          gather_facts: false
          tasks:
            - name: A file is there
              ansible.builtin.copy: {dest: "{{ folder }}/made", content: "{{ word }}", mode: "0600"}
              no_log: true
            - name: Data comes back
              ansible.builtin.set_fact: {ignored: 1}
            - name: A module hands data back
              handed: {}
        """,
    "bad.yml": """
        - name: A play that fails
          hosts: all
          gather_facts: false
          tasks:
            - name: Something is asserted
              ansible.builtin.assert:
                that: false
                fail_msg: the disk is too small. Use a larger one.
        """,
    "loop.yml": """
        - name: A play that fails in a loop
          hosts: all
          gather_facts: false
          tasks:
            - name: Each is asserted
              ansible.builtin.assert: {that: item < 2, fail_msg: "{{ item }} is too much"}
              loop: [1, 2]
        """,
    "slow.yml": """
        - name: A play that takes long
          hosts: all
          gather_facts: false
          tasks:
            - name: Long work is done
              ansible.builtin.command: sleep {{ nap }}
              changed_when: false
        """,
    "broken.yml": "- hosts: [",
}
HANDED = """
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule(argument_spec={})
module.exit_json(changed=False, soakbed={"answer": {"is": 42}})
"""
# A length of sleep that no other process has, so that it can be found and only it.
NAP = "97.53186"


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "playbooks"
    (folder / "library").mkdir(parents=True)
    for name, text in PLAYS.items():
        (folder / name).write_text(textwrap.dedent(text))
    (folder / "library" / "handed.py").write_text(HANDED)
    (folder / "ansible.cfg").write_text("[defaults]\nlibrary = library\n")
    hosts = {"here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    (tmp_path / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    return tmp_path


def play(project, name, **variables):
    return Playbooks(project / "playbooks", private=project / "state").play(
        name, project / "inventory.yml", variables, log=project / "log" / f"{name}.jsonl"
    )


def everything_written(project):
    kept = [file for file in project.rglob("*") if file.is_file() and file.name != "made"]
    return "\n".join(file.read_text(errors="replace") for file in kept)


def nappers():
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.cmdline()[:2] == ["sleep", NAP]:
                found.append(process)
    return found


def alive(process):
    """A zombie is dead; who reaps it is PID 1's business."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition, seconds=240):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return condition()


def test_an_outcome_has_changes_times_and_what_came_back(project):
    outcome = play(project, "good.yml", folder=str(project), word=SECRET)
    assert outcome.changed == 1
    assert [task.task for task in outcome.tasks] == [
        "A file is there",
        "Data comes back",
        "A module hands data back",
    ]
    assert outcome.returned == {"here": {"answer": {"is": 42}}}
    assert outcome.seconds > 0
    assert (project / "made").read_text() == SECRET


def test_a_second_play_changes_nothing(project):
    play(project, "good.yml", folder=str(project), word=SECRET)
    assert play(project, "good.yml", folder=str(project), word=SECRET).changed == 0


def test_secrets_are_in_no_file_that_stays(project):
    play(project, "good.yml", folder=str(project), word=SECRET)
    assert SECRET not in everything_written(project)
    assert list((project / "state").iterdir()) == []


def test_secrets_are_on_no_command_line(project):
    lines = []

    def watch(_):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                lines.extend(process.cmdline())

    Playbooks(project / "playbooks", private=project / "state").play(
        "good.yml",
        project / "inventory.yml",
        {"folder": str(project), "word": SECRET},
        log=project / "log.jsonl",
        on_event=watch,
    )
    assert lines
    assert SECRET not in " ".join(lines)


def test_the_log_has_one_line_of_json_for_each_result(project):
    play(project, "good.yml", folder=str(project), word=SECRET)
    rows = [json.loads(li) for li in (project / "log" / "good.yml.jsonl").read_text().splitlines()]
    assert [row["task"] for row in rows][-1] == "A module hands data back"
    assert {row["event"] for row in rows} == {"ok"}
    assert all(row["host"] == "here" for row in rows)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bad.yml", "failed on here at 'Something is asserted': the disk is too small."),
        ("loop.yml", "failed on here at 'Each is asserted': 2 is too much"),
    ],
)
def test_a_failure_names_host_and_task_and_says_what_the_module_said(project, name, said):
    with pytest.raises(ConfigureError) as failed:
        play(project, name)
    assert said in failed.value.problem
    assert f"{name}.jsonl" in failed.value.remedy
    assert list((project / "state").iterdir()) == []


def test_a_playbook_that_cannot_be_read_is_an_error_with_ansibles_words(project):
    with pytest.raises(ConfigureError, match=r"broken\.yml did not run: .*YAML"):
        play(project, "broken.yml")


PIPELINE = """
import sys
from pathlib import Path
from soakbed.adapters.ansible import Playbooks
project = Path(sys.argv[1])
try:
    Playbooks(project / "playbooks", private=project / "state").play(
        "slow.yml", project / "inventory.yml", {"nap": sys.argv[2], "word": sys.argv[3]},
        log=project / "log.jsonl", on_event=lambda line: print(line, flush=True),
    )
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def pipeline(project):
    """Another process that is in the middle of a long task."""
    command = [sys.executable, "-c", PIPELINE, str(project), NAP, SECRET]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            assert wait_until(nappers), "the play did not get to its long task"
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            for left in nappers():
                left.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_an_interrupted_play_ends_with_all_its_processes(pipeline, project, number):
    family = psutil.Process(pipeline.pid).children(recursive=True)
    os.kill(pipeline.pid, number)
    assert pipeline.wait(timeout=240) == 130
    assert not [process for process in family if alive(process)]
    assert list((project / "state").iterdir()) == []


def test_a_play_does_not_outlive_a_pipeline_that_was_killed(pipeline, project):
    ansible = [
        process
        for process in psutil.Process(pipeline.pid).children(recursive=True)
        if any("ansible-playbook" in word for word in process.cmdline())
    ]
    assert ansible
    pipeline.kill()
    pipeline.wait()
    assert wait_until(lambda: not any(map(alive, ansible)))


def test_what_a_killed_pipeline_left_is_removed_by_the_next_play(pipeline, project):
    pipeline.kill()
    pipeline.wait()
    sockets = list(Path(tempfile.gettempdir()).glob(f"sb-ssh-{pipeline.pid}-*"))
    assert list((project / "state").glob(".ansible-*"))
    assert sockets
    play(project, "good.yml", folder=str(project), word=SECRET)
    assert list((project / "state").iterdir()) == []
    assert not any(folder.exists() for folder in sockets)
