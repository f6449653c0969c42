"""`python -m tests.standins.behind`: the double of TiKV, behind stand-ins on hosts of a testbed.

The stand-ins take TLS off and carry gRPC to it, so that in a test a whole `bench` can press TiKV
without TiKV. It names the hosts' addresses where PD would. Ends with standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.standins.tikv_server import STORES_FROM
from tests.tikv_double.cluster import Cluster, Store
from tests.tikv_double.counters import Counters
from tests.tikv_double.faults import Faults
from tests.tikv_double.pd_service import Members, PdService
from tests.tikv_double.servers import Servers
from tests.tikv_double.tikv_service import StoreService


async def serve(listen: str, port: int, hosts: list[str], split_at: list[str]) -> None:
    """One PD member and one store for each host, until nobody listens to us any more."""
    servers, faults, counters = Servers(listen, None), Faults(), Counters()
    numbers = range(1, len(hosts) + 1)
    cluster = Cluster({number: Store(number) for number in numbers})
    members = Members({number: f"{hosts[number - 1]}:2479" for number in numbers}, "https")
    for number in numbers:
        servers.open(f"pd-{number}", port + number)
        servers.open(f"store-{number}", port + STORES_FROM + number)
        cluster.stores[number].address = f"{hosts[number - 1]}:20160"
        cluster.stores[number].announced = cluster.stores[number].address
    for key in split_at:
        cluster.split(bytes.fromhex(key))
    cluster.spread_leaders()
    cluster.tell_pd()
    for number in numbers:
        service = PdService(number, members, cluster, faults, counters)
        await servers.start(f"pd-{number}", service.handlers())
        handlers = StoreService(cluster.stores[number], cluster, faults, counters).handlers()
        await servers.start(f"store-{number}", handlers)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await servers.stop_all()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--hosts", nargs="+", required=True)
    parser.add_argument("--split-at", nargs="*", default=[])
    asked = parser.parse_args()
    asyncio.run(serve(asked.listen, asked.port, asked.hosts, asked.split_at))


if __name__ == "__main__":
    main()
