"""Whether a target keeps its promise to the load's client: asked from the load host, with its key.

etcd and Redis bring tools that ask this on their own hosts (verify.yml); TiKV brings none.
"""

from __future__ import annotations

from collections.abc import Sequence

from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Shell
from soakbed.errors import ConfigureError
from soakbed.records.run import TargetReady
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load_plan import CLIENT_TLS
from soakbed.stages.load_session import PYTHON

__all__ = ["broken_promise", "require_promise"]

_CHECKS = {"tikv": "loadgen.clients.tikv_check"}
_WITHIN_S = 120


def require_promise(target: str, endpoints: Sequence[str], host: Host, *, shell: Shell) -> None:
    """Before a load: every region reads what it wrote, and strangers get nowhere.

    Raises ConfigureError with what the check says.
    """
    if target not in _CHECKS:
        return
    where = f"--ca={CLIENT_TLS.ca} --cert={CLIENT_TLS.cert} --key={CLIENT_TLS.key}".split()
    check = [PYTHON, "-m", _CHECKS[target], *where, f"--within-s={_WITHIN_S}", "--pd", *endpoints]
    done = shell.run(
        host, ["env", "-C", "/opt/soakbed", *check], timeout_s=_WITHIN_S + 30, check=False
    )
    if done.code:
        lines = done.err.strip().splitlines() or [f"the check ended with {done.code}"]
        told = [line for line in lines if line.startswith("remedy: ")]
        raise ConfigureError(
            f"{target} does not keep its promise to {host.name}: {lines[0]}",
            remedy=told[0].removeprefix("remedy: ") if told else "read the logs of the members",
        )


def broken_promise(ready: TargetReady, testbed: Testbed, *, shell: Shell) -> list[str]:
    """After a load: what is wrong, as alarms; nothing when the promise was kept."""
    host = testbed.of_duty("load")[0]
    if ready.status != "ready":
        return []
    try:
        require_promise(ready.target, ready.endpoints, host, shell=shell)
    except (ConfigureError, CommandFailed, HostUnreachable) as error:
        return [error.problem]
    return []
