"""The check of a target from the load host, as the controller asks for it."""

import json
from dataclasses import dataclass, field
from importlib import import_module

import pytest

from soakbed.adapters.ssh import HostUnreachable, Result
from soakbed.errors import ConfigureError
from soakbed.records.run import NotMeasured, ReadyTarget
from soakbed.records.testbed import Host, Testbed
from soakbed.stages import client_check
from soakbed.stages.client_check import broken_promise, require_promise

L1 = Host(name="l1", duty="load", address="10.0.0.9", key_file="k", cpus=(1,))
TESTBED = Testbed(
    name="t", provider="local", shares_machine=True, known_hosts_file="k", hosts={"l1": L1}
)
ENDPOINTS = ("10.0.0.1:2479", "10.0.0.2:2479")
FOUND = Result(0, json.dumps({"regions": 24}), "")
FAILED = Result(
    1, "", "region 7: put ended failed (busy): scheduler is busy\nremedy: look at the log\n"
)


@dataclass
class FakeHost:
    """Answers every command alike."""

    answer: Result | Exception = FOUND
    asked: list[list[str]] = field(default_factory=list)

    def run(self, _host, command, *, timeout_s=60, check=True):
        self.asked.append(list(command))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def ready(target: str = "tikv") -> ReadyTarget:
    return ReadyTarget(
        target=target,
        profile="tuned",
        version="6.5.5",
        substituted=False,
        artifacts=(),
        endpoints=ENDPOINTS,
        binaries={},
        effective={},
    )


def test_tikv_is_asked_with_the_loads_own_certificate():
    host = FakeHost()
    require_promise("tikv", ENDPOINTS, L1, shell=host)
    (command,) = host.asked
    assert command[-3:] == ["--pd", *ENDPOINTS]
    assert "--cert=/etc/soakbed/pki/client.crt" in command
    assert "--key=/etc/soakbed/pki/client.key" in command


@pytest.mark.parametrize("target", ["etcd", "redis_cluster"])
def test_targets_with_tools_of_their_own_are_not_asked_again(target):
    host = FakeHost()
    require_promise(target, ENDPOINTS, L1, shell=host)
    assert broken_promise(ready(target), TESTBED, shell=host) == []
    assert host.asked == []


def test_a_broken_promise_before_the_load_is_an_error_with_the_checks_own_words():
    with pytest.raises(ConfigureError) as caught:
        require_promise("tikv", ENDPOINTS, L1, shell=FakeHost(FAILED))
    assert "tikv does not keep its promise to l1: region 7: put ended failed" in str(caught.value)
    assert caught.value.remedy == "look at the log"


def test_a_check_that_says_nothing_still_tells_how_it_ended():
    with pytest.raises(ConfigureError, match="ended with 137"):
        require_promise("tikv", ENDPOINTS, L1, shell=FakeHost(Result(137, "", "")))


@pytest.mark.parametrize("answer", [FAILED, HostUnreachable("l1 is away", remedy="wait")])
def test_after_the_load_it_is_an_alarm(answer):
    (alarm,) = broken_promise(ready(), TESTBED, shell=FakeHost(answer))
    assert "l1" in alarm
    assert "\n" not in alarm


def test_after_the_load_a_kept_promise_and_a_target_that_was_never_up_raise_none():
    assert broken_promise(ready(), TESTBED, shell=FakeHost()) == []
    never = NotMeasured(target="tikv", reason="unreachable", remedy="name a folder")
    assert broken_promise(never, TESTBED, shell=FakeHost(FAILED)) == []


@pytest.mark.parametrize("module", client_check._CHECKS.values())
def test_the_program_that_is_called_is_there(module):
    assert callable(import_module(module).main)
