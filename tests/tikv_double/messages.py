"""kvproto's messages: those that come with `tikv-python`, and the few that it lacks.

The latter are written here as lines of protobuf, from kvproto's public definitions, and built
at import. They live in a package of their own, so that a later `tikv-python` may bring them.
"""

from __future__ import annotations

import re

from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from tikv._proto import errorpb_pb2 as errorpb
from tikv._proto import kvrpcpb_pb2 as kvrpcpb
from tikv._proto import metapb_pb2 as metapb
from tikv._proto import pdpb_pb2 as pdpb

from tests.tikv_double.txn_messages import TXN

__all__ = ["BATCHED", "build", "errorpb", "kvrpcpb", "metapb", "more", "pdpb"]

# name of the command in BatchCommands -> (field number, request, response), all of kvrpcpb
BATCHED = {
    "RawGet": (13, "RawGetRequest", "RawGetResponse"),
    "RawBatchGet": (14, "RawBatchGetRequest", "RawBatchGetResponse"),
    "RawPut": (15, "RawPutRequest", "RawPutResponse"),
    "RawBatchPut": (16, "RawBatchPutRequest", "RawBatchPutResponse"),
    "RawDelete": (17, "RawDeleteRequest", "RawDeleteResponse"),
    "RawBatchDelete": (18, "RawBatchDeleteRequest", "RawBatchDeleteResponse"),
    "RawScan": (19, "RawScanRequest", "RawScanResponse"),
    "RawDeleteRange": (20, "RawDeleteRangeRequest", "RawDeleteRangeResponse"),
}

_PD = """
message GetAllStoresRequest { pdpb.RequestHeader header = 1; bool exclude_tombstone_stores = 2; }
message GetAllStoresResponse { pdpb.ResponseHeader header = 1; repeated metapb.Store stores = 2; }
message GetRegionByIDRequest { pdpb.RequestHeader header = 1; uint64 region_id = 2; }
message AllocIDRequest { pdpb.RequestHeader header = 1; uint32 count = 2; }
message AllocIDResponse { pdpb.ResponseHeader header = 1; uint64 id = 2; uint32 count = 3; }
message IsBootstrappedRequest { pdpb.RequestHeader header = 1; }
message IsBootstrappedResponse { pdpb.ResponseHeader header = 1; bool bootstrapped = 2; }
message Timestamp { int64 physical = 1; int64 logical = 2; uint32 suffix_bits = 3; }
message TsoRequest { pdpb.RequestHeader header = 1; uint32 count = 2; string dc_location = 3; }
message TsoResponse { pdpb.ResponseHeader header = 1; uint32 count = 2; Timestamp timestamp = 3; }
message SplitRegionsRequest {
  pdpb.RequestHeader header = 1; repeated bytes split_keys = 2; uint64 retry_limit = 3; }
message SplitRegionsResponse {
  pdpb.ResponseHeader header = 1; uint64 finished_percentage = 2; repeated uint64 regions_id = 3; }
message ScatterRegionRequest {
  pdpb.RequestHeader header = 1; uint64 region_id = 2; string group = 5;
  repeated uint64 regions_id = 6; uint64 retry_limit = 7; }
message ScatterRegionResponse {
  pdpb.ResponseHeader header = 1; uint64 finished_percentage = 2; }
"""


def _batched() -> str:
    """BatchCommands' messages: a request or response is one of the commands."""
    requests = "".join(f"kvrpcpb.{asks} {name} = {at};" for name, (at, asks, _) in BATCHED.items())
    answers = "".join(f"kvrpcpb.{says} {name} = {at};" for name, (at, _, says) in BATCHED.items())
    return f"""
message BatchedRequest {{ {requests} }}
message BatchedResponse {{ {answers} }}
message BatchCommandsRequest {{
  repeated BatchedRequest requests = 1; repeated uint64 request_ids = 2; }}
message BatchCommandsResponse {{
  repeated BatchedResponse responses = 1; repeated uint64 request_ids = 2;
  uint64 transport_layer_load = 3; }}
"""


class more:
    """The messages that `tikv-python` lacks, by name."""


def build(text: str, package: str, depends: tuple[str, ...]) -> dict[str, type]:
    """Message classes out of lines of protobuf (messages and plain fields only)."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package}.proto", package=package, syntax="proto3", dependency=depends
    )
    for name, body in re.findall(r"message (\w+) \{(.*?)\}", text, re.DOTALL):
        message = file.message_type.add(name=name)
        for repeated, kind, field, number in re.findall(
            r"(repeated )?([\w.]+) (\w+) = (\d+);", body
        ):
            message.field.append(_field(field, int(number), kind, bool(repeated), package))
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    made = pool.FindFileByName(file.name).message_types_by_name
    return {name: GetMessageClass(kind) for name, kind in made.items()}


def _field(
    name: str, number: int, kind: str, repeated: bool, package: str
) -> descriptor_pb2.FieldDescriptorProto:
    made = descriptor_pb2.FieldDescriptorProto(name=name, number=number)
    made.label = made.LABEL_REPEATED if repeated else made.LABEL_OPTIONAL
    scalar = getattr(made, f"TYPE_{kind.upper()}", None)
    if scalar is not None:
        made.type = scalar
    else:
        made.type_name = f".{kind}" if "." in kind else f".{package}.{kind}"
    return made


_DEPENDS = ("errorpb.proto", "kvrpcpb.proto", "metapb.proto", "pdpb.proto")
for _name, _class in build(_PD + TXN + _batched(), "soakbed_double", _DEPENDS).items():
    setattr(more, _name, _class)
