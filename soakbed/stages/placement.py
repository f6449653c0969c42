"""The map of regions around a session of load, as evidence: TiKV alone moves keys by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from soakbed.adapters.ssh import CommandFailed, HostUnreachable, Shell
from soakbed.archive.run_folder import RunFolder
from soakbed.records.placement import Placement
from soakbed.records.run import ReadyTarget
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load import session_is_there
from soakbed.stages.load_plan import CLIENT_TLS
from soakbed.stages.load_session import PYTHON

__all__ = ["placement_kept", "placement_now"]

_ASKED = {"tikv": "loadgen.clients.tikv_regions"}
_TIMEOUT_S = 40


@contextmanager
def placement_kept(
    run: RunFolder,
    ready: ReadyTarget,
    session: str,
    testbed: Testbed,
    *,
    shell: Shell,
    progress: Callable[[str], None],
) -> Iterator[None]:
    """Write `<target>/placement/<session>-before.json` and, when the block is done, `-after.json`.

    A session that is adopted has begun: what was written before it stays, and what was not is not
    made up. A PD that does not answer costs the evidence, not the run: it is said, the judge says
    it again, and whether the target still keeps its promise is asked elsewhere.
    """
    if ready.target not in _ASKED:
        yield
        return
    begun = session_is_there(f"{run.run_id}-{ready.target}-{session}", testbed, shell=shell)
    for when in ("before", "after"):
        if when == "after":
            yield
        elif begun:
            continue
        try:
            now = placement_now(ready, testbed.of_duty("load")[0], shell=shell)
        except (CommandFailed, HostUnreachable, ValidationError) as error:
            told = str(error).splitlines()[0]
            progress(f"{ready.target} {session}: its regions {when} are not known: {told}")
        else:
            run.folder(ready.target, "placement")
            run.write(f"{ready.target}/placement/{session}-{when}", now)


def placement_now(ready: ReadyTarget, host: Host, *, shell: Shell) -> Placement:
    """Ask PD from a load host. Raises CommandFailed, HostUnreachable or ValidationError."""
    where = f"--ca={CLIENT_TLS.ca} --cert={CLIENT_TLS.cert} --key={CLIENT_TLS.key}".split()
    asked = [PYTHON, "-m", _ASKED[ready.target], *where, "--pd", *ready.endpoints]
    done = shell.run(host, ["env", "-C", "/opt/soakbed", *asked], timeout_s=_TIMEOUT_S)
    return Placement.model_validate_json(done.out)
