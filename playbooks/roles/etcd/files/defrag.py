#!/usr/bin/python3
"""Gives what an etcd member no longer needs back to its disk: one member at a time, leader last.

Started on each data host by timers that are staggered (soakbed-etcd-defrag@own.timer), and once
more when all have had their turn (@last.timer), for the member that led when its turn came. What
it says ends up in the journal, where the run finds it as a planned event. Needs etcdctl alone.

Compaction frees pages inside the file, which writes then use again; only defragmentation makes the
file smaller, and the member answers nothing meanwhile (etcd docs v3.5, maintenance.md).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ETCDCTL = "/opt/soakbed/bin/etcdctl"
SAYS = "soakbed-defrag:"
# A follower that lags by more entries than a leader keeps gets a snapshot, and a snapshot that is
# applied during a defragmentation corrupts the member (etcd-io/etcd#20653, until 3.5.23).
# Source of the number: server/etcdserver/server.go at v3.5.10, DefaultSnapshotCatchUpEntries.
MOST_LAG_ENTRIES = 5000
_LEAVES_WITHIN_S = 5.0

Run = Callable[[Sequence[str]], str]


class PutOff(Exception):
    """Not now; nothing was done."""


class Failed(Exception):
    """etcdctl said no, or nothing."""


class Member:
    """What `etcdctl endpoint status -w json` tells of one member."""

    def __init__(self, told: dict) -> None:
        status = told["Status"]
        self.endpoint: str = told["Endpoint"]
        self.id: int = status["header"]["member_id"]
        self.leads: bool = status.get("leader", 0) == self.id
        self.has_leader: bool = bool(status.get("leader", 0))
        self.index: int = status.get("raftIndex", 0)
        self.applied: int = status.get("raftAppliedIndex", 0)
        self.size_bytes: int = status["dbSize"]
        self.used_bytes: int = status["dbSizeInUse"]

    @property
    def unused_share(self) -> float:
        """Part of the file that holds nothing."""
        return 1 - self.used_bytes / self.size_bytes if self.size_bytes else 0.0


def etcdctl(program: str) -> Run:
    """A way to run etcdctl, which finds certificates in the environment."""

    def run(words: Sequence[str]) -> str:
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise Failed(f"etcdctl {words[0]}: {said[-1] if said else done.returncode}")
        return done.stdout

    return run


class Housekeeper:
    """One turn of one member."""

    def __init__(self, given: argparse.Namespace, run: Run | None = None) -> None:
        self.given = given
        self.run = run or etcdctl(given.etcdctl)
        self.waits = Path(given.memory)

    def turn(self) -> str:
        """What was done, in words. Raises PutOff or Failed."""
        if self.given.turn == "last" and not self.waits.exists():
            return "nothing was left for the last turn"
        mine = self.checked()
        if not self.worth(mine):
            self.waits.unlink(missing_ok=True)
            return (
                f"nothing to give back: {mb(mine.size_bytes)}, {mine.unused_share:.0%} of it unused"
            )
        if self.given.turn == "own" and mine.leads:
            self.waits.touch()
            return "leads, so it waits for the last turn"
        self.waits.unlink(missing_ok=True)
        if mine.leads and self.given.move_leader:
            self.hand_over(mine)
        return self.defragmented(mine)

    def members(self) -> list[Member]:
        """All members that answer."""
        words = [f"--endpoints={self.given.endpoints}", "--write-out=json"]
        found = json.loads(self.run(["endpoint", "status", *words]))
        return [Member(told) for told in found]

    def checked(self) -> Member:
        """The member of this host, when all of the cluster is well. Raises PutOff."""
        try:
            members = self.members()
        except Failed as error:  # etcdctl fails when any member is away
            raise PutOff(f"not all members answer ({error})") from error
        wanted = len(self.given.endpoints.split(","))
        if len(members) < wanted:
            raise PutOff(f"{len(members)} of {wanted} members answer")
        if not all(one.has_leader for one in members):
            raise PutOff("a member has no leader")
        if alarms := self.run(["alarm", "list", f"--endpoints={self.given.own}"]).strip():
            raise PutOff(f"there is an alarm: {alarms}")
        lag = max(one.index for one in members) - min(one.applied for one in members)
        if lag > MOST_LAG_ENTRIES:
            raise PutOff(f"a member lags by {lag} entries, and may get a snapshot")
        return next(one for one in members if one.endpoint == self.given.own)

    def worth(self, mine: Member) -> bool:
        """Whether there is enough to give back."""
        given = self.given
        return (
            mine.size_bytes >= given.least_bytes and 100 * mine.unused_share >= given.least_percent
        )

    def hand_over(self, mine: Member) -> None:
        """Let another member lead: a moment, where a leader that stands still stops every write."""
        others = [one for one in self.members() if one.id != mine.id]
        heir = max(others, key=lambda one: one.applied)
        self.run(["move-leader", f"{heir.id:x}", f"--endpoints={mine.endpoint}"])
        until_s = time.monotonic() + _LEAVES_WITHIN_S
        while any(one.leads for one in self.members() if one.id == mine.id):
            if time.monotonic() > until_s:
                raise PutOff(f"it still leads {_LEAVES_WITHIN_S:.0f} s after it handed over")
            time.sleep(0.1)

    def defragmented(self, mine: Member) -> str:
        """Do it, and tell what it gave and took."""
        began_s = time.monotonic()
        words = [f"--endpoints={mine.endpoint}", f"--command-timeout={self.given.timeout_s}s"]
        self.run(["defrag", *words])
        took_s = time.monotonic() - began_s
        after = next(one for one in self.members() if one.id == mine.id)
        return (
            f"gave back {mb(mine.size_bytes - after.size_bytes)} in {took_s:.3f} s: "
            f"{mb(mine.size_bytes)} are {mb(after.size_bytes)} now"
        )


def mb(size_bytes: int) -> str:
    """Bytes for people."""
    return f"{size_bytes / 1e6:,.1f} MB"


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("turn", choices=("own", "last"))
    parser.add_argument("--own", required=True, help="endpoint of this host's member")
    parser.add_argument("--endpoints", required=True, help="of all members, with commas between")
    parser.add_argument("--least-bytes", type=int, required=True, help="smaller files are left")
    parser.add_argument("--least-percent", type=int, required=True, help="unused at least")
    parser.add_argument("--timeout-s", type=int, required=True, help="for the defragmentation")
    parser.add_argument("--move-leader", action="store_true", help="hand over before it stops")
    parser.add_argument("--memory", required=True, help="file that says that a leader waits")
    parser.add_argument("--etcdctl", default=ETCDCTL, help="the program that is asked")
    return parser.parse_args(words)


def main() -> int:
    """One turn; what it says is the event."""
    try:
        print(SAYS, Housekeeper(arguments()).turn())
    except PutOff as why:
        print(SAYS, f"put off: {why}")
    except (Failed, KeyError, ValueError, StopIteration) as error:
        print(SAYS, f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
