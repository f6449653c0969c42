"""Transactions of our client and of `tikv-client`, behind one small set of calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from loadgen.clients.tikv_txn import Transaction, TransactionClient
from loadgen.contract.plan import Tls
from loadgen.engine.tls import client_context
from tests.integration.tikv_clients import TikvClientChild, child_process

__all__ = ["Begin", "ChildTxn", "Txn", "beginning"]


class Txn(Protocol):
    """One transaction; what goes wrong is raised."""

    def get(self, key: bytes) -> bytes | None: ...
    def get_for_update(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...


Begin = Callable[[bool], Txn]  # pessimistic or not


class OwnTxn:
    """Ours."""

    def __init__(self, txn: Transaction) -> None:
        self.txn = txn

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: getattr(self.txn, name)(*arguments).needed()


class ChildTxn:
    """`tikv-client`'s, in its process."""

    def __init__(self, child: TikvClientChild, *, pessimistic: bool) -> None:
        self.child = child
        self.name = child.call("begin", pessimistic)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: self.child.call(f"{self.name}.{name}", *arguments)


@contextmanager
def beginning(
    name: str, pds: Sequence[str], tls: Tls | None, *, deadline_s: float = 60.0
) -> Iterator[Begin]:
    """How to begin a transaction of the named client."""
    if name == "tikv-client":
        assert tls is None
        with child_process(pds, "TransactionClient") as child:
            yield lambda pessimistic: ChildTxn(child, pessimistic=pessimistic)
        return
    context = client_context(tls, protocols=("h2",)) if tls else None
    with TransactionClient(pds, context, deadline_s=deadline_s) as client:
        yield lambda pessimistic: OwnTxn(client.begin(pessimistic=pessimistic))
