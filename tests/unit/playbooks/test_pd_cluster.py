"""Splitting and spreading a key space, against a local server that answers as PD does."""

import collections
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.keyspace import key_bytes
from tests.standins.local import STORES, endpoint_of, load

pd_cluster = load("pd_cluster")

from ansible.module_utils import mutual_tls, pd_api  # noqa: E402  (only importable from here)


def pd_at(pki, *endpoints):
    return pd_api.Pd(list(endpoints), mutual_tls.context(str(pki.ca), *map(str, pki.pair("root"))))


@pytest.fixture
def cluster(pki, serve, monkeypatch):
    """The module's own object over a stand-in; what a test gives goes over the usual options."""
    monkeypatch.setattr(pd_cluster, "POLL_S", 0.01)

    def made(member=None, **options):
        member = member or serve()
        usual = {
            "stores": list(STORES),
            "key_prefix": "bench:",
            "keys": 1000,
            "regions": 24,
            "tolerance": 1,
            "replicas": 3,
            "evict": "",
            "spread": True,
            "timeout_s": 20,
        }
        pd = pd_at(pki, endpoint_of(member))
        return pd_cluster.Cluster(pd, usual | options, lambda: None), member

    return made


# ---- where regions begin


@pytest.mark.parametrize(("keys", "regions"), [(20_000, 24), (1000, 7), (3, 3), (100, 1)])
def test_split_keys_are_keys_of_the_load_at_even_distances(keys, regions):
    found = [bytes.fromhex(key) for key in pd_cluster.split_keys("bench:", keys, regions)]
    assert found == [key_bytes("bench:", i * keys // regions) for i in range(1, regions)]
    begins = [0, *(int(key.removeprefix(b"bench:")) for key in found), keys]
    sizes = [high - low for low, high in itertools.pairwise(begins)]
    assert max(sizes) - min(sizes) <= 1


def test_more_regions_than_keys_split_each_key_off_once():
    assert len(pd_cluster.split_keys("bench:", 3, 10)) == 2


# ---- who leads


@given(st.lists(st.integers(1, 3), min_size=1, max_size=60))
def test_moving_leaders_evens_them_out_with_as_few_moves_as_will_do(stores):
    leaders = dict(enumerate(stores))
    chosen = pd_cluster.moves(leaders, {region: [1, 2, 3] for region in leaders}, [1, 2, 3])
    held = collections.Counter(
        {1: 0, 2: 0, 3: 0} | collections.Counter((leaders | chosen).values())
    )
    assert max(held.values()) - min(held.values()) <= 1
    share = len(stores) / 3
    surplus = sum(max(0, stores.count(store) - share) for store in (1, 2, 3))
    assert len(chosen) <= surplus + 2


def test_a_leader_moves_only_to_a_store_that_has_a_replica():
    leaders = dict.fromkeys(range(6), 1)
    chosen = pd_cluster.moves(leaders, {region: [1, 2, 3] for region in leaders}, [1, 2, 3, 4])
    assert 4 not in chosen.values()


def test_a_store_that_is_not_to_lead_gives_everything_up():
    leaders = {region: region % 3 + 1 for region in range(9)}
    chosen = pd_cluster.moves(leaders, {region: [1, 2, 3] for region in leaders}, [1, 3])
    held = collections.Counter((leaders | chosen).values())
    assert (held[2], sorted((held[1], held[3]))) == (0, [4, 5])


# ---- the whole way


def test_a_fresh_cluster_is_split_and_its_leaders_are_spread(cluster):
    made, member = cluster()
    topology = made.bring_about()
    assert topology == {"regions": 24, "leaders": dict.fromkeys(STORES, 8)}
    begins = sorted(region["start"] for region in member.map.regions)
    assert begins == ["", *pd_cluster.split_keys("bench:", 1000, 24)]
    assert made.did[0] == "split at 23 keys: 100 %"
    assert "is led by 10.0.0." in made.did[-1]


def test_doing_it_again_changes_nothing(cluster):
    made, member = cluster()
    made.bring_about()
    again, _ = cluster(member)
    assert again.bring_about() == {"regions": 24, "leaders": dict.fromkeys(STORES, 8)}
    assert again.did == []


def test_many_regions_are_split_in_several_calls(cluster):
    made, _ = cluster(regions=250)
    assert made.bring_about()["regions"] == 250
    assert [line for line in made.did if line.startswith("split")] == [
        "split at 100 keys: 100 %",
        "split at 100 keys: 100 %",
        "split at 49 keys: 100 %",
    ]


def test_a_key_that_never_splits_is_an_error_with_the_count(cluster):
    made, member = cluster(timeout_s=0.5)
    member.map.deaf = {pd_cluster.split_keys("bench:", 1000, 24)[5]}
    with pytest.raises(pd_api.NotYet, match=r"after 0.5 s: 1 of 23 splits are not done"):
        made.bring_about()


def test_leaders_that_do_not_move_are_an_error_and_no_measurement(cluster):
    made, member = cluster(timeout_s=0.5)
    member.map.stubborn = set(range(1000))
    with pytest.raises(pd_api.NotYet, match=r"after 0.5 s: \d+ leaders are to move"):
        made.bring_about()


def test_a_spread_beyond_the_tolerance_is_an_error_that_names_the_store(cluster):
    made, member = cluster()
    made.bring_about()
    for region in member.map.regions[:6]:
        region["leader"] = 1
    stores = dict(enumerate(STORES, start=1))
    with pytest.raises(
        pd_api.NotYet, match=r"leads \d+ of 24 regions, its share is 8.0 and 1 more"
    ):
        made.placement(stores)


def test_after_a_load_it_only_looks(cluster):
    made, member = cluster()
    made.bring_about()
    for region in member.map.regions:
        region["leader"] = 1
    looking, _ = cluster(member, spread=False)
    assert looking.bring_about()["leaders"] == {STORES[0]: 24, STORES[1]: 0, STORES[2]: 0}
    assert looking.did == []


def test_looking_only_does_not_split_either(cluster):
    made, member = cluster(spread=False, timeout_s=0.5)
    with pytest.raises(pd_api.NotYet, match="23 of 23 splits are not done"):
        made.bring_about()
    assert len(member.map.regions) == 1


def test_a_store_about_to_be_restarted_leads_nothing_and_gets_its_share_back(cluster):
    made, member = cluster()
    made.bring_about()
    away, _ = cluster(member, evict=STORES[1])
    assert away.bring_about() == {"regions": 24, "leaders": {STORES[0]: 12, STORES[2]: 12}}
    back, _ = cluster(member)
    assert back.bring_about()["leaders"] == dict.fromkeys(STORES, 8)


# ---- stores that are not as they must be


def test_a_cluster_that_no_store_has_begun_is_not_ready(cluster, serve):
    made, _ = cluster(serve(stores=()), timeout_s=0.5)
    with pytest.raises(pd_api.NotYet, match="TiKV cluster not bootstrapped"):
        made.bring_about()


def test_a_store_that_is_missing_is_named(cluster, serve):
    made, _ = cluster(serve(), stores=[*STORES, "10.0.0.4:20160"], timeout_s=0.5)
    with pytest.raises(pd_api.NotYet, match=r"stores not registered: 10\.0\.0\.4:20160"):
        made.bring_about()


def test_a_store_of_another_cluster_is_named_with_the_way_out(cluster, serve):
    made, _ = cluster(serve(stores=(*STORES, "10.9.9.9:20160")), timeout_s=0.5)
    with pytest.raises(pd_api.NotYet, match=r"10\.9\.9\.9:20160 besides; wipe them all"):
        made.bring_about()


def test_a_store_that_went_away_is_named(cluster):
    made, member = cluster(timeout_s=0.5)
    member.map.stores[STORES[1]]["seen"] = 0.0
    with pytest.raises(pd_api.NotYet, match=r"10\.0\.0\.2:20160 is Disconnected"):
        made.bring_about()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"peers": [{"store_id": 1}, {"store_id": 2}]}, "has 2 of 3 replicas"),
        ({"peers": [{"store_id": 1}] * 2 + [{"store_id": 3, "is_learner": True}]}, "2 of 3"),
        ({"leader": {}}, "region 100 has no leader"),
        ({"pending_peers": [{"store_id": 2}]}, "down or behind"),
        ({"down_peers": [{"peer": {"store_id": 2}}]}, "down or behind"),
    ],
    ids=["replica missing", "a learner is no replica", "no leader", "pending", "down"],
)
def test_a_region_that_is_not_whole_is_named(cluster, monkeypatch, change, says):
    made, member = cluster()
    row = {**member.map.region_rows()["regions"][0], **change}
    monkeypatch.setattr(member.map, "region_rows", lambda: {"regions": [row]})
    with pytest.raises(pd_api.NotYet, match=says):
        made.replicated()


def test_waiting_ends_when_the_store_does(cluster):
    made, member = cluster(timeout_s=60)
    member.map.stores[STORES[1]]["seen"] = 0.0

    def gone():
        raise RuntimeError("soakbed-tikv.service has ended")

    made.alive = gone
    with pytest.raises(RuntimeError, match="has ended"):
        made.bring_about()
