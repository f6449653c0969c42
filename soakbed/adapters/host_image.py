"""The root file system that local hosts boot from: built once, cached by the hash of its recipe.

`soakbed setup` and `stages.provision` ask for it; infra/image/ holds the recipe.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from soakbed.errors import ProvisionError
from soakbed.records.places import Places

__all__ = ["debian_mirror", "ensure_image", "image_folder", "recipe_hash"]

Progress = Callable[[str], None]

_RELEASE = "bookworm"
# What build.sh and debootstrap say as they go, in order; the rest would only scroll by.
_MILESTONES = {
    "I: Fetching packages": "fetching packages",
    "I: Installing core packages": "unpacking packages",
    "I: Unpacking the base system": "installing what hosts need beside",
    "I: Configuring the base system": "configuring packages",
    "I: Settling the image": "settling the image",
}


def recipe_hash(recipe: Path) -> str:
    """sha256 over names, modes and contents of all files of the recipe."""
    digest = hashlib.sha256()
    for file in sorted(path for path in recipe.rglob("*") if path.is_file()):
        executable = os.access(file, os.X_OK)
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(recipe)}\0{executable}\0{content}\n".encode())
    return digest.hexdigest()


def image_folder(places: Places) -> Path:
    """Where the image of today's recipe lies, or would lie."""
    return places.cache.absolute() / "images" / recipe_hash(places.infra / "image")


def ensure_image(places: Places, *, progress: Progress) -> Path:
    """The image's folder, built first if it is not in the cache; two callers share one build."""
    folder = image_folder(places)
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / ".lock", progress) as lock:
        # Only under the lock is a leftover surely nobody's work in progress.
        for part in folder.parent.glob("*.part"):
            shutil.rmtree(part)
        if not folder.exists():
            mirror = debian_mirror(places.debian_mirror)
            progress(f"building the host image from {mirror} (once, about a minute)")
            _build([str(places.infra / "image/build.sh"), str(folder), mirror], lock, progress)
    return folder


def debian_mirror(named: str) -> str:
    """The mirror the user named, else the one this machine's apt uses for Debian 12."""
    if named:
        return named
    form = "$(ORIGIN)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)"
    if shutil.which("apt-get"):
        asked = subprocess.run(
            ["apt-get", "indextargets", "--format", form],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in asked.stdout.splitlines():
            origin, release, component, uri = line.split("|")
            # The origin is known only once lists were fetched; a fresh machine may have none.
            if release == _RELEASE and component == "main" and origin in ("Debian", ""):
                return uri.rstrip("/")
    raise ProvisionError(
        "this machine's apt knows no mirror of Debian 12, and the host image is made of it",
        remedy="set SOAKBED_DEBIAN_MIRROR to the address of a Debian mirror",
    )


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[int]:
    """Hold the lock file. The build inherits it, and so holds it too if it outlives us."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("another command is building the host image; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _build(command: list[str], lock: int, progress: Progress) -> None:
    """Run the build script; its last lines go into the error if it fails."""
    printed: list[str] = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
    ) as build:
        assert build.stdout is not None
        for line in build.stdout:
            printed.append(line.rstrip())
            if milestone := _milestone(line):
                progress(f"host image: {milestone}")
    if build.returncode:
        raise ProvisionError(
            "the host image could not be built:\n" + "\n".join(printed[-12:]),
            remedy="mend what the last line names (mirror not reachable? disk full?), run it again",
        )


def _milestone(line: str) -> str:
    return next((told for key, told in _MILESTONES.items() if line.startswith(key)), "")
