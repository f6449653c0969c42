"""Scripted servers for the controls, and real ones to be paused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.throwaway import Pki
from tests.controls.running import Scripted
from tests.controls.script import Script


@pytest.fixture(scope="session")
def throwaway_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """One CA for all servers of the test session."""
    return Pki.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def scripted(tmp_path: Path, throwaway_pki: Pki) -> Iterator[Callable[..., Scripted]]:
    """A function from a script to its running server; all are ended after the test."""
    started: list[Scripted] = []

    def start(script: Script, *, tls: bool = True) -> Scripted:
        folder = tmp_path / f"server-{len(started)}"
        started.append(Scripted(folder, script, throwaway_pki if tls else None))
        return started[-1]

    yield start
    for server in started:
        server.stop()
