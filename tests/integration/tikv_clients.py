"""The clients that the double must satisfy, behind one small set of calls.

What each cannot do (test_tikv_client_limits.py shows it):
- `tikv-python`: turn its retries off (a put whose connection broke is sent again, and the caller
  never knows), tell what failed from what may have been applied, transactions.
- `tikv-client`: the same of its retries; TLS, compare-and-swap, backward scans, a time limit of
  the caller's choice. Its errors are text alone; a busy server is the caller's affair; it asks a
  PD that leads no more until a second has passed. Wheels for CPython 3.11 on x86-64 only; may
  crash when it ends.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol

import tikv

from loadgen.clients.tikv import TikvClient, TikvFailed
from loadgen.contract.plan import Tls
from loadgen.engine.tls import client_context
from tests.integration.tikv_client_child import packed, unpacked

__all__ = [
    "Client",
    "ClientError",
    "TikvClientChild",
    "child_process",
    "insisting",
    "opened",
]

PROJECT = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0
Pairs = list[tuple[bytes, bytes]]


class ClientError(Exception):
    """`tikv-client` gave up; the text is what it said."""


class Client(Protocol):
    """Raw calls on the default column family."""

    def get(self, key: bytes) -> bytes | None: ...
    def put(self, key: bytes, value: bytes) -> None: ...
    def delete(self, key: bytes) -> None: ...
    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...
    def put_many(self, pairs: dict[bytes, bytes]) -> None: ...
    def delete_many(self, keys: Sequence[bytes]) -> None: ...
    def scan(self, start: bytes, end: bytes, limit: int) -> Pairs: ...
    def delete_range(self, start: bytes, end: bytes) -> None: ...


class TikvPython:
    """`tikv-python`, which has nearly these names itself."""

    def __init__(self, client: tikv.RawClient) -> None:
        self.client = client
        for name in ("get", "put", "delete", "get_many", "put_many", "delete_many", "delete_range"):
            setattr(self, name, getattr(client, name))

    def scan(self, start: bytes, end: bytes, limit: int) -> Pairs:
        return list(self.client.scan(start, end, limit=limit))


class TikvClientChild:
    """`tikv-client` in a child process."""

    def __init__(
        self, process: subprocess.Popen[str], pds: Sequence[str], kind: str = "RawClient"
    ) -> None:
        self.process = process
        self.call(kind, list(pds))

    def call(self, method: str, *arguments: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([method, packed(list(arguments))]) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise ClientError(answer["error"])
        return unpacked(answer["ok"])

    def get(self, key: bytes) -> bytes | None:
        return self.call("get", key)

    def put(self, key: bytes, value: bytes) -> None:
        self.call("put", key, value)

    def delete(self, key: bytes) -> None:
        self.call("delete", key)

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return dict(self.call("batch_get", list(keys)))

    def put_many(self, pairs: dict[bytes, bytes]) -> None:
        self.call("batch_put", pairs)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        self.call("batch_delete", list(keys))

    def scan(self, start: bytes, end: bytes, limit: int) -> Pairs:
        return [(key, value) for key, value in self.call("scan", start, end, limit)]

    def delete_range(self, start: bytes, end: bytes) -> None:
        self.call("delete_range", start, end)


def insisting(call: Callable[[], None], *texts: str) -> None:
    """For calls that a client leaves to its caller: again, while it says one of `texts`."""
    until = monotonic() + WITHIN_S
    while True:
        try:
            return call()
        except (ClientError, TikvFailed) as error:
            if monotonic() > until or not any(text in str(error) for text in texts):
                raise
        sleep(0.05)


class Own:
    """Our own client, which calls a batch call after call."""

    def __init__(self, client: TikvClient) -> None:
        self.client = client

    def get(self, key: bytes) -> bytes | None:
        return self.client.get(key).needed()

    def put(self, key: bytes, value: bytes) -> None:
        self.client.put(key, value).needed()

    def delete(self, key: bytes) -> None:
        self.client.delete(key).needed()

    def get_many(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {key: self.get(key) for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def put_many(self, pairs: dict[bytes, bytes]) -> None:
        for key, value in pairs.items():
            self.put(key, value)

    def delete_many(self, keys: Sequence[bytes]) -> None:
        for key in keys:
            self.delete(key)

    def scan(self, start: bytes, end: bytes, limit: int) -> Pairs:
        return self.client.scan(start, end, limit).needed()

    def delete_range(self, start: bytes, end: bytes) -> None:
        self.client.delete_range(start, end).needed()


@contextmanager
def opened(name: str, pds: Sequence[str], tls: Tls | None) -> Iterator[Client]:
    """A client by its name."""
    if name == "tikv-python":
        files = tikv.TLSConfig(ca=tls.ca, cert=tls.cert, key=tls.key) if tls else None
        with tikv.RawClient(pds, timeout=WITHIN_S, tls=files) as client:
            yield TikvPython(client)
        return
    if name == "ours":
        context = client_context(tls, protocols=("h2",)) if tls else None
        with TikvClient(pds, context) as own:
            yield Own(own)
        return
    assert name == "tikv-client"
    assert tls is None
    with child_process(pds, "RawClient") as child:
        yield child


@contextmanager
def child_process(pds: Sequence[str], kind: str) -> Iterator[TikvClientChild]:
    """`tikv-client`'s RawClient or TransactionClient."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.tikv_client_child"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield TikvClientChild(process, pds, kind)
        finally:
            process.kill()
