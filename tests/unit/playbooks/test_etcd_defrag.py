"""The turns of etcd's housekeeping: when a member gives space back, waits, or leaves it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[3] / "playbooks/roles/etcd/files/defrag.py"
spec = importlib.util.spec_from_file_location("etcd_defrag", FILE)
defrag = importlib.util.module_from_spec(spec)
spec.loader.exec_module(defrag)

MB = 10**6


class Cluster:
    """etcdctl over three members that exist on paper."""

    def __init__(self, leader=3, sizes=(200, 200, 200), used=50, lag=0, alarm="", stays=False):
        self.leader, self.used, self.lag, self.alarm, self.stays = leader, used, lag, alarm, stays
        self.sizes = list(sizes)
        self.said: list[str] = []

    def __call__(self, words):
        self.said.append(" ".join(words))
        match words[0]:
            case "endpoint":
                return json.dumps(
                    [self.status(number) for number in (1, 2, 3) if self.size(number)]
                )
            case "alarm":
                return self.alarm
            case "move-leader":
                self.leader = self.leader if self.stays else int(words[1], 16)
            case "defrag":
                self.sizes[int(words[1][-1]) - 1] = self.used
        return ""

    def size(self, number):
        return self.sizes[number - 1]

    def status(self, number):
        return {
            "Endpoint": f"https://d{number}",
            "Status": {
                "header": {"member_id": number},
                "leader": self.leader,
                "raftIndex": 9000,
                "raftAppliedIndex": 9000 - (self.lag if number == 2 else 0),
                "dbSize": self.size(number) * MB,
                "dbSizeInUse": self.used * MB,
            },
        }


def turn(tmp_path, cluster, which="own", number=1, move=True):
    words = [
        which,
        f"--own=https://d{number}",
        "--endpoints=https://d1,https://d2,https://d3",
        f"--least-bytes={100 * MB}",
    ]
    words += ["--least-percent=45", "--timeout-s=9", f"--memory={tmp_path / 'waits'}"]
    given = defrag.arguments([*words, *(["--move-leader"] if move else [])])
    return defrag.Housekeeper(given, cluster).turn()


def defragmented(cluster):
    return [one for one in cluster.said if one.startswith("defrag")]


def test_a_follower_gives_back_what_is_unused_by_a_command_to_itself_alone(tmp_path):
    cluster = Cluster()
    told = turn(tmp_path, cluster)
    assert told.startswith("gave back 150.0 MB in ") and told.endswith("200.0 MB are 50.0 MB now")
    assert defragmented(cluster) == ["defrag --endpoints=https://d1 --command-timeout=9s"]


@pytest.mark.parametrize(("move", "leader"), [(True, 1), (False, 3)])
def test_the_leader_waits_for_the_last_turn_and_hands_over_before_it(tmp_path, move, leader):
    cluster = Cluster(leader=3)
    assert turn(tmp_path, cluster, number=3) == "leads, so it waits for the last turn"
    assert defragmented(cluster) == []
    assert "gave back" in turn(tmp_path, cluster, "last", number=3, move=move)
    assert cluster.leader == leader
    assert turn(tmp_path, cluster, "last", number=3) == "nothing was left for the last turn"
    assert len(defragmented(cluster)) == 1


def test_a_member_that_led_at_its_own_turn_has_the_last_one_whoever_leads_then(tmp_path):
    cluster = Cluster(leader=3)
    turn(tmp_path, cluster, number=3)
    cluster.leader = 1
    assert "gave back" in turn(tmp_path, cluster, "last", number=3)
    assert cluster.leader == 1


@pytest.mark.parametrize(
    ("cluster", "told"),
    [
        (Cluster(sizes=(99, 99, 99), used=1), "99.0 MB, 99% of it unused"),
        (Cluster(used=111), "200.0 MB, 44% of it unused"),
    ],
)
def test_a_small_or_a_full_file_is_left_as_it_is(tmp_path, cluster, told):
    assert turn(tmp_path, cluster) == f"nothing to give back: {told}"
    assert defragmented(cluster) == []


@pytest.mark.parametrize(
    ("cluster", "why"),
    [
        (Cluster(sizes=(200, 0, 200)), "2 of 3 members answer"),
        (Cluster(leader=0), "no leader"),
        (Cluster(alarm="memberID:1 alarm:NOSPACE"), "there is an alarm"),
        (Cluster(lag=5001), "lags by 5001 entries"),
    ],
)
def test_nothing_is_done_to_a_cluster_that_is_not_well(tmp_path, cluster, why):
    with pytest.raises(defrag.PutOff, match=why):
        turn(tmp_path, cluster)
    assert defragmented(cluster) == []


def test_a_leader_that_cannot_hand_over_is_not_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(defrag, "_LEAVES_WITHIN_S", 0.0)
    cluster = Cluster(leader=3, stays=True)
    turn(tmp_path, cluster, number=3)
    with pytest.raises(defrag.PutOff, match="still leads"):
        turn(tmp_path, cluster, "last", number=3)
    assert defragmented(cluster) == []
