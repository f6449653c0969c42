"""What a host that somebody already has is, and whether other hosts get through to it.

`stages.static_checks` sends the text of this file to each host's python3 as one line of JSON and
then asks question after question, a line each: standard library only, nothing is written. While it
runs it listens where the databases will; it ends with its standard input, or after two minutes.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import re
import shutil
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LIVES_S = 120
CONNECT_WITHIN_S = 3.0
OURS = re.compile(r"/(soakbed-[\w.:@-]+\.service)")


def text(path: str | Path) -> str:
    """A file's text; "" when it is not there or not for us to read."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def system() -> dict[str, str]:
    """What /etc/os-release says."""
    pairs = (line.partition("=") for line in text("/etc/os-release").splitlines())
    return {key: value.strip("\"'") for key, _, value in pairs if key}


def memory_bytes() -> int:
    """Memory of the machine; 0 when it does not say."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", text("/proc/meminfo"), re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


def free_bytes(folder: str) -> int:
    """Free space where the folder is, or will be."""
    path = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
    return shutil.disk_usage(path).free


def this_machine() -> str:
    """One word for each kernel and network: two hosts that share both are one host."""
    network = ""
    with contextlib.suppress(OSError):
        network = str(Path("/proc/self/ns/net").readlink())
    return f"{text('/proc/sys/kernel/random/boot_id')} {network}"


class Greeter(socketserver.ThreadingTCPServer):
    """Tells everybody who connects its host's name, and hangs up."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: str, port: int, name: str) -> None:
        said = f"{name}\n".encode()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(said)

        super().__init__((address, port), Handler)


def listen(name: str, address: str, ports: list[int]) -> dict[str, Any]:
    """Listen at each port of `address`; what kept us from it."""
    taken: dict[str, str] = {}
    for port in ports:
        try:
            greeter = Greeter(address, port, name)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return {"address": os.strerror(error.errno or 0), "taken": taken}
            taken[str(port)] = holder(port)
        else:
            threading.Thread(target=greeter.serve_forever, daemon=True).start()
    return {"address": "", "taken": taken}


def holder(port: int) -> str:
    """Who listens at a port: a unit of ours, a program, or "" where we may not see it."""
    sockets = {f"socket:[{inode}]" for inode in listening(port)}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(file.readlink()) in sockets for file in (entry / "fd").iterdir()):
                unit = OURS.search(text(entry / "cgroup"))
                return unit.group(1) if unit else text(entry / "comm")
    return ""


def listening(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen at a port, of whatever address."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in text(table).splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                yield words[9]


def facts(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What the host is, by topic; from then on it listens."""
    return {
        "root": os.geteuid() == 0,
        "system": system(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "this_machine": this_machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory_bytes(),
        "free_bytes": {folder: free_bytes(folder) for folder in asked["folders"]},
        **listen(asked["name"], asked["address"], asked["ports"]),
    }


def tried(address: str, port: int) -> str:
    """What answers at a place: the name of a host, "taken" by another program, or why nothing."""
    try:
        with socket.create_connection((address, port), timeout=CONNECT_WITHIN_S) as connection:
            with contextlib.suppress(OSError):
                return "name " + connection.recv(64).decode(errors="replace").strip()
            return "taken"
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "no answer"
    except OSError as error:
        return error.strerror or str(error)


def peers(asked: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """What answers at each port of each other host."""
    places = [
        (name, one["address"], int(port)) for name, one in asked.items() for port in one["ports"]
    ]
    found: dict[str, dict[str, str]] = {name: {} for name in asked}
    with ThreadPoolExecutor(max(1, len(places))) as pool:
        said = pool.map(lambda place: tried(*place[1:]), places)
        for (name, _, port), words in zip(places, said, strict=True):
            found[name][str(port)] = words
    return found


def main() -> None:
    """Answer each line of standard input with a line."""
    signal.alarm(LIVES_S)
    for line in sys.stdin:
        question = json.loads(line)
        if "facts" in question:
            answer: Any = facts(question["facts"])
        elif "peers" in question:
            answer = peers(question["peers"])
        else:
            answer = {"at_ns": time.time_ns()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
