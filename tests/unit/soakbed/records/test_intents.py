from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.archive.intent_log import IntentLog, all_intent_logs
from soakbed.errors import ArchiveError
from soakbed.records.intents import Intent, open_intents
from soakbed.records.places import Places

VPC = Intent(
    at_s=1_800_000_000,
    step="create",
    testbed="aws-4x",
    lease="amber",
    region="eu-central-1",
    type="aws_vpc",
    address="module.aws.aws_vpc.this",
    name="soakbed-aws-4x",
)
MADE = VPC.then("made", at_s=VPC.at_s + 1, id="vpc-1")
GONE = MADE.then("gone", at_s=VPC.at_s + 2)


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        pytest.param([], [], id="nothing was ever made"),
        pytest.param([VPC], [VPC], id="killed before anybody learned its id"),
        pytest.param([VPC, MADE], [MADE], id="made"),
        pytest.param([VPC, MADE, GONE], [], id="made and gone"),
        pytest.param([VPC, VPC.then("gone", at_s=1)], [], id="looked for, and never there"),
        pytest.param([VPC, MADE, GONE, VPC], [VPC], id="made again, and killed"),
        pytest.param(
            [VPC, MADE, VPC, VPC.then("made", at_s=1, id="vpc-2"), GONE],
            [VPC.then("made", at_s=1, id="vpc-2")],
            id="replaced: the old one going does not hide the new",
        ),
        pytest.param(
            [VPC, MADE, VPC.model_copy(update={"lease": "birch"}), GONE],
            [VPC.model_copy(update={"lease": "birch"})],
            id="another lease is another resource",
        ),
    ],
)
def test_what_may_still_be_there_is_what_was_not_seen_to_go(lines, left):
    assert open_intents(lines) == left


@given(st.lists(st.sampled_from(["vpc-1", "vpc-2", "vpc-3"])), st.data())
def test_no_order_of_going_hides_what_stays(made, data):
    lines = [step for id in made for step in (VPC, VPC.then("made", at_s=1, id=id))]
    gone = data.draw(st.lists(st.sampled_from(["vpc-1", "vpc-2", "vpc-3"])))
    lines += [VPC.then("gone", at_s=2, id=id) for id in gone]
    assert {line.id for line in open_intents(lines)} == set(made) - set(gone)


@pytest.fixture
def log(tmp_path) -> IntentLog:
    state = tmp_path / ".soakbed/aws-4x"
    return IntentLog.of(Places(project=tmp_path, state=state, cache=tmp_path))


def test_what_was_written_is_read_in_its_order(log):
    assert log.read() == []
    log.append([VPC, MADE])
    log.append([])
    log.append([GONE])
    assert log.read() == [VPC, MADE, GONE]
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_it_lies_outside_the_state_that_teardown_removes(log, tmp_path):
    log.append([VPC])
    assert log.path == tmp_path / ".soakbed/intents/aws-4x.jsonl"
    assert [found.path for found in all_intent_logs(tmp_path / ".soakbed")] == [log.path]


@given(st.integers(min_value=0, max_value=len(VPC.model_dump_json())))
def test_a_line_cut_short_by_a_kill_hides_no_other_line(tmp_path_factory, kept):
    log = IntentLog(tmp_path_factory.mktemp("intents") / "t.jsonl")
    log.append([MADE])
    with log.path.open("a") as file:
        file.write(VPC.model_dump_json()[:kept])
    log.append([GONE])
    whole = kept == len(VPC.model_dump_json())
    assert log.read() == ([MADE, VPC, GONE] if whole else [MADE, GONE])


def test_a_line_that_nobody_understands_is_no_silence(log):
    log.append([VPC])
    with log.path.open("a") as file:
        file.write('{"step": "melted"}\n')
    with pytest.raises(ArchiveError, match=r"aws-4x\.jsonl:2"):
        log.read()


def test_a_disk_that_takes_nothing_is_told_before_anything_is_made(log, monkeypatch):
    monkeypatch.setattr("os.write", lambda _handle, _text: 3)
    with pytest.raises(ArchiveError, match="nothing was made"):
        log.append([VPC])
