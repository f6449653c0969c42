"""The double admits and refuses as TiKV 6.5 does (raftstore, `pre_propose_raft_command`)."""

import pytest

from tests.tikv_double.cluster import Cluster, Region, Store
from tests.tikv_double.messages import kvrpcpb
from tests.tikv_double.refusals import Refused, admit


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster({number: Store(number) for number in (1, 2, 3)})
    made.split(b"m")
    made.spread_leaders()
    return made


def asked(region: Region, store: int | None = None, **changes) -> kvrpcpb.Context:
    """The context of a client that knows everything."""
    store = region.leader if store is None else store
    context = kvrpcpb.Context(region_id=region.id, peer=region.peer(store))
    context.region_epoch.CopyFrom(region.meta().region_epoch)
    for name, value in changes.items():
        setattr(context, name, value)
    return context


def refused(cluster: Cluster, store: int, context: kvrpcpb.Context) -> Refused:
    with pytest.raises(Refused) as caught:
        admit(cluster, store, context)
    return caught.value


def test_a_client_that_knows_everything_is_admitted(cluster):
    for region in cluster.regions:
        assert admit(cluster, region.leader, asked(region)) == region


def test_a_wrong_store_is_the_first_thing_that_is_said(cluster):
    region = cluster.regions[0]
    error = refused(cluster, 3, asked(region, region_id=99)).error
    assert error.store_not_match.request_store_id == 1
    assert error.store_not_match.actual_store_id == 3
    assert error.message == "to store id 1, mine 3"


def test_a_region_that_is_gone_is_not_found(cluster):
    left, right = cluster.regions
    cluster.merge(b"")
    error = refused(cluster, 2, asked(right)).error
    assert error.region_not_found.region_id == right.id
    assert refused(cluster, 1, asked(left)).kind == "epoch_not_match"


def test_a_peer_that_was_replaced_is_refused_in_words_alone(cluster):
    region = cluster.regions[0]
    cluster.replace_peer(b"", 1)
    error = refused(cluster, 1, asked(region)).error
    assert error.message.startswith("mismatch peer id")
    assert error.ListFields() == [(error.DESCRIPTOR.fields_by_name["message"], error.message)]


def test_a_follower_names_the_leader_even_to_a_client_with_an_old_epoch(cluster):
    region = cluster.regions[0]
    cluster.split(b"c")
    error = refused(cluster, 2, asked(cluster.regions[1], 2)).error
    assert error.not_leader.leader.store_id == 1
    old = asked(cluster.regions[1], 2)
    old.region_epoch.version = region.version
    assert refused(cluster, 2, old).kind == "not_leader"


def test_nobody_is_named_while_an_election_goes_on(cluster):
    region = cluster.regions[0]
    cluster.move_leader(b"", None)
    error = refused(cluster, 1, asked(region)).error
    assert error.not_leader.region_id == region.id
    assert not error.not_leader.HasField("leader")


def test_an_old_version_hears_of_the_region_and_of_what_was_split_from_it(cluster):
    region = cluster.regions[0]
    cluster.split(b"c")
    cluster.split(b"f")
    error = refused(cluster, 1, asked(region)).error
    told = [(each.start_key, each.end_key) for each in error.epoch_not_match.current_regions]
    assert told == [(b"f", b"m"), (b"c", b"f"), (b"", b"c")]


def test_a_version_from_the_future_is_refused_and_no_neighbour_is_told(cluster):
    context = asked(cluster.regions[1])
    context.region_epoch.version += 1
    error = refused(cluster, 2, context).error
    assert [each.id for each in error.epoch_not_match.current_regions] == [cluster.regions[1].id]


def test_another_conf_ver_alone_does_not_matter(cluster):
    context = asked(cluster.regions[0])
    context.region_epoch.conf_ver += 5
    assert admit(cluster, 1, context) == cluster.regions[0]


def test_a_request_without_an_epoch_is_refused(cluster):
    context = asked(cluster.regions[0])
    context.ClearField("region_epoch")
    assert refused(cluster, 1, context).error.message == "missing epoch!"


def test_a_split_gives_the_left_part_a_new_id_and_both_the_next_version(cluster):
    before = cluster.regions[0]
    left, right = cluster.split(b"c")
    assert (right.id, right.start, right.end) == (before.id, b"c", b"m")
    assert left.id != before.id
    assert left.version == right.version == before.version + 1
    assert left.leader == right.leader == before.leader
    assert cluster.known[0] != left  # PD was not told


def test_a_merge_takes_the_higher_version_of_both_and_one_more(cluster):
    cluster.split(b"x")
    cluster.split(b"y")  # the neighbour on the right is ahead
    target, source = cluster.regions[0], cluster.regions[1]
    merged = cluster.merge(b"")
    assert merged.id == target.id
    assert merged.version == max(source.version + 1, target.version) + 1
    assert (merged.start, merged.end) == (b"", source.end)
