"""Terraform's state where several controllers share it: an S3 object, and the lock beside it.

Terraform reads and writes both. Here they are only looked at: whose the hosts in the state are, and
who holds the lock, which a command that is killed never lets go.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from soakbed.adapters.aws import AwsRefused, AwsRegion
from soakbed.errors import ProvisionError
from soakbed.records.cloud_resource import LEASE, TESTBED, LeaseName
from soakbed.records.frozen import Frozen
from soakbed.records.testbed_spec import RemoteState

__all__ = ["SharedState", "StateLock", "StateLocked"]


class StateLocked(ProvisionError):
    """Somebody else is at work on the state, or was when their machine died."""


class StateLock(Frozen):
    """What Terraform writes into the object that is its lock; `created` is a time in UTC."""

    model_config = ConfigDict(extra="ignore")  # a later Terraform may write more

    id: str = Field(alias="ID")
    who: str = Field(alias="Who", default="somebody")
    operation: str = Field(alias="Operation", default="")
    created: str = Field(alias="Created", default="")

    def __str__(self) -> str:
        doing = self.operation.removeprefix("OperationType").lower() or "something"
        return f"{self.who} since {self.created or 'an unknown time'} ({doing}, lock {self.id})"


@dataclass(frozen=True, slots=True)
class SharedState:
    """The state of one testbed in S3. `note`: a file of this controller, for its own lock's id.

    Only what the note names is ever taken for ours: names of machines and users repeat.
    """

    where: RemoteState
    note: Path

    @property
    def url(self) -> str:
        """The object, as `aws s3` names it."""
        return f"s3://{self.where.bucket}/{self.where.key}"

    def leases(self) -> frozenset[LeaseName]:
        """The leases that the resources in the state were made on. Raises AwsRefused."""
        text = self._object(self.where.key)
        held = json.loads(text) if text else {}
        return frozenset(
            LeaseName(str(tags.get(TESTBED, "")), str(tags[LEASE]))
            for resource in held.get("resources", ())
            for instance in resource.get("instances", ())
            if LEASE in (tags := _tags(instance))
        )

    def lock(self) -> StateLock | None:
        """Who holds the state now; None where nobody does. Raises AwsRefused."""
        text = self._object(f"{self.where.key}.tflock")
        if text is None:
            return None
        try:
            return StateLock.model_validate_json(text)
        except ValidationError:
            return StateLock(ID="unknown")

    def note_lock(self) -> None:
        """Write down the lock that a command of ours holds now, for whoever comes after its end."""
        try:
            lock = self.lock()
        except AwsRefused:
            return  # then a kill leaves a lock that a person has to remove
        if lock is not None:
            self.note.write_text(lock.model_dump_json(by_alias=True) + "\n")

    def forget_note(self) -> None:
        """The command has ended, and its lock with it."""
        self.note.unlink(missing_ok=True)

    def left_behind(self) -> StateLock | None:
        """The lock that is still there of a command of ours; nothing of ours may run any more."""
        try:
            noted = StateLock.model_validate_json(self.note.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        held = self.lock()
        return held if held is not None and held.id == noted.id != "unknown" else None

    def locked(self) -> StateLocked:
        """The error of a command that did not get the lock: who has it, and the way out."""
        held = self.lock()
        return StateLocked(
            f"the state {self.url} is locked by {held or 'somebody who has just let it go'}",
            remedy="wait until that is through and run the same command again; where nobody is at "
            f"work any more (that machine died), remove the lock: aws s3 rm {self.url}.tflock "
            f"--region {self.where.region}",
        )

    def _object(self, key: str) -> str | None:
        try:
            region = AwsRegion(self.where.region)
            answer = region.ask("s3", "get_object", Bucket=self.where.bucket, Key=key)
        except AwsRefused as refused:
            if refused.code == "NoSuchKey":
                return None
            raise
        text: str = answer["Body"].read().decode()
        return text


def _tags(instance: dict[str, Any]) -> dict[str, Any]:
    return (instance.get("attributes") or {}).get("tags") or {}
