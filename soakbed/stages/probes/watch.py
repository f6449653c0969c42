"""What to know of the host it runs on while it is pressed, as one line of JSON; looks, and no more.

`stages.watchman` sends the text of this file to each host's `python3 -c` every half minute, so it
uses the standard library alone and starts few programs. It remembers its last readings in a small
file of its own, so that whoever looks next, after any crash, knows what rose since.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

SHOWN = ("Id", "ActiveState", "SubState", "Result", "NRestarts")
MOST_LINES = 200
# Six hours of points: long enough for a slope, and the newest ones alone.
POINT_EVERY_S = 600
MOST_POINTS = 36
TAIL_BYTES = 32 * 1024
SAMPLES = Path("/var/lib/soakbed/samples")


def text(path: str) -> str:
    """A file's text; "" when it is gone or this host does not show it."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def said(*command: str) -> str:
    """What a command writes; "" when it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.decode(errors="replace")


def units(members: list[str]) -> dict[str, dict[str, str]]:
    """State of the members, there or not, and of every unit of the load and of housekeeping."""
    asked = ["--all", f"--property={','.join(SHOWN)}", *members, "soakbed-*"]
    found: dict[str, dict[str, str]] = {}
    for block in said("systemctl", "show", *asked).split("\n\n"):
        pairs = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        name = pairs.get("Id", "")
        if name.endswith(".service") and not name.startswith("soakbed-samples-"):
            found[name] = pairs
    return found


def journals(names: list[str], since_s: str, wanted: re.Pattern[str]) -> dict[str, list[str]]:
    """Lines of each unit that could mean something, the last of them where there are many.

    Beside each line that tells of a boot stands the one after it, which has its time.
    """
    found = {}
    for name in names:
        asked = ["--no-pager", "--quiet", "--output=short-iso-precise"]
        lines = said("journalctl", *asked, f"--since=@{since_s}", f"--unit={name}").splitlines()
        kept = [
            line
            for at, line in enumerate(lines)
            if wanted.search(line) or (at and lines[at - 1].startswith("-- Boot"))
        ]
        if kept:
            found[name] = kept[-MOST_LINES:]
    return found


def kernel(since_s: str, wanted: re.Pattern[str]) -> list[str]:
    """Lines of this host's own kernel log; a container has none (its machine is asked apart)."""
    if Path("/run/systemd/container").exists():
        return []
    asked = ["--dmesg", "--no-pager", "--quiet", "--output=short-iso-precise"]
    lines = said("journalctl", *asked, f"--since=@{since_s}").splitlines()
    return [line for line in lines if wanted.search(line)][-MOST_LINES:]


def disks(folders: list[str]) -> dict[str, dict[str, int]]:
    """Space of the file systems that hold the folders."""
    found = {}
    for folder in folders:
        try:
            stat = os.statvfs(folder)
        except OSError:
            continue
        space = {"total": stat.f_blocks, "free": stat.f_bavail, "inodes_free": stat.f_favail}
        found[folder] = {
            name: count * (1 if name == "inodes_free" else stat.f_frsize)
            for name, count in space.items()
        }
    return found


def grown(before: object, now: dict[str, object]) -> dict[str, list[list[float]]]:
    """What each file system held, every ten minutes: [unix seconds, bytes], the newest last."""
    kept = before.get("used", {}) if isinstance(before, dict) else {}
    found = {}
    for folder, space in now["disks"].items():  # type: ignore[attr-defined]
        points = kept.get(folder, [])
        point = [now["at_s"], space["total"] - space["free"]]
        if not points or not 0 <= point[0] - points[-1][0] < POINT_EVERY_S:
            # A clock that was set back begins anew: a slope over it would mean nothing.
            earlier = [one for one in points if one[0] < point[0]]
            points = [*earlier, point][-MOST_POINTS:]
        found[folder] = points
    return found


def throttled_us() -> int | None:
    """How long CPU quotas have held this host back; None where there is no quota to ask."""
    for path, key, per_us in (
        ("/sys/fs/cgroup/cpu.stat", "throttled_usec", 1),
        ("/sys/fs/cgroup/cpu/cpu.stat", "throttled_time", 1000),
    ):
        found = re.search(rf"^{key} (\d+)$", text(path), re.MULTILINE)
        if found:
            return int(found.group(1)) // per_us
    return None


def sampled(folder: Path) -> list[object]:
    """The newest sample that this host's sampler wrote, after the start that explains it.

    [] where there is none. Samples are compared by whoever asked, as the archive compares them.
    """
    files = [path for path in folder.glob("*/samples.jsonl") if path.stat().st_size]
    if not files:
        return []
    with max(files, key=lambda path: path.stat().st_mtime).open("rb") as file:
        head = file.read(TAIL_BYTES)
        file.seek(max(len(head), file.seek(0, os.SEEK_END) - TAIL_BYTES))
        lines = (head + b"\n" + file.read()).splitlines()
    start: object = None
    newest: object = None
    for line in lines:
        try:
            said = json.loads(line.partition(b" ")[2])
        except ValueError:  # cut, here or there
            continue
        if isinstance(said, dict):
            start = said
        elif isinstance(said, list) and start:
            newest = [*said[:-1], {}]
    return [start, newest] if newest else []


def boot_id() -> str:
    """Another one after each boot; of a container that of its first process."""
    began = text("/proc/1/stat").rpartition(")")[2].split()
    return text("/proc/sys/kernel/random/boot_id").strip() + (f"-{began[19]}" if began else "")


def readings(members: list[str], folders: list[str]) -> dict[str, object]:
    """What is compared with the last look."""
    return {
        "at_s": round(time.time(), 3),
        "mono_s": round(time.monotonic(), 3),
        "boot": boot_id(),
        "throttled_us": throttled_us(),
        "sampled": sampled(SAMPLES),
        "units": units(members),
        "disks": disks(folders),
    }


def remembered(file: Path, now: dict[str, object]) -> object:
    """The readings of the last look, and these in their place; None: there was none."""
    try:
        before = json.loads(file.read_text())
    except (OSError, ValueError):
        before = None
    now["used"] = grown(before, now)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(now))
    partial.replace(file)
    return before


def main(asked: dict[str, object]) -> dict[str, object]:
    """`asked`: members, units, folders, since_s, lines (a pattern), kernel (a pattern), memory."""
    members, folders = list(asked["members"]), list(asked["folders"])  # type: ignore[call-overload]
    since_s, prefix = str(asked["since_s"]), str(asked["units"])
    now = readings(members, folders)
    known = [name for name in now["units"] if re.match(prefix, name)]  # type: ignore[attr-defined]
    return {
        "now": now,
        "before": remembered(Path(str(asked["memory"])), now),
        "journal": journals(known, since_s, re.compile(str(asked["lines"]))),
        "kernel": kernel(since_s, re.compile(str(asked["kernel"]))),
    }


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
