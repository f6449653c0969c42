"""The event policy: every kind has one row, and what is left out is what was not the target's."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.archive.data.journal_signs import KERNEL, signs_of
from soakbed.records.collated import DamageKind
from soakbed.records.events import SEVERITIES, Event
from soakbed.records.policy import CONSEQUENCES, POLICY, consequence_of, event, left_out, stops

SOAKBED = Path(__file__).resolve().parents[4] / "soakbed"
UNITS = (
    "soakbed-etcd",
    "soakbed-etcd-defrag",
    "soakbed-redis-master",
    "soakbed-pd",
    "soakbed-tikv",
    "soakbed-load-worker@run-any-steady:0",
    "soakbed-load-master@run-any-steady",
)
KINDS = {row.kind: row for row in POLICY}


def told(kind: str, at_s: float = 100.0, **more) -> Event:
    return event(kind, at_s, host="d1", source=KINDS[kind].sources[0], text="", **more)


def test_every_kind_has_one_row_and_says_why_and_what_to_do():
    assert len(KINDS) == len(POLICY)
    for row in POLICY:
        assert row.meaning and row.why and row.remedy, row.kind
        assert row.severity in SEVERITIES


def test_no_wording_and_no_damage_is_of_a_kind_without_a_row():
    found = {(sign.kind, "kernel") for sign in KERNEL}
    for target in ("etcd", "redis_cluster", "tikv", "any"):
        for unit in UNITS:
            found |= {(sign.kind, "journal") for sign in signs_of(unit, target) or ()}
    found |= {(kind, "archive") for kind in get_args(DamageKind)}
    assert [one for one in sorted(found) if one[1] not in KINDS[one[0]].sources] == []


def test_no_code_makes_an_event_without_asking_the_policy():
    made = [
        f"{path.relative_to(SOAKBED)}: {line.strip()}"
        for path in sorted(SOAKBED.rglob("*.py"))
        if path.name != "policy.py"
        for line in path.read_text().splitlines()
        if re.search(r"(?<!\.)\bEvent\((?!\*\*)", line) and "class " not in line
    ]
    assert made == []


@pytest.mark.parametrize(
    ("kind", "consequence"),
    [
        ("log_rewrite", "note"),
        ("defrag", "note"),
        ("region_leader", "note"),
        ("network_burst", "note"),
        ("leader_change", "flag"),
        ("disk_stall", "flag"),
        ("disk_slow", "flag"),
        ("machine_stolen", "flag"),
        ("clock_step", "leave_out"),
        ("throttled", "leave_out"),
        ("cpu_stolen", "leave_out"),
        ("network_throttled", "leave_out"),
        ("oom_elsewhere", "leave_out"),
        ("load_died", "leave_out"),
        ("kernel_stall", "phase_invalid"),
        ("cluster_down", "phase_invalid"),
        ("oom_kill", "stop"),
        ("member_down", "stop"),
        ("alarm", "stop"),
    ],
)
def test_what_the_target_does_stays_and_what_is_done_to_it_does_not(kind, consequence):
    assert KINDS[kind].consequence == consequence
    assert consequence_of(told(kind)) == consequence
    assert stops(told(kind)) == (consequence == "stop")


def test_what_happened_without_load_is_a_note_whatever_its_kind():
    quiet = Event(1.0, 1.0, "d1", "journal", "oom_kill", "note", "")
    assert consequence_of(quiet) == "note"
    assert not stops(quiet)
    assert left_out([Event(1.0, 1.0, "d1", "samples", "clock_step", "note", "")]) == ()


def test_an_event_of_another_soakbed_follows_its_severity():
    for severity in SEVERITIES:
        strange = Event(1.0, 1.0, "d1", "journal", "unheard_of", severity, "")
        assert CONSEQUENCES[consequence_of(strange)][0] == severity


def test_a_kind_that_nobody_thought_of_or_of_a_wrong_source_is_refused():
    with pytest.raises(KeyError):
        event("unheard_of", 1.0, host="", source="journal", text="")
    with pytest.raises(ValueError, match="alarm cannot come from kernel"):
        event("alarm", 1.0, host="", source="kernel", text="")


def test_stretches_that_meet_are_one():
    many = [told("clock_step", 100.0), told("clock_step", 104.0), told("clock_step", 500.0)]
    assert left_out(many) == ((94, 106), (494, 502))


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 100))))
def test_every_spoiled_second_is_in_exactly_one_stretch(spans):
    events = [told("throttled", at_s, until_s=at_s + long_s) for at_s, long_s in spans]
    made = left_out(events)
    assert all(to_s < from_s for (_, to_s), (from_s, _) in pairwise(made))
    for one in events:
        inside = [True for from_s, to_s in made if from_s <= one.at_s and one.until_s < to_s]
        assert inside == [True]
