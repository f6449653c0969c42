"""Evidence from the hosts: facts around the load; journals, configurations, kernel log after it.

Nothing secret gets into an archive: keys and password files are not fetched, password values are
struck out on the host, and what arrived is searched for every secret of the testbed once more.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from soakbed.adapters.ssh import Shell
from soakbed.records.collected import CollectInventory
from soakbed.records.testbed import Host, Testbed
from soakbed.stages.load_session import SESSIONS
from soakbed.stages.samples import fetch_samples, remove_samples, samples_name
from soakbed.units import MIB

__all__ = ["collect", "host_facts", "secrets_of", "strike_out"]

Answer = TypeVar("Answer")

PROBES = Path(__file__).with_name("probes")
MOST_BYTES_PER_FILE = 20 * MIB
SAMPLES = "samples.*"
MACHINE = "this machine"  # beside the hosts' names, where they are containers on it
_SCRATCH = "/var/tmp/soakbed-evidence"
_TIMEOUT_S = 300
_STRUCK = b"<secret>"
_PRIVATE = b"PRIVATE KEY-----"
# What members write beside their data: who Redis believes holds which slots, and TiKV's whole
# configuration as it understood it.
_IN_DATA = {
    "redis_cluster": ("6379/nodes.conf", "6380/nodes.conf"),
    "tikv": ("store/last_tikv.toml",),
}
# Shorter ones would strike out ordinary words.
_LEAST_SECRET_CHARS = 8


def host_facts(testbed: Testbed, *, shell: Shell) -> dict[str, dict[str, Any]]:
    """What each host is and how it is set now; the judge compares before with after."""

    def asked(host: Host) -> dict[str, Any]:
        command = _python("facts.py", "/", host.data_dir, "/var/lib/soakbed")
        said: dict[str, Any] = json.loads(shell.run(host, command).out)
        return said

    return _on_all(testbed, asked)


def collect(
    testbed: Testbed, target: str, *, shell: Shell, folder: Path, since_s: float = 0.0
) -> CollectInventory:
    """Bring the hosts' evidence over `target` into `folder`/hosts; a second call replaces it.

    `since_s` 0 means since the run was made. Raises LoadError when a host cannot be asked: its
    evidence would be wiped with it.
    """
    since_s = since_s or _run_began_s(folder)
    secrets = secrets_of(testbed)

    def fetched(host: Host) -> tuple[dict[str, int], list[str]]:
        into = folder / "hosts" / host.name
        notes = _fetch(host, target, into, shell=shell, since_s=since_s)
        notes += strike_out(_evidence_in(into), secrets)
        notes += fetch_samples(host, samples_name(folder.parent.name, target), into, shell=shell)
        brought = [*_evidence_in(into), *into.glob(SAMPLES)]
        sizes = {str(file.relative_to(into)): file.stat().st_size for file in brought}
        return sizes, [f"{host.name}: {note}" for note in notes]

    done = _on_all(testbed, fetched)
    _remove_sessions(testbed, target, shell=shell, folder=folder)
    files = {name: sizes for name, (sizes, _) in done.items()}
    notes = [note for _, notes in done.values() for note in notes]
    if testbed.shares_machine:
        files[MACHINE] = _machines_kernel_log(folder / "hosts", since_s, notes)
    return CollectInventory(target=target, since_s=since_s, files=files, notes=tuple(notes))


def secrets_of(testbed: Testbed) -> tuple[str, ...]:
    """Every password of a testbed, as kept beside its SSH keys in `<state>/secrets`."""
    kept = Path(testbed.known_hosts_file).parent.parent / "secrets"
    found: set[str] = set()
    for file in sorted(kept.glob("*")):
        text = file.read_text()
        try:
            found |= set(_strings(json.loads(text)))
        except ValueError:
            found.add(text.strip())
    return tuple(sorted(secret for secret in found if len(secret) >= _LEAST_SECRET_CHARS))


def strike_out(files: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """Take every secret, and the sha256 that stands for it in ACL files, out of `files`.

    A file that holds a private key is removed. The notes say what was done.
    """
    wanted = [
        form
        for secret in secrets
        for form in (secret.encode(), hashlib.sha256(secret.encode()).hexdigest().encode())
    ]
    notes = []
    for file in files:
        content = file.read_bytes()
        if _PRIVATE in content:
            file.unlink()
            notes.append(f"{file.name} was removed: it held a private key")
            continue
        clean = content
        for form in wanted:
            clean = clean.replace(form, _STRUCK)
        if clean != content:
            file.write_bytes(clean)
            notes.append(f"{file.name}: a secret was struck out")
    return notes


def _fetch(host: Host, target: str, into: Path, *, shell: Shell, since_s: float) -> list[str]:
    """Let the host lay out its evidence, bring it here, and remove it there."""
    shell.run(host, ["rm", "-rf", _SCRATCH])
    limits = (str(int(since_s)), str(MOST_BYTES_PER_FILE))
    also = [f"{host.data_dir}/{target}/{name}" for name in _IN_DATA.get(target, ())]
    command = _python("evidence.py", _SCRATCH, *limits, *also)
    notes: list[str] = json.loads(shell.run(host, command, timeout_s=_TIMEOUT_S).out)
    for file in list(_evidence_in(into)):
        file.unlink()
    shell.get_tree(host, _SCRATCH, into, timeout_s=_TIMEOUT_S)
    shell.run(host, ["rm", "-rf", _SCRATCH])
    return notes


def _remove_sessions(testbed: Testbed, target: str, *, shell: Shell, folder: Path) -> None:
    """Free the hosts of sessions whose every operation is accounted for here, and of samples."""
    for host in testbed.hosts.values():
        remove_samples(host, samples_name(folder.parent.name, target), shell=shell)
    for record in sorted(folder.glob("load/*.json")):
        session = f"{SESSIONS}/{folder.parent.name}-{target}-{record.stem}"
        for host in testbed.of_duty("load"):
            shell.run(host, ["rm", "-rf", session])


def _machines_kernel_log(into: Path, since_s: float, notes: list[str]) -> dict[str, int]:
    """The kernel's messages since the run began, where all hosts share this machine's kernel."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(since_s))  # dmesg knows no @SECONDS
    asked = ["dmesg", "--time-format=iso", f"--since={since}"]
    done = subprocess.run(asked, capture_output=True, check=False)
    if done.returncode:
        notes.append(f"{MACHINE}: {done.stderr.decode(errors='replace').strip()}")
        return {}
    file = into / "kernel-of-machine.log"
    file.write_bytes(done.stdout[-MOST_BYTES_PER_FILE:])
    return {file.name: file.stat().st_size}


def _python(script: str, *arguments: str) -> list[str]:
    return ["python3", "-c", (PROBES / script).read_text(), *arguments]


def _evidence_in(folder: Path) -> Iterator[Path]:
    """Text that collecting brought; the facts beside it are records, kept by the pipeline."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("facts-") and not path.match(SAMPLES):
            yield path


def _on_all(testbed: Testbed, ask: Callable[[Host], Answer]) -> dict[str, Answer]:
    """The answer of every host by name, asked side by side."""
    hosts = sorted(testbed.hosts.values(), key=lambda host: host.name)
    with ThreadPoolExecutor(len(hosts)) as pool:
        return dict(zip((host.name for host in hosts), pool.map(ask, hosts), strict=True))


def _run_began_s(folder: Path) -> float:
    spec = folder.parent / "spec.json"
    return spec.stat().st_mtime if spec.exists() else 0.0


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
