"""A testbed of the tests' own, driven through the command line as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
SHORT = {
    "schema": 1,
    "name": "short",
    "keys": 2000,
    "value_bytes": 1024,
    "read_share": 0.5,
    "connections": 12,
    "timeout_ms": 5000,
    "seed": 7,
    "phases": {"warmup_s": 1, "capacity_s": 5, "settle_s": 1, "steady_s": 8},
}


@dataclass
class Soakbed:
    """The `soakbed` command on one testbed of the tests, with folders of its own."""

    folder: Path
    testbed: Path
    workload: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def start(self, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "soakbed", *words, "--testbed", str(self.testbed)]
        if words[0] == "bench":
            command += ["--workload", str(self.workload)]
        return subprocess.Popen(
            command,
            cwd=PROJECT,
            env={**os.environ, **self.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, expect: int | tuple[int, ...] = 0, timeout_s: float = 800) -> str:
        process = self.start(*words)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except BaseException:  # the test is interrupted, or out of time: so is the command
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            raise
        allowed = (expect,) if isinstance(expect, int) else expect
        assert process.returncode in allowed, output
        return output

    def run_until(self, sign: str, *words: str, then: signal.Signals, after_s: float = 0) -> str:
        """Start a command, and once it prints a line that begins with `sign`, signal it."""
        process = self.start(*words)
        watchdog = threading.Timer(800, process.kill)
        watchdog.start()
        seen = []
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if line.startswith(sign):
                time.sleep(after_s)
                os.kill(process.pid, then)
                break
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
        watchdog.cancel()
        text = "".join(seen) + rest
        assert any(line.startswith(sign) for line in seen), text
        return text

    def summary(self) -> dict:
        return json.loads((self.results / "latest" / "summary.json").read_text())


def leftovers(testbed: str) -> list[str]:
    """Looked for with other eyes than teardown's: /proc, ip and the file system."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cgroup = (entry / "cgroup").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"sb-{testbed}-" in words or f"/soakbed/{testbed}/" in cgroup:
            found.append(f"process {entry.name}: {words}")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [f"mount {line}" for line in mounts if f"/var/lib/soakbed/{testbed}" in line]
    if Path("/var/lib/soakbed", testbed).exists():
        found.append(f"/var/lib/soakbed/{testbed}")
    return found


def network_links(testbed: str, network: str) -> set[str]:
    """Ends of the hosts' cables, the bridge with the testbed's address, and what is plugged in.

    Of this testbed alone: tests of another may run beside this one.
    """
    links = {path.name for path in Path("/sys/class/net").glob(f"vb-sb-{testbed}-*")}
    asked = ["ip", "-json", "address", "show"]
    known = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    for link in known:
        if any(one.get("local", "").startswith(f"{network}.") for one in link["addr_info"]):
            links.add(link["ifname"])
    return links | {link["ifname"] for link in known if link.get("master") in links}


def make_soakbed(folder: Path, name: str, network: str) -> Soakbed:
    spec = json.loads((PROJECT / "infra/testbeds/local-4x.json").read_text())
    spec["name"], spec["network_cidr"] = name, f"{network}.0/24"
    for host in spec["hosts"].values():
        host["address"] = f"{network}.{host['address'].rsplit('.', 1)[1]}"
    testbed, workload = folder / "testbed.json", folder / "short.yaml"
    testbed.write_text(json.dumps(spec))
    workload.write_text(yaml.safe_dump(SHORT))
    settings = {"SOAKBED_STATE": str(folder / "state"), "SOAKBED_RESULTS": str(folder / "results")}
    return Soakbed(folder, testbed, workload, settings)


@pytest.fixture
def short_soakbed(tmp_path, request):
    """A testbed for one test; torn down afterwards, whatever happened, and looked for."""
    name, network = request.param
    soakbed = make_soakbed(tmp_path, name, network)
    yield soakbed
    links = network_links(name, network)
    soakbed.run("teardown")
    assert leftovers(name) == []
    assert network_links(name, network) == set()
    assert links & {path.name for path in Path("/sys/class/net").iterdir()} == set()
