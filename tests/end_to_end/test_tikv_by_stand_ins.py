"""The very same `bench` over TiKV, where a folder has programs for it; here they are stand-ins.

What it must show besides: such a run can be taken for a measurement of TiKV by nobody.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadgen.keyspace import key_bytes
from tests.end_to_end.conftest import PROJECT, SHORT, Soakbed, leftovers
from tests.standins import pd_server, tikv_server

pytestmark = [pytest.mark.root, pytest.mark.testbed, pytest.mark.timeout(900)]

NAME, NETWORK = "t-standin", "10.83.74"
HOSTS = [f"{NETWORK}.{number}" for number in (11, 12, 13)]
PORT = 31000
VERSION = "6.5.5-standin"
REGIONS = 24


def put_programs(folder: Path) -> None:
    """Stand-ins that carry gRPC to the double on the first host, as executables by their names."""
    folder.mkdir()
    for module, name in ((pd_server, "pd-server"), (tikv_server, "tikv-server")):
        text = Path(module.__file__).read_text()
        program = folder / name
        program.write_text(text.replace('DOUBLE = ""', f'DOUBLE = "{HOSTS[0]}:{PORT}"'))
        program.chmod(0o755)


@contextmanager
def double_on_first_host() -> Iterator[None]:
    """The double, in the network of the first host alone; nobody else's addresses are touched."""
    nspawn = Path("/var/lib/soakbed", NAME, "d1", "nspawn.pid").read_text().strip()
    init = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()[0]
    keys = SHORT["keys"]
    splits = [key_bytes("bench:", i * keys // REGIONS).hex() for i in range(1, REGIONS)]
    command = [
        "nsenter",
        f"--net=/proc/{init}/ns/net",
        sys.executable,
        "-m",
        "tests.standins.behind",
        *("--listen", HOSTS[0], "--port", str(PORT)),
        *("--hosts", *HOSTS, "--split-at", *splits),
    ]
    with subprocess.Popen(
        command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as double:
        try:
            assert double.stdout is not None
            assert double.stdout.readline() == "ready\n"
            yield
        finally:
            double.terminate()


@pytest.mark.parametrize("short_soakbed", [(NAME, NETWORK)], indirect=True)
def test_programs_in_a_folder_are_deployed_pressed_and_named(short_soakbed: Soakbed, tmp_path):
    soakbed = short_soakbed
    put_programs(tmp_path / "programs")
    soakbed.environment["SOAKBED_ARTIFACTS"] = str(tmp_path / "programs")
    soakbed.run("provision")
    with double_on_first_host():
        # 7: a machine too busy to measure on is told so, and the test is not about the machine
        soakbed.run("bench", "--targets", "tikv", expect=(0, 7))

    run = soakbed.results / "latest"
    target = soakbed.summary()["targets"]["tikv"]
    assert target["status"] == "measured"
    assert target["count"] > 100
    assert target["read"]["failed"] == target["write"]["failed"] == 0

    # ... and every record of it says what stood there.
    assert (target["version"], target["substituted"]) == (VERSION, True)
    ready = json.loads((run / "tikv" / "ready.json").read_text())
    assert (ready["version"], ready["substituted"]) == (VERSION, True)
    assert {use["name"]: (use["version"], use["substituted"]) for use in ready["artifacts"]} == {
        "pd-server": (VERSION, True),
        "tikv-server": (VERSION, True),
    }
    assert {settings["version"] for settings in ready["effective"].values()} == {VERSION}
    assert any(VERSION in caveat for caveat in target["caveats"])
    assert VERSION in (run / "report" / "index.html").read_text()

    journals = {path.name for path in (run / "tikv" / "hosts" / "d2").rglob("*.log")}
    assert {"soakbed-pd.log", "soakbed-tikv.log"} <= journals
    kept = {path.name for path in (run / "tikv" / "hosts" / "d2").rglob("*.toml")}
    assert kept == {"pd.toml", "tikv.toml", "last_tikv.toml"}
    soakbed.run("teardown")
    assert leftovers(NAME) == []
