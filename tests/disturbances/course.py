"""What befalls a soak, and when: a list of faults, one after the other, and the story of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from tests.disturbances.faults import (
    Disturbance,
    controller_killed,
    disk_full,
    halted,
    killed,
    parted,
    rebooted,
    ssh_refused,
)
from tests.disturbances.small_disk import SmallDisk
from tests.disturbances.soak import Soak, sleep_until

__all__ = ["Fault", "Kind", "told_of", "undergo"]

Kind = Literal[
    "master killed",
    "master halted",
    "master and workers parted",
    "SSH refused",
    "controller killed",
    "controller resumes",
    "engine killed",
    "worker killed",
    "disk full",
    "host rebooted",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `at_s` seconds into the steady phase, for `hold_s` at least."""

    at_s: int
    kind: Kind
    hold_s: float = 0.0


def undergo(
    soak: Soak,
    disk: SmallDisk,
    faults: Sequence[Fault],
    *,
    began_s: int,
    say: Callable[[str], None] = print,
) -> list[Disturbance]:
    """All of the faults in order, each at its time or, when the one before took long, after it."""
    story: list[Disturbance] = []
    for fault in faults:
        sleep_until(began_s + fault.at_s)
        say(f"second {time.time() - began_s:.1f}: {fault.kind}")
        if fault.kind == "controller resumes":
            soak.controller("resume")
            told_of(story, "controller killed").until_s = time.time()
            continue
        with _of_kind(fault.kind, soak, disk) as told:
            story.append(told)
            time.sleep(fault.hold_s)
        if fault.kind == "controller killed":
            told.until_s = 0.0  # until it is resumed
        say(f"second {time.time() - began_s:.1f}: over")
    return story


def told_of(story: Sequence[Disturbance], kind: Kind) -> Disturbance:
    """The one disturbance of a kind."""
    (told,) = (one for one in story if one.name == kind)
    return told


def _of_kind(kind: Kind, soak: Soak, disk: SmallDisk) -> AbstractContextManager[Disturbance]:
    host = soak.load_host
    match kind:
        case "master killed" | "worker killed" | "engine killed":
            return killed(host, kind.partition(" ")[0])
        case "master halted":
            return halted(host, "master")
        case "master and workers parted":
            return parted(host)
        case "SSH refused":
            return ssh_refused(host)
        case "controller killed":
            return controller_killed(soak.controllers[-1])
        case "disk full":
            return disk_full(disk)
        case "host rebooted":
            return rebooted(host)
    raise ValueError(f"{kind} is no fault that is done")
