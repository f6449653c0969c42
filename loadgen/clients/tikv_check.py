"""TiKV keeps its promise to the load's client, and to it alone: a check before and after a load.

`python -m loadgen.clients.tikv_check --pd ... --ca ... --cert ... --key ...` on a load host.
In every region a key is written, read, swapped, scanned and deleted; strangers must get nowhere.
Prints what was found as JSON, or what is wrong, where, and what to do. It leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from loadgen.clients.grpc_call import CallLost, GrpcChannel
from loadgen.clients.pd import PdClient, Store
from loadgen.clients.tikv import OK, Result, Swap, TikvClient
from loadgen.clients.tikv_regions import all_regions
from loadgen.contract.plan import Tls
from loadgen.engine.outcome import FAILED
from loadgen.engine.pd_messages import GET_MEMBERS, RegionFound
from loadgen.engine.tls import client_context

__all__ = ["CheckFailed", "Found", "check", "main"]

# Behind a region's first key and before the next key of the load, whose keys end in digits.
MARK = b"\x00soakbed-check"
DEADLINE_S = 5.0
STRANGER_S = 3.0
RAW_GET = b"/tikvpb.Tikv/RawGet"


class CheckFailed(Exception):
    """The promise is broken: what, where, and what to do about it."""

    def __init__(self, problem: str, *, where: str, remedy: str) -> None:
        super().__init__(f"{where}: {problem}\nremedy: {remedy}")


@dataclass
class Found:
    """What the check saw. `leaders`: store address -> regions it leads; `followed`: see Result."""

    pd_leader: str = ""
    stores: list[Store] = field(default_factory=list)
    regions: int = 0
    leaders: dict[str, int] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    slowest_call_us: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"stores": [store._asdict() for store in self.stores]}


def check(
    endpoints: Sequence[str], tls: Tls, *, within_s: float = 60.0, deadline_s: float = DEADLINE_S
) -> Found:
    """The whole check. Raises CheckFailed; `deadline_s` is of each call, `within_s` of all."""
    until = monotonic() + within_s
    found = Found()
    context = client_context(tls, protocols=("h2",))
    with TikvClient(endpoints, context, deadline_s=deadline_s, atomic=True) as client:
        members = _look(found, client.pd, min(until, monotonic() + deadline_s))
        _refuse_strangers(found, members, tls)
        for region in all_regions(client.pd, until):
            if monotonic() > until:
                raise CheckFailed(
                    f"only {found.regions} regions were checked within {within_s:.0f} s",
                    where=f"region {region.id}",
                    remedy="look for a store that is slow; its log names what it waits for",
                )
            _try_region(found, client, region)
    return found


def _look(found: Found, pd: PdClient, until: float) -> tuple[str, ...]:
    """Who is there: PD's leader and all stores, each of them up. Returns PD's members."""
    try:
        members = pd.members(until)
        found.pd_leader = members.leader
        found.stores = pd.stores(until)
    except CallLost as lost:
        raise CheckFailed(
            f"PD does not answer: {lost}",
            where=found.pd_leader or "PD",
            remedy="look at `systemctl status` and the log of its members",
        ) from lost
    for store in found.stores:
        if store.state != "Up":
            raise CheckFailed(
                f"store {store.id} is {store.state}",
                where=store.address,
                remedy="wipe tikv and configure it again; a store that left does not come back",
            )
    return members.addresses


def _refuse_strangers(found: Found, members: Sequence[str], tls: Tls) -> None:
    """No member may answer a client without TLS, or one that shows no certificate."""
    bare = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=tls.ca)
    bare.set_alpn_protocols(["h2"])
    doors = [(address, GET_MEMBERS) for address in members]
    doors += [(store.address, RAW_GET) for store in found.stores]
    for address, path in doors:
        for shown, context in (("no TLS", None), ("no certificate", bare)):
            channel = GrpcChannel(address, context)
            try:
                channel.call(path, b"", until=monotonic() + STRANGER_S)
                answered = True
            except CallLost as lost:
                answered = lost.lost.outcome != FAILED or lost.lost.cause not in (
                    "tls",
                    "connection",
                )
            finally:
                channel.close()
            if answered:
                raise CheckFailed(
                    f"it does not refuse a client with {shown}",
                    where=address,
                    remedy="its [security] section must name CA, certificate and key; configure "
                    "tikv again",
                )
            found.refused.append(f"{address}: {shown}")


def _try_region(found: Found, client: TikvClient, region: RegionFound) -> None:
    """Write, read, swap, scan and delete one key of the region."""
    key = region.start + MARK
    if region.end and key >= region.end:
        raise CheckFailed(
            "the region is too narrow for a key of the check",
            where=f"region {region.id}",
            remedy="split the key space at keys of the load alone",
        )
    after = key + b"\x00"
    # What an earlier check left when it was killed must not speak for this one.
    steps: list[tuple[str, Any, Any]] = [
        ("delete range", lambda: client.delete_range(key, after), None),
        ("put", lambda: client.put(key, b"one"), None),
        ("get", lambda: client.get(key), b"one"),
        (
            "swap of what is there",
            lambda: client.compare_and_swap(key, b"one", b"two"),
            Swap(swapped=True, previous=b"one"),
        ),
        (
            "swap of what is not there",
            lambda: client.compare_and_swap(key, b"one", b"three"),
            Swap(swapped=False, previous=b"two"),
        ),
        ("scan", lambda: client.scan(key, after, 2), [(key, b"two")]),
        ("delete range", lambda: client.delete_range(key, after), None),
        ("get after delete", lambda: client.get(key), None),
    ]
    for name, call, wanted in steps:
        began = monotonic()
        _must_be(call(), wanted, name, region, found)
        found.slowest_call_us = max(found.slowest_call_us, int((monotonic() - began) * 1e6))
    found.regions += 1
    leader = region.leader.store_id if region.leader else 0
    address = next((s.address for s in found.stores if s.id == leader), "nobody")
    found.leaders[address] = found.leaders.get(address, 0) + 1


def _must_be(result: Result, wanted: Any, name: str, region: RegionFound, found: Found) -> None:  # noqa: ANN401
    found.followed += result.followed
    if result.outcome != OK:
        raise CheckFailed(
            f"{name} ended {result.outcome} ({result.cause}): {result.text}",
            where=f"region {region.id}",
            remedy="look at the log of the store that leads it; `pd` names it under /regions",
        )
    if result.value != wanted:
        raise CheckFailed(
            f"{name} gave {result.value!r}, not {wanted!r}",
            where=f"region {region.id}",
            remedy="do not measure: the target loses or mixes up writes; keep its data and logs",
        )


def main() -> int:
    """Run as a program: 0 when the promise is kept, 1 when it is not."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.clients.tikv_check")
    parser.add_argument("--pd", nargs="+", required=True, metavar="ADDRESS:PORT")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--{name}", required=True, metavar="FILE")
    parser.add_argument("--within-s", type=float, default=60.0)
    words = parser.parse_args()
    try:
        found = check(words.pd, Tls(words.ca, words.cert, words.key), within_s=words.within_s)
    except CheckFailed as failed:
        print(failed, file=sys.stderr)
        return 1
    except OSError as error:  # a certificate that cannot be read
        print(f"{error}\nremedy: name files that this user may read", file=sys.stderr)
        return 1
    print(json.dumps(found.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
