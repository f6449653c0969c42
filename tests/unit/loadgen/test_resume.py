"""After a boot go on those sessions that were begun, have no end and were not stopped."""

from __future__ import annotations

import os
from pathlib import Path

from loadgen.contract.plan import Keyspace, Plan
from loadgen.contract.spool import SpoolWriter
from loadgen.resume import main, units_to_start
from loadgen.session import HostShare, SessionFolder

END = {"kind": "end", "outcome": "finished"}


def session(folder: Path, name: str, *, ends: tuple[bool, ...] = (False,)) -> SessionFolder:
    made = SessionFolder(folder / name)
    made.path.mkdir()
    ranks = tuple(range(len(ends)))
    names = [f"master@{name}", *(f"worker@{name}:{rank}" for rank in ranks)]
    units = tuple(f"soakbed-load-{one}.service" for one in names)
    made.write_share(HostShare(ranks=ranks, units=units))
    plan = Plan("r", "s", "etcd", (), Keyspace(1, "k"), (), None, workers=len(ends))
    plan.write(made.plan_file)
    for rank, has_end in enumerate(ends):
        made.lock(rank).touch()
        writer = SpoolWriter(made.spool(rank))
        writer.append({"kind": "begin"})
        if has_end:
            writer.append(END)
        writer.close()
    return made


def test_a_session_without_an_end_is_started_with_its_master_first(tmp_path, capsys):
    made = session(tmp_path, "one", ends=(True, False))
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == list(made.share().units)


def test_sessions_that_ended_or_were_stopped_or_never_begun_stay_as_they_are(tmp_path):
    session(tmp_path, "ended", ends=(True, True))
    session(tmp_path, "stopped").stop_asked.touch()
    laid = session(tmp_path, "laid")
    laid.lock(0).unlink()
    (tmp_path / "no-session").mkdir()
    assert units_to_start(tmp_path) == []


def test_a_session_that_cannot_be_read_keeps_no_other_from_going_on(tmp_path, capsys):
    session(tmp_path, "broken").share_file.write_text("{")
    whole = session(tmp_path, "whole")
    assert units_to_start(tmp_path) == list(whole.share().units)
    assert "broken: left as it is" in capsys.readouterr().err


def test_nothing_is_started_but_units_of_load(tmp_path):
    made = session(tmp_path, "one")
    named = ("ssh.service", "soakbed-load-worker@a;b.service", "soakbed-load-master@x.service")
    made.write_share(HostShare(ranks=(0,), units=named))
    assert units_to_start(tmp_path) == ["soakbed-load-master@x.service"]


def test_the_newest_session_comes_first(tmp_path):
    for name, at_s in (("b-old", 1), ("a-new", 2)):
        os.utime(session(tmp_path, name).plan_file, (at_s, at_s))
    assert "a-new" in units_to_start(tmp_path)[0]
