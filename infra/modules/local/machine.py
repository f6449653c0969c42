"""Make and unmake one local host, or the bridge between them; run by Terraform's provisioners.

    python3 machine.py network-up | network-down | host-up | host-down | testbed-down
    python3 machine.py host-run     (started by host-up: stays, and boots a host that reboots)

What to make comes in the environment as JSON (SOAKBED_LOCAL_INPUT), see `network` and `host` in
main.tf. Everything made is named after the testbed, and nothing else is ever touched: the bridge,
/var/lib/soakbed/<testbed>/, and the control groups soakbed/<testbed>/<host>. Each command may be
run again at any time: "up" first clears what an interrupted "up" left behind.

Standard library only, because it runs wherever Terraform does.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOTS = Path("/var/lib/soakbed")
CGROUP_TREES = (
    Path("/sys/fs/cgroup/systemd"),  # version 1 and hybrid
    Path("/sys/fs/cgroup/unified"),  # hybrid
    Path("/sys/fs/cgroup"),  # version 2
)
# How systemd-nspawn with --keep-unit says that its host wants to be booted again.
REBOOT = 133
SSH_UP_WITHIN_S = 60
DEAD_WITHIN_S = 20


class Refusal(Exception):
    """The command could not do its work; the text says why."""


def run(*command: str) -> None:
    """Run one command of the system; its complaint becomes ours."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refusal(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def network_up(given: dict[str, str]) -> None:
    """One bridge with the network's first address, and no way out of it."""
    network_down(given)
    bridge = given["bridge"]
    run("ip", "link", "add", bridge, "type", "bridge")
    run("ip", "address", "add", given["address"], "dev", bridge)
    run("ip", "link", "set", bridge, "up")


def network_down(given: dict[str, str]) -> None:
    """Remove the bridge with all that hangs on it, and the folders the last host left empty."""
    bridge = Path("/sys/class/net", given["bridge"])
    if bridge.exists():
        # A dead host's TCP sockets with unacknowledged data keep its network namespace, and so
        # its link, for minutes; deleting our end of the link takes the other with it.
        for port in (bridge / "brif").iterdir():
            delete_link(port.name)
        delete_link(bridge.name)
    for group in groups_of({**given, "host": ""}):
        remove_if_empty(group)
        remove_if_empty(group.parent)
    remove_if_empty(ROOTS / given["testbed"])
    remove_if_empty(ROOTS)


def delete_link(name: str) -> None:
    """Delete a link that the kernel may be removing by itself at the same moment."""
    try:
        run("ip", "link", "delete", name)
    except Refusal:
        if Path("/sys/class/net", name).exists():
            raise


def host_up(given: dict[str, str]) -> None:
    """Lay the host's files over the image, boot it, and wait until SSH answers."""
    host_down(given)
    folder = ROOTS / given["testbed"] / given["host"]
    for name in ("upper", "work", "root", "data"):
        make_folder(folder / name)
    write_identity(folder / "upper", given)
    layers = f"lowerdir={given['image']},upperdir={folder}/upper,workdir={folder}/work"
    run("mount", "-t", "overlay", "overlay", "-o", layers, str(folder / "root"))
    process = boot(folder, given)
    wait_for_ssh(process, folder, given)


