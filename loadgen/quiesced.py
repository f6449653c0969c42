"""Whether a target's copies are equal when its load is over: `python -m loadgen.quiesced PLAN`.

Asked on a load host with the plan's endpoints, certificate and password, by clients of our own. It
looks only. Prints one JSON: what was compared, what is equal, what is not and where, and what could
not be asked. It ends in time: `--within-s` bounds all of it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from loadgen.clients.copies import Found
from loadgen.clients.etcd_copies import etcd_copies
from loadgen.clients.redis_copies import redis_copies
from loadgen.clients.tikv_copies import tikv_copies
from loadgen.contract.plan import Plan, Target

__all__ = ["main", "quiesced"]


class Look(Protocol):
    """One target's way of comparing."""

    def __call__(self, plan: Plan, found: Found, *, until: float) -> None: ...


_LOOKS: dict[Target, Look] = {
    "etcd": etcd_copies,
    "redis_cluster": redis_copies,
    "tikv": tikv_copies,
}


def quiesced(plan: Plan, *, within_s: float, clock: Callable[[], float] = time.time) -> Found:
    """Look at the plan's target. Raises OSError where the plan's own files cannot be read."""
    began = time.monotonic()
    found = Found(plan.target, at_s=round(clock(), 3))
    _LOOKS[plan.target](plan, found, until=began + within_s)
    found.took_s = round(time.monotonic() - began, 3)
    return found


def main() -> int:
    """Run as a program: 0 whatever was found, 1 when the plan or its files cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m loadgen.quiesced")
    parser.add_argument("plan", type=Path, metavar="PLAN")
    parser.add_argument("--within-s", type=float, default=120.0)
    words = parser.parse_args()
    try:
        found = quiesced(Plan.read(words.plan), within_s=words.within_s)
    except (OSError, ValueError, TypeError, KeyError) as error:
        print(f"{words.plan}: {error}\nremedy: name a plan whose files this user may read",
              file=sys.stderr)  # fmt: skip
        return 1
    print(json.dumps(found.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
