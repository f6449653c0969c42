"""`python -m tests.tikv_double`: PD and TiKV on loopback until standard input ends.

The first line on standard output is JSON with the addresses; then commands (control.py) are
read from standard input and answered on standard output, a line each.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.tikv_double.cluster import CLUSTER_ID, NAME, Cluster, Store
from tests.tikv_double.control import Control
from tests.tikv_double.counters import Counters
from tests.tikv_double.faults import Faults
from tests.tikv_double.pd_service import Members, PdService
from tests.tikv_double.servers import GRPCIO, SERVED_BY, Servers, TlsFiles
from tests.tikv_double.tikv_service import StoreService


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.tikv_double", description=__doc__)
    parser.add_argument("--stores", type=int, default=3)
    parser.add_argument("--pds", type=int, default=1)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--ca", type=Path, help="with --cert and --key: mutual TLS, else plain")
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    parser.add_argument("--pd-port", type=int, default=0, help="of the first; 0: any that is free")
    parser.add_argument("--store-port", type=int, default=0, help="likewise")
    parser.add_argument("--announce-store", help="PD names this address for every store")
    parser.add_argument("--split-at", nargs="*", default=[], metavar="HEX", help="keys of regions")
    parser.add_argument("--served-by", choices=SERVED_BY, default=GRPCIO, help="what speaks gRPC")
    parser.add_argument(
        "--for-s", type=float, help="end after this time, whatever becomes of standard input"
    )
    words = parser.parse_args()
    files = (words.ca, words.cert, words.key)
    if any(files) and not all(files):
        parser.error("--ca, --cert and --key go together")
    return words


async def started(words: argparse.Namespace) -> tuple[Control, dict[str, Any]]:
    """Everything listens; the control, and what to say of it."""
    tls = TlsFiles(words.ca, words.cert, words.key) if words.ca else None
    servers = Servers(words.listen, tls, words.served_by)
    cluster = Cluster({number: Store(number) for number in range(1, words.stores + 1)})
    members = Members({}, "https" if tls else "http")
    faults, counters = Faults(), Counters()
    for number in range(1, words.pds + 1):
        port = words.pd_port and words.pd_port + number - 1
        members.addresses[number] = servers.open(f"pd-{number}", port)
    for number, store in cluster.stores.items():
        port = words.store_port and words.store_port + number - 1
        store.address = servers.open(f"store-{number}", port)
        store.announced = words.announce_store or store.address
    for key in words.split_at:
        cluster.split(bytes.fromhex(key))
    cluster.spread_leaders()
    cluster.tell_pd()
    for number in members.addresses:
        service = PdService(number, members, cluster, faults, counters)
        await servers.start(f"pd-{number}", service.handlers())
    for number, store in cluster.stores.items():
        handlers = StoreService(store, cluster, faults, counters).handlers()
        await servers.start(f"store-{number}", handlers)
    return Control(cluster, members, servers, faults, counters), {
        "double": NAME,
        "cluster_id": CLUSTER_ID,
        "tls": tls is not None,
        "pds": list(members.addresses.values()),
        "stores": {number: store.address for number, store in cluster.stores.items()},
    }


def listening(ends_with_input: bool) -> asyncio.Queue[str | None]:
    """Lines of standard input; None at its end. A thread, since any file may be there."""
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(RuntimeError):  # the loop has ended
            for line in sys.stdin:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            if ends_with_input:
                loop.call_soon_threadsafe(lines.put_nowait, None)

    threading.Thread(target=read, daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lines.put_nowait, None)
    return lines


async def serve(words: argparse.Namespace) -> None:
    """Answer commands until the input, the time or somebody's patience ends."""
    control, said = await started(words)
    lines = listening(ends_with_input=words.for_s is None)
    print(json.dumps(said), flush=True)
    try:
        async with asyncio.timeout(words.for_s):
            while (line := await lines.get()) is not None:
                try:
                    command = json.loads(line)
                except ValueError as error:
                    print(json.dumps({"error": f"not JSON: {error}"}), flush=True)
                    continue
                print(json.dumps(await control.run(command)), flush=True)
    except TimeoutError:
        print("the time of --for-s is over", file=sys.stderr)
    finally:
        await control.servers.stop_all()


if __name__ == "__main__":
    asyncio.run(serve(parsed()))
