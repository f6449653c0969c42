"""Lays out the evidence of the host it runs on in one folder: journals, configuration, kernel log.

`stages.collect` sends the text of this file to each host and fetches the folder, so it uses the
standard library alone. Keys and password files are never touched; values of directives that hold
a password are struck out here, before anything leaves the host.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

CONFIGURATION = (
    "/etc/soakbed",
    "/etc/sysctl.d",
    "/etc/security/limits.d",
    "/etc/systemd/journald.conf.d",
    "/etc/systemd/network",
)
UNITS = "/etc/systemd/system"
NEVER = ("pki", "secrets")
NEVER_ENDING = (".key", ".pem", ".crt", ".acl", ".p12")
STRUCK = "<secret>"
SECRETS = re.compile(
    r"(?im)^(\s*(?:export\s+|environment=)?[\w.-]*"
    r"(?:requirepass|masterauth|password|passwd|auth-pass|token|secret)(?!_?file)[\w.-]*"
    r"[\"']?\s*[=: ]\s*)(?=\S)[^\n]*$"
)
# A token that only names the cluster is no secret, and says which one it was.
OPEN = re.compile(r"(?i)cluster[_-]token")


def struck_out(text: str) -> str:
    """The text with the values of all directives that look like passwords replaced."""
    return "\n".join(
        line if OPEN.search(line) else SECRETS.sub(rf"\1{STRUCK}", line)
        for line in text.split("\n")
    )


def configuration_files(
    roots: tuple[str, ...] = CONFIGURATION, units: str = UNITS
) -> Iterator[Path]:
    """Configuration that says how this host was set up, without keys and password files."""
    found = [path for root in roots for path in sorted(Path(root).rglob("*"))]
    found += sorted(Path(units).glob("soakbed-*")) + sorted(Path(units).glob("soakbed-*.d/*"))
    for path in found:
        if not path.is_file() or path.suffix in NEVER_ENDING or set(NEVER) & set(path.parts):
            continue
        yield path


def tail(file: Path, limit_bytes: int, notes: list[str]) -> None:
    """Cut a file to its last `limit_bytes`, whole lines, and say so."""
    size = file.stat().st_size
    if size <= limit_bytes:
        return
    with file.open("rb") as whole:
        whole.seek(size - limit_bytes)
        whole.readline()
        kept = whole.read()
    file.write_bytes(kept)
    notes.append(f"{file.name}: the last {len(kept):,} of {size:,} bytes are kept")


def units_in_journal() -> set[str]:
    """Soakbed's units that ever wrote a line, or that systemd wrote one about."""
    names: set[str] = set()
    for field in ("_SYSTEMD_UNIT", "UNIT"):
        listed = subprocess.run(
            ["journalctl", f"--field={field}"], capture_output=True, check=False
        )
        names |= set(listed.stdout.decode(errors="replace").split())
    return {name for name in names if name.startswith("soakbed-")}


def journals(into: Path, since_s: int, limit_bytes: int, notes: list[str]) -> None:
    """One file for each soakbed unit of this host, and one for sshd."""
    for unit in sorted({*units_in_journal(), "ssh.service"}):
        file = into / f"{unit.removesuffix('.service')}.log"
        with file.open("wb") as out:
            asked = ["journalctl", "--no-pager", "--output=short-iso-precise", "--quiet"]
            subprocess.run(
                [*asked, f"--since=@{since_s}", f"--unit={unit}"], stdout=out, check=True
            )
        tail(file, limit_bytes, notes)


def kernel_log(into: Path, since_s: int, limit_bytes: int, notes: list[str]) -> None:
    """The kernel's messages; in a container they are the machine's, or not to be had."""
    journal = ["journalctl", "--no-pager", "--output=short-iso-precise", "--quiet", "--dmesg"]
    done = subprocess.run(["dmesg", "--time-format=iso"], capture_output=True, check=False)
    said = done.stdout
    if done.returncode:
        notes.append(
            "kernel.log: this host may not read its kernel's log; "
            "a container shares the kernel of its machine, and the log is there"
        )
        said = subprocess.run(
            [*journal, f"--since=@{since_s}"], capture_output=True, check=False
        ).stdout
    (into / "kernel.log").write_bytes(said)
    tail(into / "kernel.log", limit_bytes, notes)


def main(into: Path, since_s: int, limit_bytes: int, *, also: list[str]) -> list[str]:
    """Fill `into`; the notes say what was cut or could not be had. `also`: more configuration."""
    notes: list[str] = []
    (into / "journal").mkdir(parents=True)
    journals(into / "journal", since_s, limit_bytes, notes)
    kernel_log(into, since_s, limit_bytes, notes)
    for path in [*configuration_files(), *map(Path, also)]:
        if not path.is_file():
            continue
        copy = into / "configuration" / path.relative_to("/")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(struck_out(path.read_text(errors="replace")))
        tail(copy, limit_bytes, notes)
    return notes


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), *map(int, sys.argv[2:4]), also=sys.argv[4:])))
