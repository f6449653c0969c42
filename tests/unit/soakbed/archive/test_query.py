"""One SELECT over the tables of all runs, and nothing that could change them."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from soakbed.archive.data.collate import collate
from soakbed.archive.query import VIEWS, ask
from soakbed.errors import ArchiveError, SpecError
from tests.unit.soakbed.archive.spools import spool_of, target, window

TOLD = {"status": "measured", "verdict": "valid", "read": {"response_p99_us": 700}}


@pytest.fixture
def results(tmp_path):
    for run, count in (("one", 3), ("other", 5)):
        folder = target(tmp_path / run / "etcd", [window(seq) for seq in range(count)])
        collate(folder)
        (tmp_path / run / "summary.json").write_text(json.dumps({"targets": {"etcd": TOLD}}))
    (tmp_path / "latest").symlink_to("other")
    return tmp_path


def test_a_query_sees_the_tables_of_every_run_once(results):
    told = ask(results, "SELECT run, target, sum(ok)::INT FROM counters GROUP BY ALL ORDER BY ALL")
    assert told.columns[:2] == ("run", "target")
    assert told.rows == [("one", "etcd", 120), ("other", "etcd", 200)]


def test_runs_and_targets_hold_the_summaries(results):
    rows = ask(results, "SELECT run, verdict, read_response_p99_us, collated FROM targets").rows
    assert rows == [("one", "valid", 700, True), ("other", "valid", 700, True)]


def test_histograms_are_lists_that_sql_can_add(results):
    sql = (
        "SELECT sum(c) FROM (SELECT unnest(counts) AS c FROM windows "
        "WHERE run = 'one' AND operation = 'read' AND kind = 'response')"
    )
    assert ask(results, sql).rows == [(60,)]


def test_damages_are_a_view_of_their_own(results):
    assert ask(results, "SELECT count(*) FROM damages").rows == [(0,)]
    folder = results / "one" / "etcd"
    spool_of(folder).write_bytes(spool_of(folder).read_bytes()[:-1])
    collate(folder)
    rows = ask(results, "SELECT run, session, worker, kind FROM damages ORDER BY kind").rows
    assert rows == [("one", "steady", 0, "cut_frame"), ("one", "steady", 0, "no_end")]


def test_samples_of_an_older_soakbed_stand_beside_newer_ones_and_lack_nothing_but_values(results):
    written = {"host": ["d1", "d1"], "at_s": [1.0, 2.0], "net_sent_packets": [7.0, 8.0]}
    for run, columns in (("one", ("host", "at_s")), ("other", tuple(written))):
        folder = results / run / "etcd" / "data" / "hosts" / "hour=1970-01-01T00"
        folder.mkdir(parents=True)
        held = {name: written[name] for name in columns}
        pq.write_table(pa.table(held), folder / "0.parquet")
    sql = "SELECT run, sum(net_sent_packets), count(pps_allowance_exceeded) FROM hosts GROUP BY run"
    assert ask(results, f"{sql} ORDER BY run").rows == [("one", None, 0), ("other", 15.0, 0)]


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_there_without_any_run(tmp_path, view):
    assert ask(tmp_path, f"SELECT count(*) FROM {view}").rows == [(0,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs",
        "COPY (SELECT 1) TO '/tmp/soakbed-query-test.csv'",
        "SELECT 1; SELECT 2",
        "SELECT * FROM read_csv('/etc/hostname')",
        "SET enable_external_access = true",
        "SELECT nothing FROM runs",
        "SELEC 1",
        "",
    ],
)
def test_what_is_not_one_select_over_the_archive_is_refused(results, sql):
    with pytest.raises(SpecError) as raised:
        ask(results, sql)
    assert "windows" in raised.value.mistakes[0].remedy


def test_a_damaged_table_is_an_error_of_the_archive(results):
    file = next(results.glob("one/etcd/data/windows/*/*"))
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(ArchiveError, match="cannot be read"):
        ask(results, "SELECT sum(count) FROM windows")
