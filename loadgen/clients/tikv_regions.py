"""Which store leads which region now, as PD tells it; kept around each session of load.

`python -m loadgen.clients.tikv_regions --pd ... --ca ... --cert ... --key ...` on a load host
prints it as JSON (`RegionsNow`). It looks only.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import monotonic

from loadgen.clients.grpc_call import CallLost
from loadgen.clients.pd import PdClient
from loadgen.contract.plan import Tls
from loadgen.engine.pd_messages import RegionFound
from loadgen.engine.tls import client_context

__all__ = ["RegionNow", "RegionsNow", "all_regions", "main", "regions_now"]


@dataclass(frozen=True, slots=True)
class RegionNow:
    """A region: keys from `start` up to `end` (hex; an empty end is no end).

    `leader`: "address:port" of its store, "" while nobody leads. `version` grows with each split
    and merge, `conf_ver` with each change of replicas.
    """

    id: int
    start: str
    end: str
    leader: str
    version: int
    conf_ver: int


@dataclass(frozen=True, slots=True)
class RegionsNow:
    """All regions in the order of their keys, at a moment of unix time."""

    at_s: float
    regions: list[RegionNow]


def regions_now(
    endpoints: Sequence[str], context: ssl.SSLContext | None, *, within_s: float = 20.0
) -> RegionsNow:
    """Ask PD. Raises CallLost."""
    until = monotonic() + within_s
    pd = PdClient(endpoints, context)
    try:
        stores = {store.id: store.address for store in pd.stores(until)}
        regions = [
            RegionNow(
                id=one.id,
                start=one.start.hex(),
                end=one.end.hex(),
                leader=stores.get(one.leader.store_id, "") if one.leader else "",
                version=one.version,
                conf_ver=one.conf_ver,
            )
            for one in all_regions(pd, until)
        ]
    finally:
        pd.close()
    return RegionsNow(at_s=round(time.time(), 3), regions=regions)


def all_regions(pd: PdClient, until: float) -> list[RegionFound]:
    """Page by page, from the first key to the last. Raises CallLost."""
    regions: list[RegionFound] = []
    start = b""
    while True:
        page = pd.regions(start, until)
        regions += page
        if not page or not page[-1].end:
            return regions
        start = page[-1].end


def main() -> int:
    """Run as a program: 0 when PD told, 1 when it did not."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.clients.tikv_regions")
    parser.add_argument("--pd", nargs="+", required=True, metavar="ADDRESS:PORT")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE")
    words = parser.parse_args()
    try:
        context = client_context(Tls(words.ca, words.cert, words.key), protocols=("h2",))
        found = regions_now(words.pd, context)
    except (CallLost, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
