"""One soak on a local testbed of its own: its controller, its session on the load host, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadgen.contract.parts import read_parts
from tests.disturbances.local_host import LocalHost, NotInTime, wait_until

__all__ = ["PROJECT", "Soak", "records_of"]

PROJECT = Path(__file__).resolve().parents[2]
STARTS_WITHIN_S = 180


def records_of(folder: Path, rank: int = 0) -> Iterator[dict[str, Any]]:
    """Every whole record of one worker in a session's folder, in order."""
    yield from read_parts(folder, rank)


@dataclass
class Soak:
    """A soak that `soakbed` runs on the testbed of `testbed_file`, pressing one target.

    `environment` has SOAKBED_STATE and SOAKBED_RESULTS; what controllers say is kept in `log`.
    """

    testbed_file: Path
    workload_file: Path
    environment: Mapping[str, str]
    load_host: LocalHost
    log: Path
    target: str = "redis_cluster"
    controllers: list[subprocess.Popen[str]] = field(default_factory=list)

    def controller(self, *words: str) -> subprocess.Popen[str]:
        """Start `soakbed` in a process of its own, deaf to our terminal."""
        with self.log.open("a") as said:
            print(f"--- soakbed {' '.join(words)}", file=said, flush=True)
            started = subprocess.Popen(
                [sys.executable, "-m", "soakbed", *words],
                cwd=PROJECT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )
        self.controllers.append(started)
        return started

    def said(self) -> str:
        """All that the controllers printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @contextmanager
    def ended_whatever_happens(self) -> Iterator[None]:
        """Inside it controllers may be started; after it none is left."""
        try:
            yield
        finally:
            for controller in self.controllers:
                if controller.poll() is None:
                    controller.send_signal(signal.SIGINT)
            for controller in self.controllers:
                try:
                    controller.wait(60)
                except subprocess.TimeoutExpired:
                    controller.kill()
                    controller.wait()

    def session(self, name: str = "steady") -> Path | None:
        """The session's folder on the load host, as files of this machine."""
        found = sorted(self.load_host.sessions.glob(f"*-{self.target}-{name}"))
        return found[-1] if found else None

    def wait_for_steady(self) -> int:
        """The unix second in which the steady phase begins, once it has begun."""
        began: list[int] = []

        def begun() -> bool:
            controller = self.controllers[-1]
            if controller.poll() is not None:
                raise NotInTime(f"the controller ended with {controller.returncode}")
            if (folder := self.session()) is not None and folder.joinpath("plan.json").exists():
                windows = (r for r in _so_far(folder) if r.get("phase") == "steady")
                began.extend(int(window["start_s"]) for window in windows)
            return bool(began)

        wait_until(begun, "a window of the steady phase", within_s=STARTS_WITHIN_S)
        return began[0]

    def has_ended(self) -> bool:
        """Whether the engines have ended, by their own word."""
        folder = self.session()
        if folder is None:
            return False
        last: dict[str, Any] = {}
        for last in _so_far(folder):  # noqa: B007
            pass
        return last.get("kind") == "end" and last["outcome"] == "finished"

    def wait_for_end(self, *, within_s: float) -> None:
        """Return once the engines have ended. Raises NotInTime with what controllers said."""
        wait_until(self.has_ended, "the engines end", within_s=within_s)

    def wait_for_controller(self, *, within_s: float) -> int:
        """The exit code of the newest controller."""
        try:
            return self.controllers[-1].wait(within_s)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"the controller did not end within {within_s:.0f} s") from None

    def results(self) -> Path:
        """Folder of all runs."""
        return Path(self.environment["SOAKBED_RESULTS"])

    def run(self) -> Path:
        """Folder of the one run that there is."""
        runs = {path.resolve() for path in self.results().iterdir() if path.is_dir()}
        (run,) = (path for path in runs if (path / "spec.json").exists())
        return run


def sleep_until(unix_s: float) -> None:
    """Return at that moment, at once when it is over."""
    time.sleep(max(0.0, unix_s - time.time()))


def _so_far(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        yield from records_of(folder)
    except FileNotFoundError:
        return
