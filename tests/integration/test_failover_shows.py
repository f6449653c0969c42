"""The failover shows: what a takeover loses is found and named; what etcd promises, it keeps.

Where something must be found, real engines press and their recorded histories are judged.
"""

from __future__ import annotations

from tests.benchmarks.failover_shows import etcd_show, redis_show


def test_writes_that_only_a_paused_master_had_are_lost_by_a_takeover_and_named(
    tmp_path, throwaway_pki
):
    shown = redis_show(tmp_path, throwaway_pki, engine=True)
    assert not shown.linearizable
    assert shown.violations > 0
    assert shown.lost
    for lost in shown.lost:
        assert lost.sent_ns <= lost.acknowledged_ns < lost.read_ns
        assert lost.value // 10**14 == lost.worker
        assert f"key {lost.key}: value {lost.value}, acknowledged to worker {lost.worker}" in (
            lost.told()
        )


def test_a_paused_master_that_stays_one_loses_nothing(tmp_path, throwaway_pki):
    shown = redis_show(tmp_path, throwaway_pki, failover=False)
    assert shown.linearizable
    assert shown.lost == ()
    assert shown.acknowledged >= 300


def test_etcd_whose_leader_is_killed_stays_linearizable_and_the_failover_has_a_time(
    tmp_path, throwaway_pki
):
    shown = etcd_show(tmp_path, throwaway_pki, engine=True)
    assert shown.linearizable
    assert shown.lost == ()
    assert shown.failover_s > 0
    assert "no write was acknowledged for" in shown.told()
