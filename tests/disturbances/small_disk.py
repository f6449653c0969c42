"""A disk of its own, and a small one, for the sessions of a load host; it outlives a reboot."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.disturbances.local_host import SESSIONS, LocalHost

__all__ = ["SmallDisk", "small_disk"]

# Of the x86 and arm kernels alike: asm-generic/unistd.h.
OPEN_TREE, MOVE_MOUNT = 428, 429
AT_FDCWD, OPEN_TREE_CLONE, EMPTY_PATH = -100, 1, 4
FSTAB = f"/data/sessions {SESSIONS} none bind 0 0\n"


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """The disk, at `path` of this machine."""

    path: Path

    def free_bytes(self) -> int:
        """What anybody may still write."""
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disk(host: LocalHost, *, size_bytes: int) -> Iterator[SmallDisk]:
    """Put the host's sessions on a disk of `size_bytes`; what sessions it has are hidden.

    It is mounted below the machine's end of the host's /data, which a host that boots binds with
    all that is mounted there; the host that runs is handed the same mount.
    """
    disk = SmallDisk(host.folder / "data")
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "soakbed", str(disk.path)], check=True
    )
    try:
        inside = disk.path / "sessions"
        inside.mkdir()
        host.run("mkdir", "-p", SESSIONS)
        owner = (host.folder / f"root{SESSIONS}").stat()
        os.chown(inside, owner.st_uid, owner.st_gid)
        inside.chmod(owner.st_mode & 0o7777)
        with (host.folder / "root/etc/fstab").open("a") as table:
            table.write(FSTAB)
        _hand_over(inside, host)
        yield disk
    finally:
        # The host may be gone already, or hold the disk until it is.
        subprocess.run(["umount", "--lazy", str(disk.path)], check=False, capture_output=True)


def _hand_over(folder: Path, host: LocalHost) -> None:
    """Mount a folder of this machine in the namespace of a host that runs."""
    libc = ctypes.CDLL(None, use_errno=True)
    tree = libc.syscall(OPEN_TREE, AT_FDCWD, os.fsencode(folder), OPEN_TREE_CLONE)
    if tree < 0:
        raise OSError(ctypes.get_errno(), f"open_tree {folder}")
    code = (
        "import ctypes, sys\n"
        f"done = ctypes.CDLL(None, use_errno=True).syscall({MOVE_MOUNT}, {tree}, b'', {AT_FDCWD},"
        f" {os.fsencode(SESSIONS)!r}, {EMPTY_PATH})\n"
        "sys.exit(ctypes.get_errno() if done else 0)\n"
    )
    try:
        pid = host.first_process()
        words = ["nsenter", f"--target={pid}", "--mount", "--", "/usr/bin/python3", "-c", code]
        done = subprocess.run(words, pass_fds=[tree], check=False, timeout=60)
        if done.returncode:
            raise OSError(done.returncode, f"move_mount of {folder} into {host.name}")
    finally:
        os.close(tree)
