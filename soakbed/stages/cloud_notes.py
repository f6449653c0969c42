"""What Terraform is about to make in a cloud, and what came of it, for the intent log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from soakbed.adapters.terraform import Progress
from soakbed.adapters.terraform_events import Step
from soakbed.archive.intent_log import IntentLog
from soakbed.errors import ArchiveError
from soakbed.records.intents import Intent, open_intents

__all__ = ["CloudNotes", "planned_creations"]

# By which EC2 knows a thing that it gave no id yet; everything else only has its Name tag.
_NAMES = {"aws_key_pair": "key_name", "aws_placement_group": "name", "aws_security_group": "name"}


def planned_creations(
    plan: Mapping[str, Any], *, testbed: str, lease: str, region: str, at_s: int
) -> list[Intent]:
    """The intents of a plan (`terraform show -json`): all that it makes in the cloud, or again.

    What Terraform keeps only in its state (terraform_data) is nothing that could be lost.
    """
    return [
        Intent(
            at_s=at_s,
            step="create",
            testbed=testbed,
            lease=lease,
            region=region,
            type=change["type"],
            address=change["address"],
            name=_name(change["type"], change["change"]["after"] or {}),
        )
        for change in plan.get("resource_changes", ())
        if change["mode"] == "managed"
        and change["type"].startswith("aws_")
        and "create" in change["change"]["actions"]
    ]


@dataclass(slots=True)
class CloudNotes:
    """The intent log as one provision or teardown writes it, under one lease in one region."""

    log: IntentLog
    testbed: str
    lease: str
    region: str
    progress: Progress
    _open: dict[str, list[Intent]] = field(init=False)

    def __post_init__(self) -> None:
        self._open = {}
        for intent in self.of_this_lease():
            self._open.setdefault(intent.address, []).append(intent)

    def of_this_lease(self) -> list[Intent]:
        """What may still be there of this lease. Raises ArchiveError when the log is damaged."""
        open_now = open_intents(self.log.read())
        return [it for it in open_now if (it.lease, it.region) == (self.lease, self.region)]

    def before(self, plan: Mapping[str, Any]) -> None:
        """Write down what the plan is to make. Raises ArchiveError, and then nothing may be."""
        intents = planned_creations(
            plan, testbed=self.testbed, lease=self.lease, region=self.region, at_s=_now_s()
        )
        self.log.append(intents)
        for intent in intents:
            self._open.setdefault(intent.address, []).append(intent)

    def tell(self, step: Step) -> None:
        """Write down what came of it. The intent stands already, so a full disk stops nothing."""
        known = self._open.setdefault(step.address, [])
        if step.action == "create" and known:
            self._note([known.pop().then("made", at_s=_now_s(), id=step.id)])
        elif step.action == "delete":
            ended = [it for it in known if it.id in {step.id, ""}]
            self._open[step.address] = [it for it in known if it not in ended]
            self._note(it.then("gone", at_s=_now_s()) for it in ended)

    def all_gone(self) -> None:
        """Somebody looked, and nothing of this lease is left."""
        self._note(it.then("gone", at_s=_now_s()) for it in self.of_this_lease())

    def _note(self, steps: Iterable[Intent]) -> None:
        written = list(steps)
        try:
            self.log.append(written)
        except ArchiveError as error:
            self.progress(f"warning: {error.problem}")
            return
        for step in written:
            if step.step == "made":
                self._open[step.address].append(step)


def _name(kind: str, after: Mapping[str, Any]) -> str:
    own = after.get(_NAMES.get(kind, ""))
    return str(own or (after.get("tags") or {}).get("Name") or "")


def _now_s() -> int:
    return int(time.time())
