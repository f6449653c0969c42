"""The double from a test's side: starts it, commands it, reads its counters, ends it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

from loadgen.contract.plan import Tls

__all__ = ["Double", "DoubleError"]

PROJECT = Path(__file__).resolve().parents[2]
ANSWER_WITHIN_S = 120.0
END_WITHIN_S = 10.0


class DoubleError(Exception):
    """The double refused a command, or is gone."""


class Double:
    """PD and TiKV as a child process. It ends with the `with` block, and with this process.

    ::

        with Double(tls=pki.tls("host"), split_at=[b"m"]) as double:
            double.fault("server_is_busy", count=5, backoff_ms=20)
            ...
            assert double.count("RawPut", "applied") == sent
    """

    def __init__(
        self,
        *,
        stores: int = 3,
        pds: int = 1,
        tls: Tls | None = None,
        split_at: Sequence[bytes] = (),
        listen: str = "127.0.0.1",
        words: Sequence[str] = (),
        core: int | None = None,
        served_by: str = "grpcio",
    ) -> None:
        command = [] if core is None else ["taskset", "-c", str(core)]
        command += [sys.executable, "-m", "tests.tikv_double", "--listen", listen]
        command += ["--stores", str(stores), "--pds", str(pds), *words]
        command += ["--served-by", served_by]
        if tls is not None:
            command += ["--ca", tls.ca, "--cert", tls.cert, "--key", tls.key]
        if split_at:
            command += ["--split-at", *(key.hex() for key in split_at)]
        self._command = command
        self._lock = threading.Lock()
        self._rest = b""
        self._process: subprocess.Popen[bytes] | None = None
        self.pds: list[str] = []
        self.stores: dict[int, str] = {}

    def __enter__(self) -> Double:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it listens."""
        self._process = subprocess.Popen(
            self._command, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            said = self._answer()
        except BaseException:
            self.stop()
            raise
        self.pds = said["pds"]
        self.stores = {int(number): address for number, address in said["stores"].items()}

    @property
    def pid(self) -> int:
        """For signals: SIGSTOP stills PD and all stores."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        """End it and wait; a second call is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)  # a test may have left it stopped
        with suppress(BrokenPipeError):
            process.stdin.close()  # the end of its input is the end of it
        try:
            process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    # -- commands ----------------------------------------------------------------------------

    def command(self, do: str, **words: Any) -> Any:
        """Any command of control.py. Raises DoubleError when it is refused."""
        with self._lock:
            assert self._process is not None, "the double does not run"
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"do": do, **words}).encode() + b"\n")
            self._process.stdin.flush()
            answer = self._answer()
        if "error" in answer:
            raise DoubleError(answer["error"])
        return answer["ok"]

    def split(self, *keys: bytes, tell_pd: bool = True) -> list[dict[str, Any]]:
        """Split at these keys; all regions after it."""
        return self.command("split", keys=[key.hex() for key in keys], tell_pd=tell_pd)

    def merge(self, key: bytes, *, tell_pd: bool = True) -> list[dict[str, Any]]:
        """The region of `key` takes in its right neighbour."""
        return self.command("merge", key=key.hex(), tell_pd=tell_pd)

    def move_leader(
        self, key: bytes, store: int | None, *, tell_pd: bool = True
    ) -> list[dict[str, Any]]:
        """Make `store` lead the region of `key`; None leaves it without a leader."""
        return self.command("move_leader", key=key.hex(), store=store, tell_pd=tell_pd)

    def regions(self) -> list[dict[str, Any]]:
        """All regions in order; start and end are bytes."""
        return [
            {**each, "start": bytes.fromhex(each["start"]), "end": bytes.fromhex(each["end"])}
            for each in self.command("regions")
        ]

    def leader_of(self, key: bytes) -> int | None:
        """The store that leads the region of `key`."""
        return [each for each in self.regions() if each["start"] <= key][-1]["leader"]

    def fault(self, kind: str, **rule: Any) -> None:
        """A rule of faults.py, such as `fault("stall", method="RawGet", stall_s=0.5)`."""
        self.command("fault", kind=kind, **rule)

    def lead_astray(self, store: int, key: bytes, value: bytes | None = None) -> None:
        """One store's copy holds another value of a key, or none at all."""
        told = None if value is None else value.hex()
        self.command("lead_astray", store=store, key=key.hex(), value=told)

    def load(self, pairs: dict[bytes, bytes]) -> None:
        """Put keys and values there without any request, and without counting them."""
        self.command("load", pairs={key.hex(): value.hex() for key, value in pairs.items()})

    # -- what came of it ---------------------------------------------------------------------

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """Server ("store-1", "pd-1") -> method -> event -> times."""
        return self.command("counters")

    def count(self, method: str, event: str) -> int:
        """Times of one event of one method, over all servers."""
        return sum(methods.get(method, {}).get(event, 0) for methods in self.counters().values())

    def values(self) -> dict[bytes, bytes]:
        """Every key and its value."""
        found = self.command("values", limit=10**9)
        return {bytes.fromhex(key): bytes.fromhex(value) for key, value in found.items()}

    def writes(self) -> dict[tuple[bytes, bytes], int]:
        """(key, first 33 bytes of the value) -> how often it was applied."""
        return {
            (bytes.fromhex(key), bytes.fromhex(identity)): times
            for key, identity, times in self.command("writes")
        }

    def _answer(self) -> Any:
        """The next line of its output, within a time."""
        assert self._process is not None
        assert self._process.stdout is not None
        until = monotonic() + ANSWER_WITHIN_S
        output = self._process.stdout.fileno()
        # An answer may be 50 MB: each part is looked at once, and they are joined once.
        parts = [self._rest]
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while b"\n" not in parts[-1]:
                if not selector.select(max(0.0, until - monotonic())):
                    raise DoubleError(f"the double said nothing for {ANSWER_WITHIN_S:.0f} s")
                data = os.read(output, 1 << 20)
                if not data:
                    raise DoubleError(f"the double has ended ({self._process.poll()})")
                parts.append(data)
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return json.loads(line)
