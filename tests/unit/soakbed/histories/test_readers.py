"""Histories of others are read as they mean them, and what is none is told with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.histories.models import MODELS
from soakbed.histories.operation import FAILED, OK, UNKNOWN
from soakbed.histories.readers.edn import EdnMistake, forms
from soakbed.histories.readers.events import Mistaken
from soakbed.histories.readers.files import read_history
from soakbed.histories.search import search


@pytest.fixture
def of(tmp_path):
    def read(text):
        file = tmp_path / "history"
        file.write_text(text)
        return read_history(file)

    return read


LOG = """INFO  jepsen.core - Starting up
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 1\t:invoke\t:write\t3
INFO  jepsen.util - 0\t:ok\t:read\tnil
INFO  jepsen.util - 1\t:ok\t:write\t3
INFO  jepsen.util - :nemesis\t:info\t:start\tnil
2026-11-24 09:00:00,001 INFO [worker 2] jepsen.util: 2\t:invoke\t:cas\t[3 4]
INFO  jepsen.util - 2\t:fail\t:cas\t[3 4]
INFO  jepsen.util - 1\t:invoke\t:write\t5
INFO  jepsen.util - 1\t:info\t:write\t:timed-out
INFO  jepsen.util - 0\t:invoke\t:read\tnil
INFO  jepsen.util - 0\t:fail\t:read\t:timed-out
INFO  jepsen.util - 3\t:invoke\t:write\t6
"""


def test_log_lines_of_jepsen(of):
    told = [(one.told, one.outcome, one.line) for one in of(LOG)]
    assert told == [
        ("0: read", OK, 2),
        ("1: write 3", OK, 3),
        ("2: cas (3, 4) -> False", OK, 7),
        ("1: write 5 (unknown)", UNKNOWN, 9),
        ("0: read", FAILED, 11),
        ("3: write 6 (unknown)", UNKNOWN, 13),
    ]
    # It held 3, a swap that asked for 3 found something else, and the other writes came later.
    assert search(of(LOG), MODELS["cas-register"]()).answer == "violation"


def test_text_of_porcupine_with_keys(of):
    text = """{:process 0, :type :invoke, :f :append, :key "0", :value "x 0"}
{:process 1, :type :invoke, :f :get, :key "0", :value nil}
{:process 0, :type :ok, :f :append, :key "0", :value "x 0"}
{:process 1, :type :ok, :f :get, :key "0", :value "x 0"}
"""
    append, get = of(text)
    assert (append.key, append.argument, append.result) == ("0", "x 0", None)
    assert (get.argument, get.result, get.start, get.finish) == (None, "x 0", 1, 3)
    assert search(of(text), MODELS["kv"]()).answer == "ok"


def test_edn_of_jepsen_and_knossos_with_tags_and_independent_keys(of):
    text = """; a history
[#jepsen.history.Op{:index 0, :time 12, :type :invoke, :process 0, :f :write,
                    :value #jepsen.independent.Tuple[7 1]}
 {:index 1 :type :ok :process 0 :f :write :value [7 1]}
 {:type :info, :process :nemesis, :f :kill, :value {"n1" :killed}}
 {:type :invoke, :process 1, :f :cas, :value [7 [1 2]]}
 {:type :ok, :process 1, :f :cas, :value [7 [1 2]]}
 {:type :invoke, :process 2, :f :read, :value [7 nil]}
 {:type :ok, :process 2, :f :read, :value [7 2], :error #{:a "b"}}]"""
    assert [(one.key, one.argument, one.result) for one in of(text)] == [
        (7, 1, None),
        (7, (1, 2), True),
        (7, None, 2),
    ]
    assert search(of(text), MODELS["cas-register"]()).answer == "ok"


@pytest.mark.parametrize(
    ("text", "line", "stood", "expected"),
    [
        ("{:process 0 :type :invoke :f :read}\n{:process 0 :f :read}", 2, ":type", ":process"),
        ("{:process 0 :type :ok :f :read}", 1, "the end of an operation of process 0", "its call"),
        ("{:process 0 :type :done :f :read}", 1, ":type done", "invoke, ok, fail, info"),
        ("{:process 0 :type :invoke :f :read", 1, "the end of the file", "'}' for line 1"),
        ("\n{:process 0 :type]", 2, "']'", "'}', which closes line 2"),
        ("[{:process}]", 1, "a key without a value", "pairs"),
        ("[1]", 1, "'1'", "a map"),
        ('"a history"', 1, "a history", "a map"),
        ("INFO  jepsen.util - and then nothing", 1, "and then nothing", "0 :invoke :write 3"),
        (
            "{:process 0 :type :invoke :f :read}\n{:process 0 :type :invoke :f :read}",
            2,
            "a call of process 0",
            "the end of its call in line 1 first",
        ),
        (
            "{:process 0 :type :invoke :f :read}\n{:process 0 :type :ok :f :write}",
            2,
            "the end of write",
            "the end of read, called in line 1",
        ),
        ("{:process 0 :type :invoke :f :cas :value 3}", 1, "cas with :value 3", "[old new]"),
        ("\n{:process 0 :type :invoke :f :transfer}", 2, "with :value None", "[from to amount]"),
    ],
)
def test_what_is_no_history_is_told_with_its_line(of, text, line, stood, expected):
    with pytest.raises(Mistaken) as raised:
        of(text)
    (mistake,) = raised.value.mistakes
    assert mistake.line == line
    assert stood in mistake.stood
    assert expected in mistake.expected


def test_every_mistake_is_told_at_once_up_to_twenty(of):
    with pytest.raises(Mistaken) as raised:
        of("{:process 0 :f :read}\n" * 3)
    assert [one.line for one in raised.value.mistakes] == [1, 2, 3]
    with pytest.raises(Mistaken) as raised:
        of("{:process 0 :type :ok :f :read}\n" * 300)
    assert len(raised.value.mistakes) == 20


EDN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def edn(value):
    if value is None:
        return "nil"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{edn(key)} {edn(held)}" for key, held in value.items()) + "}"
    if isinstance(value, tuple):
        return f"[{' '.join(map(edn, value))}]"
    return str(value)


@given(EDN)
def test_what_is_written_as_edn_is_read_back(value):
    (form,) = forms(edn(value))
    assert form.value == value


@given(st.text())
def test_any_text_is_edn_or_a_mistake(text):
    try:
        list(forms(text))
    except EdnMistake as mistake:
        assert 1 <= mistake.line <= text.count("\n") + 1
