"""A shell that waits: every call until its host answers, or until its patience ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from soakbed.adapters import patient
from soakbed.adapters.patient import PatientShell
from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Result
from soakbed.records.testbed import Host

L1 = Host(name="l1", duty="load", address="10.0.0.9", key_file="k")


class Refusing:
    """A shell whose host refuses so many calls, then answers."""

    def __init__(self, refusals: int) -> None:
        self.left = refusals

    def _answer(self, answer):
        self.left -= 1
        if self.left >= 0:
            raise HostUnreachable("l1 refuses", remedy="wait")
        return answer

    def run(self, host, command, *, timeout_s=60, check=True):
        if command == ["false"]:
            raise CommandFailed("false ended with 1", remedy="look")
        return self._answer(Result(0, "said", ""))

    def put_texts(self, host, folder, texts):
        self._answer(None)

    def get_tree(self, host, folder, into, *, timeout_s=600):
        self._answer(None)

    def read_part(self, host, path, offset, most_bytes):
        return self._answer(b"part")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(patient, "PAUSE_S", 0.0)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda shell: shell.run(L1, ["true"]), id="run"),
        pytest.param(lambda shell: shell.put_texts(L1, "/f", {}), id="put_texts"),
        pytest.param(lambda shell: shell.get_tree(L1, "/f", Path("x")), id="get_tree"),
        pytest.param(lambda shell: shell.read_part(L1, "/f", 0, 9), id="read_part"),
    ],
)
def test_every_call_is_tried_until_the_host_answers(call):
    said: list[str] = []
    call(PatientShell(Refusing(50), said.append))
    assert len(said) == 50
    assert "l1 refuses; waiting for it" in said[0]


def test_a_command_that_fails_is_not_tried_again():
    said: list[str] = []
    with pytest.raises(CommandFailed):
        PatientShell(Refusing(0), said.append).run(L1, ["false"])
    assert said == []


def test_patience_with_a_limit_ends():
    shell = PatientShell(Refusing(10**9), lambda _: None, patience_s=0.05)
    with pytest.raises(HostUnreachable):
        shell.run(L1, ["true"])
