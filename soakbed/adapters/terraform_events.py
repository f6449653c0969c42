"""What Terraform tells while it works (`-json`): steps, outputs and complaints. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

__all__ = ["Account", "Step", "Tell", "events_of", "line_of", "nobody"]

_ADDRESS = re.compile(r'^(?:module\.\w+(?:\[0\])?\.)+(\w+)\.(\w+)(?:\["([^"]+)"\])?')
# infra/ says where its state lies, and is called by a root that says so, too, where that is S3.
_OF_OUR_MAKING = "Backend configuration ignored"
_STEPS = {"apply_start": "", "apply_complete": "done", "apply_errored": "failed"}
_VERBS = {"create": "making", "delete": "removing", "update": "changing"}


@dataclass(frozen=True, slots=True)
class Step:
    """One resource that was made, changed or unmade just now. `id`: whoever keeps it knows it by.

    `action` is create, update or delete.
    """

    address: str
    type: str
    action: str
    id: str


Tell = Callable[[Step], None]


def nobody(_step: Step) -> None:
    """Whom steps are told to where nobody asked."""


@dataclass(slots=True)
class Account:
    """What the event stream has told so far; each step is told on as it comes."""

    tell: Tell = nobody
    counts: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)
    ids: dict[str, str] = field(default_factory=dict)

    def take(self, event: dict[str, Any]) -> None:
        """Note one event."""
        kind = event.get("type")
        if kind == "change_summary":
            self.counts = event["changes"]
        elif kind == "outputs":
            self.outputs = {name: out.get("value") for name, out in event["outputs"].items()}
        elif kind == "apply_start":
            self._step(event["hook"])
        elif kind == "apply_complete":
            self.touched.add(event["hook"]["resource"]["addr"])
            self.tell(self._step(event["hook"]))
        elif kind == "diagnostic" and event["diagnostic"]["severity"] == "error":
            self.complaints.append(_complaint(event["diagnostic"]))

    def _step(self, hook: dict[str, Any]) -> Step:
        """What is removed has an id only when that begins, what is made only when it is done."""
        resource = hook["resource"]
        address: str = resource["addr"]
        known = self.ids[address] = hook.get("id_value") or self.ids.pop(address, "")
        return Step(address, resource["resource_type"], hook.get("action", ""), known)


def events_of(stream: IO[bytes] | None) -> Iterator[dict[str, Any]]:
    """Terraform's events; a line that is none (a panic, a warning on stderr) becomes one."""
    for raw in stream or ():
        try:
            event = json.loads(raw)
        except ValueError:
            event = {"type": "log", "@message": raw.decode(errors="replace").rstrip()}
        if isinstance(event, dict):
            yield event


def _complaint(diagnostic: dict[str, Any]) -> str:
    where = f"{diagnostic['address']}: " if diagnostic.get("address") else ""
    return f"{where}{diagnostic['summary']}\n{diagnostic.get('detail', '')}".strip()


def line_of(event: dict[str, Any]) -> str:
    """One line for the progress display, "" for events that say nothing to an operator."""
    if event.get("type") == "diagnostic" and event["diagnostic"]["severity"] == "warning":
        if event["diagnostic"]["summary"] == _OF_OUR_MAKING:
            return ""
        return f"warning: {_complaint(event['diagnostic'])}"
    step = _STEPS.get(event.get("type", ""))
    if step is None:
        return ""
    hook = event["hook"]
    what = _thing(hook["resource"]["addr"])
    verb = _VERBS.get(hook.get("action", ""), hook.get("action", ""))
    took = f" after {hook['elapsed_seconds']:.0f} s" if "elapsed_seconds" in hook else ""
    return f"{what}: {verb}{' ' + step if step else ''}{took}"


def _thing(address: str) -> str:
    """A resource as an operator calls it: `host d1` for a host, `vpc` for an aws_vpc.testbed."""
    found = _ADDRESS.match(address)
    if not found:
        return address
    kind, name, key = found.groups()
    if kind != "terraform_data" and name != "host":
        name = kind.partition("_")[2].replace("_", " ")
    return f"{name} {key}" if key else name
