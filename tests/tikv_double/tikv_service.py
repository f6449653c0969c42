"""One store: tikvpb.Tikv over gRPC, each request checked as TiKV checks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from time import monotonic
from typing import Any

import grpc
from grpc.aio import ServicerContext

from tests.tikv_double.cluster import Cluster, Store
from tests.tikv_double.connections import break_connection
from tests.tikv_double.counters import APPLIED, RECEIVED, Counters
from tests.tikv_double.faults import REGION_ERRORS, Fault, Faults, refusal
from tests.tikv_double.messages import BATCHED, kvrpcpb, more
from tests.tikv_double.raw import RAW, READS, answer_class
from tests.tikv_double.refusals import Refused, admit, is_replica_read
from tests.tikv_double.txn import TXN_METHODS, run_txn

__all__ = ["Ended", "StoreService", "no_answer"]

HANG_S = 3600.0  # longer than any client waits


class StoreService:
    """Answers for one store; all of them share cluster, faults and counters."""

    def __init__(self, store: Store, cluster: Cluster, faults: Faults, counters: Counters) -> None:
        self.store = store
        self.cluster = cluster
        self.faults = faults
        self.count = partial(counters.count, f"store-{store.id}")

    def handlers(self) -> grpc.GenericRpcHandler:
        """What a gRPC server needs to know of this service."""
        made = {
            method: grpc.unary_unary_rpc_method_handler(
                partial(self._unary, method),
                request_deserializer=_request_class(method).FromString,
                response_serializer=_answer_class(method).SerializeToString,
            )
            for method in (*RAW, *TXN_METHODS)
        }
        made["BatchCommands"] = grpc.stream_stream_rpc_method_handler(
            self._batch_commands,
            request_deserializer=more.BatchCommandsRequest.FromString,
            response_serializer=more.BatchCommandsResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("tikvpb.Tikv", made)

    async def _unary(self, method: str, ask: Any, context: ServicerContext) -> Any:
        try:
            return await self._serve(method, ask, context)
        except Ended as ended:
            await context.abort(ended.code, ended.text)

    async def _serve(self, method: str, ask: Any, context: ServicerContext) -> Any:
        """One command, however it came."""
        self.count(method, RECEIVED)
        if (wait := self.store.stalled_until - monotonic()) > 0:
            self.count(method, "stalled")
            await asyncio.sleep(wait)
        rule = self.faults.meet(method, self.store.id, default=method in RAW)
        if rule is None:
            return self._apply(method, ask)
        self.count(method, f"fault:{rule.kind}{':after' if rule.after else ''}")
        return await self._go_wrong(rule, method, ask, context)

    def _apply(self, method: str, ask: Any) -> Any:
        try:
            reads = method in READS
            replica_read = reads and is_replica_read(ask.context)
            region = admit(self.cluster, self.store.id, ask.context, replica_read=replica_read)
            if method in RAW:
                seen = self.cluster.as_store_has_it(self.store.id) if reads else self.cluster
                answer = RAW[method](seen, region, ask)
            else:
                answer = run_txn(method, self.cluster, region, ask)
        except Refused as refused:
            return self._refuse(method, refused)
        failed = any(f.name in ("error", "errors") for f, _ in answer.ListFields())
        self.count(method, "key_error" if failed else APPLIED)
        return answer

    def _refuse(self, method: str, refused: Refused) -> Any:
        self.count(method, f"refused:{refused.kind}")
        return _answer_class(method)(region_error=refused.error)

    async def _go_wrong(self, rule: Fault, method: str, ask: Any, context: Any) -> Any:
        answer = self._apply(method, ask) if rule.after else None
        if rule.kind in REGION_ERRORS:
            return self._refuse(method, refusal(rule, self.cluster, ask.context, ask))
        if rule.kind == "key_error":
            return _key_error(method, rule.text or "storage is closed.")
        if rule.kind == "stall":
            await asyncio.sleep(rule.stall_s)
            return answer if rule.after else self._apply(method, ask)
        return await no_answer(rule, context)

    async def _batch_commands(
        self, asks: AsyncIterator[Any], context: ServicerContext
    ) -> AsyncIterator[Any]:
        """The stream of batches: every command is answered when it is ready, none waits."""
        ready: asyncio.Queue[tuple[int, Any] | Ended | None] = asyncio.Queue()
        reader = asyncio.create_task(self._take_in(asks, context, ready))
        try:
            while True:
                answers = [await ready.get()]
                while not ready.empty():
                    answers.append(ready.get_nowait())
                batch = more.BatchCommandsResponse()
                for answer in answers:
                    if isinstance(answer, Ended):
                        await context.abort(answer.code, answer.text)
                    if isinstance(answer, tuple):
                        batch.request_ids.append(answer[0])
                        batch.responses.append(answer[1])
                if batch.request_ids:
                    yield batch
                if answers[-1] is None:
                    return
        finally:
            reader.cancel()  # and with it the commands that are not answered

    async def _take_in(
        self, asks: AsyncIterator[Any], context: ServicerContext, ready: asyncio.Queue[Any]
    ) -> None:
        """Start each command of each batch; None when all are answered and no more will come."""

        async def one(number: int, ask: Any) -> None:
            try:
                ready.put_nowait((number, await self._batched(ask, context)))
            except Ended as ended:
                ready.put_nowait(ended)

        async with asyncio.TaskGroup() as group:
            async for batch in asks:
                self.count("BatchCommands", RECEIVED)
                for number, ask in zip(batch.request_ids, batch.requests, strict=True):
                    group.create_task(one(number, ask))
        ready.put_nowait(None)

    async def _batched(self, ask: Any, context: ServicerContext) -> Any:
        fields = ask.ListFields()
        if len(fields) != 1:
            # TiKV drops such a request without a word; here the test shall see it.
            raise Ended(grpc.StatusCode.INVALID_ARGUMENT, "no command of BatchCommands")
        (field, request) = fields[0]
        answer = await self._serve(field.name, request, context)
        return more.BatchedResponse(**{field.name: answer})


class Ended(Exception):
    """The call, or the stream, ends with this status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


async def no_answer(rule: Fault, context: ServicerContext) -> None:
    """The faults that are not an answer: a gRPC status, a broken connection, silence."""
    if rule.kind == "status":
        raise Ended(grpc.StatusCode[rule.code], rule.text or "on command")
    if rule.kind == "drop_connection" and not break_connection(context.peer()):
        raise Ended(grpc.StatusCode.INTERNAL, f"no socket to {context.peer()}")
    await asyncio.sleep(HANG_S)


def _request_class(method: str) -> type:
    if method in BATCHED:
        return getattr(kvrpcpb, BATCHED[method][1])
    if method == "RawChecksum":
        return kvrpcpb.RawChecksumRequest
    return kvrpcpb.RawCASRequest if method in RAW else getattr(more, f"{method}Request")


def _answer_class(method: str) -> type:
    return answer_class(method) if method in RAW else getattr(more, f"{method}Response")


def _key_error(method: str, text: str) -> Any:
    """The error in words of a raw command, the KeyError of a transaction's."""
    if method in RAW:
        return answer_class(method)(error=text)
    error = more.TxnError(abort=text)
    answer = _answer_class(method)
    if "errors" in answer.DESCRIPTOR.fields_by_name:
        return answer(errors=[error])
    return answer(error=error)
