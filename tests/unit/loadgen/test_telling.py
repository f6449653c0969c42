"""What befalls a worker is said once when it begins and once when it ends, and is an event."""

from __future__ import annotations

import re

import pytest

from loadgen.telling import ANSWER_TIMEOUT_S, Troubles, tell
from soakbed.archive.data.journal_signs import signs_of
from soakbed.records.policy import row_of

LONG_S = ANSWER_TIMEOUT_S + 0.5
UNIT = "soakbed-load-worker@20260101T000000Z-x-t-etcd-steady:0"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def troubles(said) -> Troubles:
    return Troubles(0, tell=said.append)


def test_a_master_that_is_silent_is_told_once_and_once_when_it_is_back(troubles, said):
    troubles.answered(0.1)
    for silent_s in (1.0, LONG_S, LONG_S + 1, 30.0):
        troubles.master(silent_s)
    troubles.answered(30.4)
    troubles.answered(1.0)
    assert said == [
        "the master has not answered for 6 s; engine 0 goes on by its plan",
        "the master answers again after 30 s",
    ]


def test_a_master_that_is_not_up_yet_is_no_trouble(troubles, said):
    troubles.master(LONG_S)
    troubles.answered(LONG_S)
    assert said == []


def test_a_disk_that_is_full_is_told_once_and_once_when_it_is_not(troubles, said):
    for why in ("", "No space left on device", "No space left on device", "", ""):
        troubles.disk(why)
    assert said == [
        "the disk takes nothing: No space left on device; engine 0 keeps what it can",
        "the disk takes what it is given again",
    ]


def test_every_line_is_an_event_of_the_policy(troubles, said, capsys):
    troubles.answered(0.0)
    troubles.master(LONG_S)
    troubles.answered(LONG_S)
    troubles.disk("full")
    troubles.disk("")
    said.append("engine 0 died, exit code -9; started again")  # loadgen.minding
    for line in said:
        tell(line)
    kinds = []
    for line in capsys.readouterr().err.splitlines():
        (sign,) = [one for one in signs_of(UNIT, "etcd") if re.search(one.pattern, line)]
        assert "journal" in row_of(sign.kind).sources
        kinds.append(sign.kind)
    assert kinds == ["steering_lost"] * 2 + ["load_disk_full"] * 2 + ["load_died"]
