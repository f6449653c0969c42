"""One soak, and everything that may befall it: no recorded second is lost, and all is named."""

from __future__ import annotations

import json

import pytest

from tests.disturbances.course import Fault
from tests.disturbances.findings import findings_of, told_as_text
from tests.disturbances.proof import TARGET, Proof

pytestmark = [pytest.mark.root, pytest.mark.testbed]

LASTS_S = 190
# Seconds of the steady phase. The controller is away for half of it.
COURSE = (
    Fault(6, "master killed"),
    Fault(14, "master halted", 9),
    Fault(28, "master and workers parted", 9),
    Fault(42, "SSH refused", 23),
    Fault(70, "controller killed"),
    Fault(74, "engine killed"),
    Fault(92, "disk full", 8),
    Fault(106, "worker killed"),
    Fault(124, "host rebooted"),
    Fault(162, "controller resumes"),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("short_soakbed", [("t-survive", "10.83.74")], indirect=True)
def test_a_soak_survives_all_that_befalls_it(short_soakbed):
    soakbed = short_soakbed
    soakbed.run("provision")
    proof = Proof(soakbed.folder, soakbed.testbed, soakbed.environment)
    left = proof.undergo(COURSE, lasts_s=LASTS_S)
    findings = findings_of(left)
    assert all(one.holds for one in findings), told_as_text(findings)
    assert len(findings) == 5 + len(COURSE) - 1
    assert soakbed.summary()["targets"][TARGET]["status"] == "measured"
    said = proof.soak.said()
    assert "load goes on there" in said and "adopted" in said
    verdict = json.loads((left.run / TARGET / "verdict.json").read_text())
    assert {one["verdict"] for one in verdict["findings"]} <= {"valid", "invalid"}, verdict