def write_identity(upper: Path, given: dict[str, str]) -> None:
    """What makes this host itself: name, address, SSH keys."""
    write(upper / "etc/hostname", given["host"] + "\n")
    write(upper / "etc/hosts", f"127.0.0.1 localhost\n{given['address']} {given['host']}\n")
    seed = f"{given['testbed']}/{given['host']}".encode()
    write(upper / "etc/machine-id", hashlib.sha256(seed).hexdigest()[:32] + "\n")
    # Sorts before systemd's own 80-container-host0.network, which would ask for DHCP.
    network = (
        "[Match]\nName=host0\n\n"
        f"[Network]\nAddress={given['address']}/{given['prefix']}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
    write(upper / "etc/systemd/network/10-soakbed.network", network)
    ssh = Path(given["ssh_dir"])
    key = ssh / "hosts" / f"{given['host']}_ed25519"
    write(upper / "etc/ssh/ssh_host_ed25519_key", key.read_text(), mode=0o600)
    write(upper / "etc/ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_text())
    (upper / "root").mkdir(mode=0o700)
    (upper / "root/.ssh").mkdir(mode=0o700)
    write(upper / "root/.ssh/authorized_keys", (ssh / "id_ed25519.pub").read_text(), mode=0o600)


def write(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a file that is never, not even for a moment, more open than `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)


def boot(folder: Path, given: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the host in a session of its own; it outlives this command.

    What runs it has a control group of its own below the host's, so that whoever looks for the host
    finds it while it reboots.
    """
    groups = [group / "run" for group in make_groups(given)]
    for group in groups:
        make_folder(group)
    with (folder / "console.log").open("wb") as console:
        return subprocess.Popen(
            [sys.executable, "-S", __file__, "host-run"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
            preexec_fn=entering(groups),
            env={
                "PATH": os.environ["PATH"],
                "SOAKBED_LOCAL_TESTBED": given["testbed"],
                "SOAKBED_LOCAL_INPUT": json.dumps(given),
            },
        )


def host_run(given: dict[str, str]) -> None:
    """Run the host until it stops; what reboots is booted again, with the address it had."""
    folder = ROOTS / given["testbed"] / given["host"]
    code = REBOOT
    while code == REBOOT:
        process = start(folder, given)
        write(folder / "nspawn.pid", f"{process.pid}\n")
        code = process.wait()
    raise Refusal(f"host {given['host']} ended, systemd-nspawn said {code}")


def start(folder: Path, given: dict[str, str]) -> subprocess.Popen[bytes]:
    """systemd-nspawn in the control groups of the host."""
    command = [
        "systemd-nspawn", "--boot", "--register=no", "--keep-unit", "--console=read-only",
        f"--directory={folder}/root", f"--bind={folder}/data:/data",
        f"--machine=sb-{given['testbed']}-{given['host']}", f"--hostname={given['host']}",
        f"--network-bridge={given['bridge']}",
        "--link-journal=no", "--resolv-conf=off", "--timezone=off",
    ]  # fmt: skip
    if given["cpus"]:
        command.append(f"--cpu-affinity={given['cpus']}")
    mark = {"PATH": os.environ["PATH"], "SOAKBED_LOCAL_TESTBED": given["testbed"]}
    # systemd inside claims the group it starts in as its root. Without one each, the hosts would
    # share system.slice and stop each other's services.
    return subprocess.Popen(command, preexec_fn=entering(make_groups(given)), env=mark)


def entering(groups: list[Path]) -> Callable[[], None]:
    """What a new process does to be in `groups`."""

    def enter() -> None:
        for group in groups:
            (group / "cgroup.procs").write_text(str(os.getpid()))

    return enter


def groups_of(given: dict[str, str]) -> list[Path]:
    """The host's control group in every tree this machine has."""
    trees = [tree for tree in CGROUP_TREES if (tree / "cgroup.procs").exists()]
    return [tree / "soakbed" / given["testbed"] / given["host"] for tree in trees]


def make_groups(given: dict[str, str]) -> list[Path]:
    """Make the host's control groups."""
    groups = groups_of(given)
    for group in groups:
        make_folder(group)
    return groups


def wait_for_ssh(process: subprocess.Popen[bytes], folder: Path, given: dict[str, str]) -> None:
    """Return once sshd greets us; raise with the end of the host's console if it does not."""
    deadline = time.monotonic() + SSH_UP_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if greets(given["address"]):
            return
        time.sleep(0.1)
    what = "stopped" if process.poll() is not None else f"gave no SSH in {SSH_UP_WITHIN_S} s"
    console = (folder / "console.log").read_text(errors="replace").splitlines()[-15:]
    raise Refusal(f"host {given['host']} {what}; the end of its console:\n" + "\n".join(console))


def greets(address: str) -> bool:
    """Whether an SSH server greets us there."""
    try:
        with socket.create_connection((address, 22), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def host_down(given: dict[str, str]) -> None:
    """Kill the host (its data is thrown away anyhow), unmount it, and remove its folder."""
    folder = ROOTS / given["testbed"] / given["host"]
    kill_members(given, folder)
    for group in groups_of(given):
        remove_groups(group)
    for point in mounts_below(folder):
        run("umount", point)
    if folder.exists():
        shutil.rmtree(folder)


def testbed_down(given: dict[str, str]) -> None:
    """Remove every host that left a folder or a control group, then the bridge."""
    folder = ROOTS / given["testbed"]
    groups = [tree / "soakbed" / given["testbed"] for tree in CGROUP_TREES]
    parents = [parent for parent in (folder, *groups) if parent.exists()]
    for host in sorted({child.name for parent in parents for child in subfolders(parent)}):
        host_down({**given, "host": host})
    if folder.exists():
        shutil.rmtree(folder)
    network_down(given)


def subfolders(parent: Path) -> list[Path]:
    """The folders right below `parent`."""
    return [child for child in parent.iterdir() if child.is_dir()]


def kill_members(given: dict[str, str], folder: Path) -> None:
    """SIGKILL every process of the host until none is left.

    Killing systemd-nspawn alone is not enough: what it booted lives on (tried).
    """
    deadline = time.monotonic() + DEAD_WITHIN_S
    while members := members_of(given, folder):
        if time.monotonic() > deadline:
            raise Refusal(f"host {given['host']}: processes {sorted(members)} do not die")
        for member in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        time.sleep(0.05)


def members_of(given: dict[str, str], folder: Path) -> set[int]:
    """Processes in the host's control groups, or with its overlay as their root."""
    found: set[int] = set()
    for group in groups_of(given):
        # os.walk passes over groups that a dying host removes meanwhile; rglob fails on them.
        for path, _, _ in os.walk(group):
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in Path(path, "cgroup.procs").read_text().split()}
    layer = f"upperdir={folder}/upper,"
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for line in (entry / "mountinfo").read_text().splitlines():
                fields = line.split(" ")
                if fields[4] == "/" and layer in fields[-1]:
                    found.add(int(entry.name))
    return found


def mounts_below(folder: Path) -> list[str]:
    """Mount points at or below the host's folder, the deepest first."""
    points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return sorted((point for point in points if point.startswith(f"{folder}/")), reverse=True)


def remove_groups(group: Path) -> None:
    """Remove an empty control group with all below it; the kernel may need a moment."""
    deadline = time.monotonic() + DEAD_WITHIN_S
    while group.exists():
        try:
            for below in sorted(group.rglob("*/"), reverse=True):
                below.rmdir()
            group.rmdir()
        except OSError as error:
            if time.monotonic() > deadline:
                raise Refusal(f"control group {group}: {error}") from error
            time.sleep(0.05)


def make_folder(folder: Path) -> None:
    """Make a folder, although another testbed may remove its empty parent meanwhile."""
    for _ in range(100):
        with contextlib.suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    raise Refusal(f"{folder} cannot be made: its parent keeps disappearing")


def remove_if_empty(folder: Path) -> None:
    """Remove a folder that another host or testbed may still use."""
    with contextlib.suppress(OSError):
        folder.rmdir()


COMMANDS = {
    "host-down": host_down,
    "host-run": host_run,
    "host-up": host_up,
    "network-down": network_down,
    "network-up": network_up,
    "testbed-down": testbed_down,
}


def main() -> int:
    """Run the one command named on the command line."""
    try:
        COMMANDS[sys.argv[1]](json.loads(os.environ["SOAKBED_LOCAL_INPUT"]))
    except (Refusal, OSError) as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
