"""Host samples while a target is under load: started and stopped on every host, fetched after.

The sampler (probes/samples.py) runs under systemd on each host and needs nobody: it goes on when
the controller is gone (design.md D9), and ends by itself when its time or its space is up. On a
local host it takes 0.03 % of a core (run 20261124T092319Z-short-h-hosts), and says so itself: it is
one of the units that it samples.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from soakbed.adapters.ssh import HostUnreachable, Shell
from soakbed.errors import LoadError
from soakbed.records.spec import RunSpec
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load_plan import load_limit_s
from soakbed.units import MIB

__all__ = ["SAMPLE_EVERY_S", "fetch_samples", "remove_samples", "sampled", "samples_name"]

SAMPLE_EVERY_S = 5
# 72 h write about 20 MB; a host with many units must not fill its disk.
MOST_BYTES = 64 * MIB
SAMPLER = Path(__file__).with_name("probes") / "samples.py"
_FOLDERS = "/var/lib/soakbed/samples"
_UNITS = "soakbed-samples-*.service"
_FILE = "samples.jsonl"
_PACKED = f"{_FILE}.gz"
# Below the load and above nothing: who else wants the core goes first. It restarts after whatever
# ended it but its own word, and writes on where it was.
_SERVICE = (
    "Nice=10",
    "Restart=on-failure",
    "RestartSec=2",
    "StartLimitIntervalSec=600",
    "StartLimitBurst=20",
    "NoNewPrivileges=yes",
)
_PACK_TIMEOUT_S = 120


def samples_name(run_id: str, target: str) -> str:
    """What the samples of one target are called on the hosts."""
    return f"{run_id}-{target}"


@contextmanager
def sampled(
    name: str,
    spec: RunSpec,
    testbed: Testbed,
    *,
    shell: Shell,
    progress: Callable[[str], None],
) -> Iterator[None]:
    """Sample every host while the block runs; what was sampled before under `name` is kept.

    Stopped when the block ends or is interrupted. When a host could not be reached its load goes
    on, and so does the sampling; a kill -9 leaves both. The next call takes over from either.
    """
    limit_s = load_limit_s(spec)

    def start(host: Host) -> None:
        try:
            _start(host, name, limit_s, shell)
        except HostUnreachable as error:  # a resumed soak has load to watch, and a sampler there
            progress(f"{error.problem}; sampling there is left as it is")

    _on_all(testbed, start)
    try:
        yield
    except HostUnreachable:
        raise
    except (KeyboardInterrupt, LoadError):
        _stop(testbed, shell, progress)
        raise
    _stop(testbed, shell, progress)


def fetch_samples(host: Host, name: str, into: Path, *, shell: Shell) -> list[str]:
    """Bring a host's samples to `into`/samples.jsonl.gz; the notes say what is not there.

    Packed on the host, beside the original, which stays until `remove_samples`. What an earlier
    call brought is kept when the host has nothing any more.
    """
    folder = f"{_FOLDERS}/{name}"
    packed = f"{folder}/packed"
    pack = (
        f"cd {shlex.quote(folder)} && mkdir -p packed && "
        f"gzip -c {_FILE} > packed/{_PACKED}.new && mv packed/{_PACKED}.new packed/{_PACKED}"
    )
    shell.run(host, ["sh", "-c", _STOP])
    if shell.run(host, ["test", "-s", f"{folder}/{_FILE}"], check=False).code:
        return [] if (into / _PACKED).exists() else ["no samples of this host were taken"]
    shell.run(host, ["sh", "-c", pack], timeout_s=_PACK_TIMEOUT_S)
    shell.get_tree(host, packed, into)
    return []


def remove_samples(host: Host, name: str, *, shell: Shell) -> None:
    """Free a host of samples that are fetched."""
    shell.run(host, ["rm", "-rf", f"{_FOLDERS}/{name}"])


# A sampler of another run may still be there: its controller was killed and never came back.
_STOP = f"systemctl stop '{_UNITS}'; systemctl reset-failed '{_UNITS}' 2>/dev/null; true"


def _start(host: Host, name: str, limit_s: int, shell: Shell) -> None:
    folder = f"{_FOLDERS}/{name}"
    shell.put_texts(host, folder, {"sampler.py": SAMPLER.read_text()})
    told = [str(SAMPLE_EVERY_S), str(limit_s), str(MOST_BYTES)]
    sampler = ["python3", "-I", f"{folder}/sampler.py", f"{folder}/{_FILE}", _watched(host), *told]
    unit = ["systemd-run", "--quiet", "--collect", f"--unit=soakbed-samples-{name}"]
    unit += ["--description=Samples of this host, for soakbed"]
    unit += [f"--property={one}" for one in _SERVICE]
    # One command, and a new sampler each time: it bears being run twice, and knows its time anew.
    shell.run(host, ["sh", "-c", f"{_STOP}; {shlex.join([*unit, *sampler])}"])


def _watched(host: Host) -> str:
    """The folder whose disk is worth counting: a database's files, or the load's spools."""
    return host.data_dir if host.duty == "data" else "/var/lib/soakbed"


def _stop(testbed: Testbed, shell: Shell, progress: Callable[[str], None]) -> None:
    def stop(host: Host) -> None:
        try:
            shell.run(host, ["sh", "-c", _STOP])
        except LoadError as error:  # it ends by itself, and what matters now is another error
            progress(f"{error.problem}; sampling goes on there")

    _on_all(testbed, stop)


def _on_all(testbed: Testbed, act: Callable[[Host], None]) -> None:
    hosts: Sequence[Host] = list(testbed.hosts.values())
    with ThreadPoolExecutor(len(hosts)) as pool:
        list(pool.map(act, hosts))
