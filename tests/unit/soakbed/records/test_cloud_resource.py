"""Whose something in a cloud is: nothing of others, ever, whatever their names and tags say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soakbed.records.cloud_resource import (
    DESTROY_AFTER,
    LEASE,
    OWNER,
    PROJECT,
    TESTBED,
    CloudResource,
    LeaseName,
    lease_of,
    leases_seen,
    those_of,
)

OURS = LeaseName("aws-4x", "k3v9q2x7")
FULL = {PROJECT: "soakbed", TESTBED: OURS.testbed, LEASE: OURS.lease}
# Near misses above all: empty, longer, shorter, other case, a wildcard of the cloud's filters.
near = st.sampled_from(
    ["", " ", "*", "?", "soakbed", "Soakbed", "soakbed*", "aws-4x", "aws-4", "aws-4x ", "aws-4xx",
     "k3v9q2x7", "k3v9q2x", "k3v9q2x77", "K3V9Q2X7", "-", "other"]
)  # fmt: skip
keys = st.sampled_from([PROJECT, TESTBED, LEASE, OWNER, DESTROY_AFTER, "Name", "project", "lease"])
kinds = st.sampled_from(["instance", "volume", "key pair", "placement group", "vpc", "subnet"])
ids = st.sampled_from(["", "i-1", "i-2", "vol-1", "vol-2", "vpc-1", "key-1", "soakbed-aws-4x"])
resources = st.builds(
    CloudResource,
    kind=kinds,
    id=ids,
    region=st.just("eu-central-1"),
    name=ids,
    tags=st.one_of(
        st.just(FULL),
        st.builds(lambda key, value: {**FULL, key: value}, keys, near),
        st.builds(lambda key: {k: v for k, v in FULL.items() if k != key}, keys),
        st.dictionaries(keys, near, max_size=6),
    ),
    links=st.lists(ids, max_size=3).map(tuple),
)


def thing(kind: str = "vpc", id: str = "x-1", **values) -> CloudResource:
    return CloudResource(kind=kind, id=id, region="eu-central-1", **values)


def is_tagged_so(resource: CloudResource) -> bool:
    return all(resource.tags.get(key) == value for key, value in FULL.items())


@given(st.lists(resources, max_size=12), st.sets(ids, max_size=3))
def test_only_exact_tags_or_our_own_list_make_something_ours(seen, made):
    along = {link for one in seen if is_tagged_so(one) and one.kind == "instance"
             for link in one.links}  # fmt: skip
    for one in those_of(seen, [OURS], made=made):
        if is_tagged_so(one):
            continue
        assert not any(key.startswith("soakbed:") for key in one.tags)
        named = one.kind in ("key pair", "placement group") and one.name in made and not one.tags
        assert (one.id and one.id in made | along) or (one.name and named)


@given(st.lists(resources, max_size=12))
def test_without_a_list_and_without_an_instance_only_exact_tags_count(seen):
    apart = [one for one in seen if one.kind != "instance"]
    assert those_of(apart, [OURS]) == [one for one in apart if is_tagged_so(one)]


@given(st.lists(resources, max_size=12), st.sets(ids, max_size=3))
def test_no_lease_chosen_is_nothing_chosen(seen, made):
    assert those_of(seen, [], made=made) == []


@given(st.lists(resources, max_size=12), near, near)
def test_a_lease_without_a_name_owns_nothing(seen, testbed, lease):
    names = [LeaseName("", lease), LeaseName(testbed, "")]
    assert those_of([one for one in seen if one.tags], names) == []


@given(resources)
def test_a_lease_is_read_from_tags_in_full_or_not_at_all(resource):
    name = lease_of(resource)
    if name is None:
        return
    assert resource.tags[PROJECT] == "soakbed"
    assert (name.testbed, name.lease) == (resource.tags[TESTBED], resource.tags[LEASE])
    assert name.testbed and name.lease


def test_what_goes_with_an_instance_of_ours_is_ours_unless_it_is_tagged_for_another():
    instance = thing("instance", "i-1", tags=FULL, links=("vol-1", "vol-2", ""))
    plain = thing("volume", "vol-1", tags={"Name": "boot"})
    others = thing("volume", "vol-2", tags={**FULL, LEASE: "another"})
    nobody = thing("volume", "")
    assert those_of([instance, plain, others, nobody], [OURS]) == [instance, plain]


def test_what_goes_with_an_instance_of_others_is_theirs():
    instance = thing("instance", "i-1", tags={**FULL, LEASE: "another"}, links=("vol-1",))
    assert those_of([instance, thing("volume", "vol-1")], [OURS]) == []


def test_a_name_in_our_list_counts_only_for_what_bears_no_tag():
    bare = thing("key pair", "key-1", name="soakbed-aws-4x-k3v9")
    tagged = thing("key pair", "key-2", name="soakbed-aws-4x-k3v9", tags={"team": "red"})
    volume = thing("volume", "vol-1", name="soakbed-aws-4x-k3v9")
    assert those_of([bare, tagged, volume], [OURS], made=["soakbed-aws-4x-k3v9"]) == [bare]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        pytest.param(["100", "200"], 200, id="the latest speaks for all"),
        pytest.param(["soon", "150"], 150, id="what cannot be read is passed over"),
        pytest.param(["", "-5", "1e9", "٣"], None, id="none that can be read is no end"),
    ],
)
def test_the_end_of_a_lease_by_its_tags(ends, expected):
    seen = [thing(id=f"x-{end}", tags={**FULL, DESTROY_AFTER: end}) for end in ends]
    (lease,) = leases_seen(seen)
    assert lease.ends_s == expected
    assert lease.has_lapsed(10**12) is (expected is not None)


def test_a_lease_lapses_only_when_its_last_resource_does():
    seen = [thing(id=str(end), tags={**FULL, DESTROY_AFTER: str(end)}) for end in (100, 300)]
    (lease,) = leases_seen(seen)
    assert [lease.has_lapsed(now_s) for now_s in (99, 200, 300, 301)] == [False, False, False, True]


def test_testbeds_of_one_name_are_told_apart_by_their_leases():
    seen = [thing(tags=FULL), thing(id="x-2", tags={**FULL, LEASE: "another", OWNER: "ann"})]
    assert [(one.name.lease, one.owner) for one in leases_seen(seen)] == [
        ("another", "ann"),
        ("k3v9q2x7", ""),
    ]
