"""How far a host's clock is from the controller's, with the bound of that knowledge."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

DOCUMENTATION = r"""
name: clock_offset
short_description: Measure a host's clock against the controller's
description:
  - Asks for the host's time again and again through the connection that is open, and takes the
    fastest answer. The host's clock was read somewhere between question and answer, so half
    of that time is the bound.
options:
  samples: {type: int, default: 20, description: How many times the host is asked.}
author: [soakbed]
"""

# One line in, one time out: a process that is already running answers within the round trip.
ANSWER = "import sys,time\nfor _ in sys.stdin: print(time.time_ns(), flush=True)"
TIMEOUT_S = 30


class ActionModule(ActionBase):
    """Runs on the controller; the host needs only python3."""

    _requires_connection = True
    _VALID_ARGS = frozenset(("samples",))

    def run(self, tmp: object = None, task_vars: dict | None = None) -> dict:
        """Offset and bound in microseconds; the offset is positive when the host is ahead."""
        result = super().run(tmp, task_vars)
        samples = int(self._task.args.get("samples", 20))
        try:
            bound_ns, offset_ns = min(self._asked(samples))
        except (OSError, ValueError) as error:
            raise AnsibleActionFail(f"the host does not tell its time: {error}") from error
        clock = {"clock_offset_us": offset_ns // 1000, "clock_bound_us": bound_ns // 1000}
        return {**result, "changed": False, "soakbed": {"clock": clock}}

    def _asked(self, samples: int) -> list[tuple[int, int]]:
        """Bound and offset of each answer."""
        # The connection opens (or joins) its master here; then we speak through the same one.
        self._low_level_execute_command("true", sudoable=False)
        command = ["/usr/bin/python3", "-S", "-E", "-c", ANSWER]
        if self._connection.transport == "ssh":
            executable = self._connection.get_option("ssh_executable")
            quoted = " ".join([*command[:-1], f"'{ANSWER}'"])
            host = self._connection.get_option("host")
            command = self._connection._build_command(executable, "ssh", host, quoted)
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as clock:

            def ask() -> bytes:
                clock.stdin.write(b"\n")
                clock.stdin.flush()
                return clock.stdout.readline()

            ask()  # the first answer waits for the interpreter to start
            found = [_one(ask) for _ in range(samples)]
            clock.stdin.close()
            clock.wait(timeout=TIMEOUT_S)
        return found


def _one(ask: Callable[[], bytes]) -> tuple[int, int]:
    asked_ns = time.time_ns()
    told_ns = int(ask())
    half_ns = (time.time_ns() - asked_ns) // 2
    return half_ns, told_ns - (asked_ns + half_ns)
