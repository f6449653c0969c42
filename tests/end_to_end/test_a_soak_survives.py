"""One soak, and everything that may befall it: no recorded second is lost, and all is named."""

from __future__ import annotations

import json

import pytest

from tests.disturbances.course import Fault
from tests.disturbances.findings import findings_of, told_as_text
from tests.disturbances.proof import TARGET, Proof

pytestmark = [pytest.mark.root, pytest.mark.testbed]

LASTS_S = 160
# Seconds of the steady phase. The controller is away for half of it.
COURSE = (
    Fault(4, "master killed"),
    Fault(10, "master halted", 8),
    Fault(22, "master and workers parted", 8),
    Fault(34, "SSH refused", 23),
    Fault(60, "controller killed"),
    Fault(63, "engine killed"),
    Fault(78, "disk full", 7),
    Fault(90, "worker killed"),
    Fault(104, "host rebooted"),
    Fault(140, "controller resumes"),
)
# What a short run on a busy machine may lack, and what these seconds take of one.
LACKS = {"coverage", "sample_carries_p99"}


@pytest.mark.timeout(1200)  # on a machine that does much else; five minutes on one that does not
@pytest.mark.parametrize("short_soakbed", [("t-survive", "10.83.76")], indirect=True)
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
    lacking = {one["rule"] for one in verdict["findings"] if one["verdict"] == "incomplete"}
    assert lacking <= LACKS
