"""What is about to be made in a cloud, written down before it is: what no tag and no state recalls.

A command that is killed between "make it" and "it is called i-0abc" leaves something behind that
only its intent knows of. `archive.intent_log` keeps these lines; `soakbed reap` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from soakbed.records.frozen import Frozen

__all__ = ["Intent", "open_intents"]

Step = Literal["create", "made", "gone"]


class Intent(Frozen):
    """One step in the life of one resource. `create` comes before the call, the rest after it.

    `at_s`: unix seconds. `address`: Terraform's, unique within a testbed. `name`: by which the
    cloud knows it where it has no id yet (a key pair's name, the Name tag), "" where it has none.
    `id`: the cloud's own, "" until it is known.
    """

    at_s: int
    step: Step
    testbed: str
    lease: str
    region: str
    type: str
    address: str
    name: str = ""
    id: str = ""

    def then(self, step: Step, *, at_s: int, id: str = "") -> Intent:
        """The next step of the same resource; an id once known stays known."""
        return self.model_copy(update={"step": step, "at_s": at_s, "id": id or self.id})


def open_intents(lines: Iterable[Intent]) -> list[Intent]:
    """What may still be there: the newest step of each resource that was not seen to be gone.

    Resources are told apart by lease, address and id: one that is made again at the same address
    is another one. A `create` that became `made` is one resource, not two.
    """
    newest: dict[tuple[str, str, str], Intent] = {}
    for line in lines:
        if line.step == "made":
            newest.pop((line.lease, line.address, ""), None)
        if line.step == "gone":
            newest.pop((line.lease, line.address, line.id), None)
        else:
            newest[(line.lease, line.address, line.id)] = line
    return list(newest.values())
