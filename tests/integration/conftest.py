"""Real servers for the integration tests: certificates, Redis members and etcd on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.throwaway import Etcd, Pki, Redis, make_cluster


@pytest.fixture(scope="session")
def throwaway_pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    """One CA for all throwaway servers of the test session."""
    return Pki.make(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def redis_members(tmp_path: Path, throwaway_pki: Pki) -> Iterator[Callable[..., list[Redis]]]:
    """A function that starts Redis members with TLS; all are ended after the test."""
    started: list[Redis] = []

    def start(count: int, *extra: str, pki: Pki = throwaway_pki) -> list[Redis]:
        made = []
        for _ in range(count):
            member = Redis(tmp_path / f"redis-{len(started)}", pki=pki, extra=extra)
            started.append(member)
            member.start()
            made.append(member)
        return made

    yield start
    for member in started:
        member.stop(kill=True)


@pytest.fixture
def redis_master(redis_members: Callable[..., list[Redis]]) -> Redis:
    """One master with all slots."""
    (master,) = redis_members(1)
    make_cluster([master])
    return master


@pytest.fixture
def etcd_members(tmp_path: Path, throwaway_pki: Pki) -> Iterator[Callable[..., Etcd]]:
    """A function that starts an etcd cluster of one with mutual TLS; ended after the test."""
    started: list[Etcd] = []

    def start(*extra: str) -> Etcd:
        member = Etcd(tmp_path / f"etcd-{len(started)}", pki=throwaway_pki, extra=extra)
        started.append(member)
        member.start()
        return member

    yield start
    for member in started:
        member.stop(kill=True)
