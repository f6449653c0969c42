"""PD and a TiKV store in one, as a member of `members.py`: what it hears, and the right answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from loadgen.engine import http2
from loadgen.engine.hpack import indexed, literal
from loadgen.engine.http2 import HEAD, frame
from loadgen.engine.protobuf import framed, message_in
from loadgen.keyspace import KEY_DIGITS, Values, key_bytes
from tests.fuzz.members import Asked, value_of
from tests.fuzz.replies import reply
from tests.tikv_double.messages import errorpb, kvrpcpb, metapb, more, pdpb

__all__ = ["TikvMember", "batch_found", "cluster", "region_error"]

PATHS = (b"RawPut", b"RawBatchGet", b"RawBatchPut", b"BatchCommands", b"ScanRegions", b"GetStore")
FIRST = b""  # RawGet or GetMembers: told by its index


def cluster(half: bytes, *, leaders: tuple[int, int] = (1, 2), version: int = 1) -> list:
    """Two regions with a peer on each of two stores."""
    peers = [metapb.Peer(id=10 + store, store_id=store) for store in (1, 2)]
    made = []
    for number, (start, end) in enumerate(((b"", half), (half, b"")), 1):
        epoch = metapb.RegionEpoch(conf_ver=1, version=version)
        region = metapb.Region(
            id=number, start_key=start, end_key=end, region_epoch=epoch, peers=peers
        )
        made.append(pdpb.Region(region=region, leader=peers[leaders[number - 1] - 1]))
    return made


@dataclass
class TikvMember:
    """Reads frames; `addresses` are the stores', of which the first leads PD, too."""

    values: Values
    addresses: tuple[str, ...]
    half: bytes
    in_order: bool = False
    greeted: bool = False
    lasting: int = 0  # the stream of BatchCommands
    _rest: bytes = b""
    _messages: dict[int, bytes] = field(default_factory=dict)
    _paths: dict[int, bytes] = field(default_factory=dict)

    def hear(self, data: bytes) -> list[Asked]:
        asked: list[Asked] = []
        data = self._rest + data
        if not self.greeted:
            assert http2.OPENING.startswith(data[: len(http2.OPENING)])
            if len(data) < len(http2.OPENING):
                self._rest = data
                return []
            self.greeted, data = True, data[len(http2.OPENING) :]
            asked.append(Asked(-1, False, frame(http2.SETTINGS, 0, 0)))
        while len(data) >= 9:
            word, flags, stream = HEAD.unpack_from(data)
            end = 9 + (word >> 8)
            if len(data) < end:
                break
            asked += self._frame(word & 0xFF, flags, stream, data[9:end])
            data = data[end:]
        self._rest = data
        return asked

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> list[Asked]:
        if kind == http2.HEADERS:
            found = [path for path in PATHS if path in payload]
            self._paths[stream] = found[0] if found else FIRST
            if found == [b"BatchCommands"]:
                self.lasting = stream
                head = indexed(8) + literal(31, b"application/grpc")
                opened = frame(http2.HEADERS, http2.END_HEADERS, stream, head)
                return [Asked(-1, False, opened, stream)]
        if kind != http2.DATA:
            return []
        message = self._messages.pop(stream, b"") + payload
        if stream == self.lasting:
            return self._batches(message)
        if flags & http2.END_STREAM:
            return [self._asked(self._paths.pop(stream), stream, message_in(message))]
        self._messages[stream] = message
        return []

    def _batches(self, data: bytes) -> list[Asked]:
        """Every command of every whole message on the lasting stream."""
        asked = []
        while len(data) >= 5 and len(data) >= (end := 5 + int.from_bytes(data[1:5], "big")):
            batch = more.BatchCommandsRequest.FromString(data[5:end])
            for number, one in zip(batch.request_ids, batch.requests, strict=True):
                ((kind, command),) = one.ListFields()
                asked.append(self.batched(number, kind.name, command))
            data = data[end:]
        self._messages[self.lasting] = data
        return asked

    def batched(self, number: int, name: str, command: object) -> Asked:
        """One command of a batch."""
        key = int(command.key[-KEY_DIGITS:])  # type: ignore[attr-defined]
        if name == "RawPut":
            assert self.values.belongs(key, command.value)  # type: ignore[attr-defined]
            said = more.BatchedResponse(RawPut=kvrpcpb.RawPutResponse())
        else:
            value = value_of(self.values, key)
            said = more.BatchedResponse(RawGet=kvrpcpb.RawGetResponse(value=value))
        return Asked(key, name == "RawPut", self.in_stream(number, said), self.lasting, number)

    def in_stream(self, number: int, said: object) -> bytes:
        """A message of one answer, as a frame of the lasting stream."""
        batch = more.BatchCommandsResponse(responses=[said], request_ids=[number])
        return frame(http2.DATA, 0, self.lasting, framed(batch.SerializeToString()))

    def _asked(self, path: bytes, stream: int, message: bytes) -> Asked:
        if path == FIRST and not message:
            return Asked(-1, False, reply(stream, self._members()), stream)
        if path == b"ScanRegions":
            regions = pdpb.ScanRegionsResponse(regions=cluster(self.half))
            return Asked(-1, False, reply(stream, regions.SerializeToString()), stream)
        if path == b"GetStore":
            number = pdpb.GetStoreRequest.FromString(message).store_id
            store = metapb.Store(id=number, address=self.addresses[number - 1])
            told = pdpb.GetStoreResponse(store=store).SerializeToString()
            return Asked(-1, False, reply(stream, told), stream)
        if path == b"RawPut":
            put = kvrpcpb.RawPutRequest.FromString(message)
            key = int(put.key[-KEY_DIGITS:])
            assert self.values.belongs(key, put.value)
            return Asked(key, True, reply(stream, b""), stream)
        if path == b"RawBatchPut":
            pairs = kvrpcpb.RawBatchPutRequest.FromString(message).pairs
            keys = _different(int(pair.key[-KEY_DIGITS:]) for pair in pairs)
            for key, pair in zip(keys, pairs, strict=True):
                assert self.values.belongs(key, pair.value)
            return Asked(keys[0], True, reply(stream, b""), stream, batch=keys)
        if path == b"RawBatchGet":
            asked = kvrpcpb.RawBatchGetRequest.FromString(message)
            keys = _different(int(key[-KEY_DIGITS:]) for key in asked.keys)
            found = reply(stream, batch_found(self.values, keys))
            return Asked(keys[0], False, found, stream, batch=keys)
        get = kvrpcpb.RawGetRequest.FromString(message)
        assert get.context.region_epoch.version
        key = int(get.key[-KEY_DIGITS:])
        said = kvrpcpb.RawGetResponse(value=value_of(self.values, key)).SerializeToString()
        # A connection's first call is the engine's own.
        return Asked(-1 if stream == 1 else key, False, reply(stream, said), stream)

    def _members(self) -> bytes:
        leads = pdpb.Member(name="pd", client_urls=[f"https://{self.addresses[0]}"])
        said = pdpb.GetMembersResponse(members=[leads], leader=leads)
        said.header.cluster_id = 5
        return said.SerializeToString()


def batch_found(values: Values, keys: Sequence[int]) -> bytes:
    """A RawBatchGetResponse with a value for each of these keys."""
    pairs = [kvrpcpb.KvPair(key=key_bytes("k", key), value=value_of(values, key)) for key in keys]
    return kvrpcpb.RawBatchGetResponse(pairs=pairs).SerializeToString()


def _different(keys: Iterable[int]) -> tuple[int, ...]:
    found = tuple(keys)
    assert len(set(found)) == len(found) > 0, "a key twice in one batch"
    return found


def region_error(kind: str, *, hint: int = 0, regions: list | None = None) -> errorpb.Error:
    """An errorpb.Error as a store would send it; `hint` is the store that leads."""
    error = errorpb.Error(message=kind)
    if kind:
        getattr(error, kind).SetInParent()
    if hint:
        error.not_leader.leader.CopyFrom(metapb.Peer(id=10 + hint, store_id=hint))
    if regions:
        error.epoch_not_match.current_regions.extend(one.region for one in regions)
    return error
