"""What the engine sends to PD and TiKV, and reads of them, held against kvproto's own messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.engine import pd_messages
from loadgen.engine.connection import Lane
from loadgen.engine.outcome import FAILED, UNKNOWN, Lost, TargetProtocolError
from loadgen.engine.pd_messages import Peer, RegionFound
from loadgen.engine.protobuf import framed, message_in, varints_in
from loadgen.engine.tikv_errors import Verdict, raw_reply, verdict_on
from loadgen.engine.tikv_regions import Region, RegionMap, RequestHeads
from loadgen.engine.tikv_requests import RawMessages
from loadgen.keyspace import Values, key_bytes
from tests.tikv_double.messages import errorpb, kvrpcpb, metapb, more, pdpb

PREFIX, KEYS = "bench:", 1000
numbers = st.integers(0, 2**64 - 1)
peers = st.builds(Peer, st.integers(1, 2**64 - 1), numbers, st.integers(0, 3))


@st.composite
def found_regions(draw):
    some = draw(st.lists(peers, min_size=1, max_size=4))
    return RegionFound(
        draw(st.integers(1, 2**64 - 1)), draw(st.binary(max_size=30)), draw(st.binary(max_size=30)),
        draw(numbers), draw(numbers), tuple(some), draw(st.sampled_from(some)),
    )  # fmt: skip


def proto_peer(peer: Peer) -> metapb.Peer:
    return metapb.Peer(id=peer.id, store_id=peer.store_id, role=peer.role)


def proto_region(found: RegionFound) -> metapb.Region:
    return metapb.Region(
        id=found.id, start_key=found.start, end_key=found.end,
        region_epoch=metapb.RegionEpoch(conf_ver=found.conf_ver, version=found.version),
        peers=[proto_peer(peer) for peer in found.peers],
    )  # fmt: skip


def requests_of(found: RegionFound, size: int = 64) -> tuple[Values, RawMessages, Region]:
    """Every key in one region."""
    values = Values(PREFIX, size, rank=3)
    heads = RequestHeads(PREFIX, values)
    region = Region(found, heads, Lane("10.0.0.1:20160"), leader=found.leader)
    return values, RawMessages(values, RegionMap(PREFIX, KEYS, region), heads), region


def assert_it_is_for(context: kvrpcpb.Context, found: RegionFound) -> None:
    assert context.region_id == found.id
    assert context.region_epoch == proto_region(found).region_epoch
    assert context.peer == proto_peer(found.leader)
    assert [field.name for field, _ in context.ListFields()] in (
        ["region_id", "region_epoch", "peer"],
        ["region_id", "peer"],
    )
    assert context.api_version == kvrpcpb.V1


# What is sent.


@given(found=found_regions(), key=st.integers(0, KEYS - 1), size=st.integers(33, 3000))
def test_a_get_and_a_put_are_what_kvproto_makes_of_them(found, key, size):
    values, requests, _ = requests_of(found, size)
    get = kvrpcpb.RawGetRequest.FromString(message_in(requests.message(key << 1)))
    assert_it_is_for(get.context, found)
    assert (get.key, get.cf) == (key_bytes(PREFIX, key), "")
    sent = message_in(requests.message(key << 1 | 1))
    put = kvrpcpb.RawPutRequest.FromString(sent)
    assert_it_is_for(put.context, found)
    assert (put.key, put.cf, put.ttl) == (key_bytes(PREFIX, key), "", 0)
    assert values.belongs(key, put.value)
    assert put.SerializeToString() == sent


@given(found=found_regions(), keys=st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=20),
       size=st.integers(33, 500))  # fmt: skip
def test_batches_are_what_kvproto_makes_of_them(found, keys, size):
    values, requests, region = requests_of(found, size)
    get = kvrpcpb.RawBatchGetRequest.FromString(
        message_in(requests.batch(region, [key << 1 for key in keys]))
    )
    assert_it_is_for(get.context, found)
    assert list(get.keys) == [key_bytes(PREFIX, key) for key in keys]
    put = kvrpcpb.RawBatchPutRequest.FromString(
        message_in(requests.batch(region, [key << 1 | 1 for key in keys]))
    )
    assert_it_is_for(put.context, found)
    assert [pair.key for pair in put.pairs] == [key_bytes(PREFIX, key) for key in keys]
    assert all(values.belongs(key, pair.value) for key, pair in zip(keys, put.pairs, strict=True))
    assert len({pair.value for pair in put.pairs}) == len(keys), "no value is written twice"


@given(cluster=numbers, start=st.binary(max_size=40), end=st.binary(max_size=40),
       limit=st.integers(1, 1000), store=st.integers(1, 2**64 - 1))  # fmt: skip
def test_questions_to_pd_are_what_kvproto_makes_of_them(cluster, start, end, limit, store):
    scan = pdpb.ScanRegionsRequest.FromString(
        pd_messages.scan_regions(cluster, start, end, limit=limit)
    )
    assert (scan.header.cluster_id, scan.start_key, scan.end_key) == (cluster, start, end)
    assert (scan.limit, scan.header.caller_id) == (limit, "soakbed")
    asked = pdpb.GetStoreRequest.FromString(pd_messages.get_store(cluster, store))
    assert (asked.header.cluster_id, asked.store_id) == (cluster, store)


# What is read.


@given(found=st.lists(found_regions(), max_size=5), old=st.booleans())
def test_regions_are_read_as_kvproto_wrote_them(found, old):
    if old:
        reply = pdpb.ScanRegionsResponse(
            region_metas=map(proto_region, found),
            leaders=[proto_peer(one.leader) for one in found],
        )
    else:
        reply = pdpb.ScanRegionsResponse(
            regions=[
                pdpb.Region(region=proto_region(one), leader=proto_peer(one.leader))
                for one in found
            ]
        )
    reply.header.cluster_id = 7
    assert pd_messages.regions_in(reply.SerializeToString()) == found


def test_a_region_whose_leader_nobody_knows_has_none():
    one = pdpb.Region(region=metapb.Region(id=4, peers=[metapb.Peer(id=5, store_id=1)]))
    (found,) = pd_messages.regions_in(pdpb.ScanRegionsResponse(regions=[one]).SerializeToString())
    assert (found.id, found.leader, found.peers) == (4, None, (Peer(5, 1),))


def test_members_and_the_leader_are_read_with_their_addresses():
    members = [
        pdpb.Member(name=f"pd-{at}", client_urls=[f"https://10.0.0.{at}:2479"]) for at in (1, 2)
    ]
    reply = pdpb.GetMembersResponse(members=members, leader=members[1])
    reply.header.cluster_id = 2**63
    assert pd_messages.members_in(reply.SerializeToString()) == (
        2**63, ("10.0.0.1:2479", "10.0.0.2:2479"), "10.0.0.2:2479",
    )  # fmt: skip
    assert pd_messages.members_in(pdpb.GetMembersResponse().SerializeToString()) == (0, (), "")


def test_a_store_is_read_with_its_address():
    reply = pdpb.GetStoreResponse(store=metapb.Store(id=3, address="10.0.0.3:20160"))
    assert pd_messages.store_in(reply.SerializeToString()) == (3, "10.0.0.3:20160")


@pytest.mark.parametrize("kind", [pdpb.NOT_BOOTSTRAPPED, pdpb.UNKNOWN])
def test_an_error_in_pds_header_is_no_answer(kind):
    header = pdpb.ResponseHeader(error=pdpb.Error(type=kind, message="no"))
    for reply, read in (
        (pdpb.ScanRegionsResponse(header=header), pd_messages.regions_in),
        (pdpb.GetStoreResponse(header=header), pd_messages.store_in),
        (pdpb.GetMembersResponse(header=header), pd_messages.members_in),
    ):
        with pytest.raises(TargetProtocolError):
            read(reply.SerializeToString())


@given(found=found_regions(), key=st.integers(0, KEYS - 1), size=st.integers(33, 3000))
def test_the_right_replies_and_no_others_are_known_by_their_bytes(found, key, size):
    values, requests, _ = requests_of(found, size)
    value = values.identity(key) + values.filler

    def framed_reply(**fields) -> bytes:
        return framed(kvrpcpb.RawGetResponse(**fields).SerializeToString())

    assert requests.answers(key << 1, framed_reply(value=value))
    assert requests.answers(key << 1 | 1, framed(kvrpcpb.RawPutResponse().SerializeToString()))
    others = [framed_reply(not_found=True), framed_reply(error=value.decode()), framed_reply(),
              framed_reply(value=value[:-1]), framed_reply(value=value + b"x"),
              framed_reply(value=values.identity((key + 1) % KEYS) + values.filler),
              framed_reply(value=value, region_error=errorpb.Error(message="x"))]  # fmt: skip
    assert not any(requests.answers(key << 1, other) for other in others)
    failed = kvrpcpb.RawPutResponse(error="timeout").SerializeToString()
    assert not requests.answers(key << 1 | 1, framed(failed))


@given(found=found_regions(), keys=st.lists(st.integers(0, KEYS - 1), min_size=1, max_size=9,
       unique=True), wrong=st.integers(0, 8))  # fmt: skip
def test_a_batch_is_right_when_every_pair_is(found, keys, wrong):
    values, requests, _ = requests_of(found)
    codes = [key << 1 for key in keys]

    def reply(of: list[int]) -> bytes:
        pairs = [
            kvrpcpb.KvPair(key=key_bytes(PREFIX, key), value=values.identity(key) + values.filler)
            for key in of
        ]
        return framed(kvrpcpb.RawBatchGetResponse(pairs=pairs).SerializeToString())

    assert requests.batch_answers(codes, reply(keys))
    other = list(keys)
    other[wrong % len(keys)] = KEYS + 1
    assert not requests.batch_answers(codes, reply(other))
    assert not requests.batch_answers(codes, reply(keys[1:]))
    body = reply(other)
    pairs = raw_reply(message_in(body), batch_of_reads=True).pairs
    assert len(pairs) == len(keys)
    assert all(values.belongs(int(digits), value) for digits, value in pairs.items())


def test_packed_and_single_numbers_are_read_alike():
    packed = more.BatchCommandsResponse(request_ids=[1, 300, 2**63]).SerializeToString()
    assert varints_in(packed[2:]) == [1, 300, 2**63]
    assert varints_in(7) == [7]


# What an error says.

REGION = metapb.Region(id=9, start_key=b"a", end_key=b"b", peers=[metapb.Peer(id=1, store_id=2)])
BEFORE_A_PROPOSAL = {
    "key_not_in_region": True,
    "max_timestamp_not_synced": False,
    "read_index_not_ready": False,
    "proposal_in_merging_mode": False,
    "data_is_not_ready": False,
    "region_not_initialized": True,
    "RecoveryInProgress": False,
    "store_not_match": True,
    "epoch_not_match": True,
    "not_leader": True,
}
FINAL = {"server_is_busy": "busy", "raft_entry_too_large": "other", "disk_full": "no_space",
         "FlashbackInProgress": "cluster_down", "FlashbackNotPrepared": "other"}  # fmt: skip
MAYBE_APPLIED = ("region_not_found", "stale_command", "undetermined_result")
ALL = {field.name for field in errorpb.Error.DESCRIPTOR.fields} - {"message"}


def error_of(kind: str) -> bytes:
    error = errorpb.Error(message=kind)
    getattr(error, kind).SetInParent()
    return error.SerializeToString()


@pytest.mark.parametrize("write", [False, True])
@pytest.mark.parametrize("kind", sorted(ALL))
def test_every_error_of_errorpb_is_followed_or_ends_the_operation(kind, write):
    verdict = verdict_on(error_of(kind), write=write)
    if kind in BEFORE_A_PROPOSAL or kind in ("is_witness", "mismatch_peer_id"):
        assert verdict.lost is None
        assert verdict.stale is BEFORE_A_PROPOSAL.get(kind, True)
    elif kind in MAYBE_APPLIED:
        assert verdict.lost == (Lost(UNKNOWN, "other") if write else None)
    else:
        assert verdict.lost == Lost(FAILED, FINAL.get(kind, "other"))


def test_a_hint_and_regions_are_taken():
    error = errorpb.Error(message="no")
    error.not_leader.leader.CopyFrom(metapb.Peer(id=5, store_id=2))
    assert verdict_on(error.SerializeToString(), write=True) == Verdict(leader=Peer(5, 2))
    error = errorpb.Error(message="old")
    error.epoch_not_match.current_regions.append(REGION)
    verdict = verdict_on(error.SerializeToString(), write=True)
    assert [found.id for found in verdict.regions] == [9]
    assert not verdict.stale


@pytest.mark.parametrize(
    ("said", "write", "lost"),
    [
        pytest.param("TiKV is Closing", True, Lost(UNKNOWN, "other"), id="words, write"),
        pytest.param("TiKV is Closing", False, Lost(FAILED, "other"), id="words, read"),
        pytest.param("mismatch peer id 1 != 2", True, None, id="another peer, as 6.5 says it"),
        pytest.param("", True, Lost(UNKNOWN, "other"), id="nothing"),
    ],
)
def test_an_error_in_words_alone_is_uncertain_for_a_write(said, write, lost):
    verdict = verdict_on(errorpb.Error(message=said).SerializeToString(), write=write)
    assert (verdict.lost, verdict.stale) == (lost, True)
    newer = b"\xfa\x01\x00"  # field 31, which no version that we know has
    assert verdict_on(newer, write=write).lost == Lost(UNKNOWN if write else FAILED, "other")


def test_an_error_of_two_kinds_is_none():
    error = error_of("server_is_busy") + error_of("not_leader")
    with pytest.raises(TargetProtocolError):
        verdict_on(error, write=True)


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    for read in (
        pd_messages.regions_in, pd_messages.members_in, pd_messages.store_in,
        lambda message: raw_reply(message, batch_of_reads=False),
        lambda message: raw_reply(message, batch_of_reads=True),
        lambda message: verdict_on(message, write=True), varints_in,
    ):  # fmt: skip
        try:
            read(data)
        except TargetProtocolError:
            continue
