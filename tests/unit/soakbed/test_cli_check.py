"""`soakbed check` as a user types it: words, JSON, and the exit code that a script reads."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from soakbed.cli import app
from soakbed.errors import SpecError

STALE = """{:process 0 :type :invoke :f :write :value 1}
{:process 0 :type :ok :f :write :value 1}
{:process 1 :type :invoke :f :write :value 2}
{:process 1 :type :ok :f :write :value 2}
{:process 2 :type :invoke :f :read :value nil}
{:process 2 :type :ok :f :read :value 1}
"""


@pytest.fixture
def check(tmp_path):
    def typed(text, *words):
        file = tmp_path / "history.edn"
        file.write_text(text)
        done = CliRunner().invoke(app, ["check", str(file), *words], env={"COLUMNS": "160"})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout

    return typed


def test_a_violation_is_shown_with_its_operations_and_the_level_that_holds(check):
    code, told = check(STALE, "--model", "register")
    assert code == 1
    assert "violation: register, 3 operations on 1 keys, zones" in told
    assert "2: read -> 1" in told
    assert "strongest level that holds: sequential" in told


def test_a_search_that_is_stuck_says_what_the_model_held(check):
    code, told = check(STALE, "--model", "cas-register")
    assert code == 1
    assert "the model then holds 2" in told
    code, told = check(STALE, "--model", "cas-register", "--json")
    judged = json.loads(told)
    assert (code, judged["held"], judged["strongest"]) == (1, 2, "sequential")
    assert judged["witness"][0]["line"] == 5


def test_the_exit_code_is_of_the_level_that_was_asked_for(check):
    assert check(STALE.replace(":read :value 1", ":read :value 2"), "--model", "register")[0] == 0
    code, told = check(STALE, "--model", "register", "--level", "sequential")
    assert code == 0
    assert "asked for sequential: ok" in told
    back = STALE.replace(":process 1", ":process 0").replace(
        "{:process 2 :type :invoke",
        "{:process 2 :type :invoke :f :read}\n{:process 2 :type :ok :f :read :value 2}\n"
        "{:process 2 :type :invoke",
    )
    code, told = check(back, "--model", "register", "--level", "monotonic-reads", "--json")
    judged = json.loads(told)
    assert (code, judged["strongest"]) == (1, "read-your-writes")
    assert judged["asked"] == {"level": "monotonic-reads", "answer": "violation"}
    tested = {one["name"]: one for one in judged["levels"]}
    assert len(tested["monotonic-writes"]["witness"]) == 4


def test_a_search_without_time_is_unknown(check):
    adds = [f"{{:process {at} :type :invoke :f :add :value {1 << at}}}\n" for at in range(40)]
    over = [f"{{:process {at} :type :ok :f :add :value {1 << at}}}\n" for at in range(40)]
    read = "{:process 99 :type :invoke :f :read}\n"
    end = "{:process 99 :type :ok :f :read :value -1}\n"
    text = "".join([*adds, read, *over, end])
    code, told = check(text, "--model", "counter", "--time-limit", "0.1")
    assert code == 3
    assert "no order was found and none ruled out within 0.1 s" in told


@pytest.mark.parametrize(
    ("text", "words", "problem"),
    [
        (STALE + "{:process 7}\n", ["--model", "register"], "line 7 = a map without :type"),
        (STALE, ["--model", "bank-note"], "no such model"),
        (STALE, ["--model", "register", "--level", "strong"], "no such level"),
        (STALE, ["--model", "cas-register", "--level", "monotonic-reads"], "cannot be tested"),
        (STALE, ["--model", "kv"], "kv does not know read, write"),
    ],
)
def test_what_cannot_be_checked_is_a_mistake_with_its_place_and_a_remedy(
    check, text, words, problem
):
    with pytest.raises(SpecError, match=f"(?s){problem}") as raised:
        check(text, *words)
    assert raised.value.exit_code == 2
