"""What PD and TiKV are configured with on hosts of two sizes, as golden files.

`python -m tests.golden.configs` renews them; read the difference before it is committed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.contract.rendering import rendered

HERE = Path(__file__).parent
GIB = 2**30
ROLES = ("pd", "tikv")
# What the load of a quick workload is; it decides nothing that is rendered.
KEYS = {"tikv_keys": 20_000, "tikv_value_bytes": 1024}


@dataclass(frozen=True, slots=True)
class Size:
    """A kind of data host: what it has, and how many of them live on one machine."""

    cores: int
    memory_bytes: int
    disk_bytes: int
    nofile: int
    sharing: int = 1

    def state(self) -> dict[str, int]:
        """As the module host_state finds it."""
        names = ("cores", "memory_bytes", "disk_bytes", "nofile")
        return {name: getattr(self, name) for name in names}


# 8c16g is the host that the values are made for (c6id.2xlarge: one local NVMe disk of 474 GB).
# Local hosts are three of one small machine, where PID 1 lets nobody open over 20,000 files.
SIZES = {
    "8c16g": Size(8, 16 * GIB, 474 * 10**9, 1_000_000),
    "local": Size(1, 24 * GIB, 250 * 10**9, 20_000, sharing=3),
}


def golden(size: str) -> Path:
    """The folder of one size."""
    return HERE / f"config-{size}"


def files_of(size: str, profile: str = "tuned", **variables: Any) -> dict[str, str]:
    """Name -> text of every file of both roles on host d1, with places as on a host."""
    made: dict[str, str] = {}
    for role in ROLES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            texts = rendered(folder, role, profile=profile, **_variables(SIZES[size]), **variables)
            made |= {name: _as_on_a_host(text, role, folder) for name, text in texts.items()}
    return made


def _variables(size: Size) -> dict[str, Any]:
    shared = {"pd_hosts_sharing_memory": size.sharing, "tikv_hosts_sharing_machine": size.sharing}
    return {"__pd_state": size.state(), "__tikv_state": size.state(), **shared, **KEYS}


def _as_on_a_host(text: str, role: str, folder: Path) -> str:
    places = {"config": f"/etc/soakbed/{role}", "data": f"/data/tikv/{_DATA[role]}"}
    for name, place in places.items():
        text = text.replace(str(folder / name), place)
    text = re.sub(r"SOAKBED_CONFIG=\w+", "SOAKBED_CONFIG=(hash of all of this)", text)
    return re.sub(r"(?m)^User=.*$", "User=soakbed", text)


_DATA: Mapping[str, str] = {"pd": "pd", "tikv": "store"}


def main() -> None:
    """Write all files anew."""
    for size in SIZES:
        folder = golden(size)
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for name, text in files_of(size).items():
            (folder / name).write_text(text)


if __name__ == "__main__":
    main()
