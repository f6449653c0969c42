"""Recorded by the real engine: a server that lies is found out, and a truthful one is believed.

What can be seen of a lie is told by the rows themselves: over one connection operations follow
each other, so a read must return the last write of its key that was acknowledged.
"""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.contract.history import WRITE, HistoryBlock
from loadgen.contract.plan import Keyspace
from soakbed.histories.levels import strongest
from soakbed.histories.register import INITIAL, OK, RegisterHistory
from soakbed.histories.zones import check_zones
from tests.controls.running import Control
from tests.controls.script import Script, Service
from tests.integration.engine_runs import FILL, open_loop
from tests.integration.recorded import blocks_of

pytestmark = pytest.mark.timeout(120)

KEYS = 25
PROTOCOLS = [pytest.param(protocol, id=protocol) for protocol in ("resp", "grpc", "tikv")]


def history_of(blocks: list[HistoryBlock]) -> RegisterHistory:
    def column(name, kind=np.int64):
        return np.concatenate([np.array(getattr(block, name), dtype=kind) for block in blocks])

    assert not any(block.dropped for block in blocks)
    return RegisterHistory(
        key=column("key"),
        value=column("value"),
        start=column("sent_ns"),
        finish=column("done_ns"),
        is_write=column("kind") == WRITE,
        outcome=column("outcome", np.uint8),
        process=column("process"),
    )


def contradicted(history: RegisterHistory) -> list[int]:
    """The key of each read that returned something else than the last write before it."""
    held: dict[int, int] = {}
    found = []
    for row in np.argsort(history.start, kind="stable").tolist():
        key, value = int(history.key[row]), int(history.value[row])
        assert history.outcome[row] == OK
        if history.is_write[row]:
            held[key] = value
        elif held.get(key, INITIAL) != value:
            found.append(key)
    return found


@pytest.fixture
def pressed(scripted, tmp_path):
    """A function from a script to the history that the engine recorded of its server."""

    def press(script: Script, connections: int) -> tuple[RegisterHistory, Control]:
        control = Control.run(
            tmp_path,
            scripted(script, tls=False),
            FILL,
            open_loop(1, 500),
            keyspace=Keyspace(KEYS, "/bench/"),
            connections=connections,
            history_share=1.0,
            timeout_ms=60_000,
        )
        assert control.spooled.exit_code == 0, control.spooled.said
        history = history_of(blocks_of(tmp_path / "engine"))
        assert len(history) == len(control.truth.rows) > 2 * KEYS
        return history, control

    return press


@pytest.mark.parametrize("lie", ["stale", "lost"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_key_on_which_a_lie_could_be_seen_is_accused(pressed, protocol, lie):
    history, control = pressed(Script(protocol, shares={lie: 0.05}, calm=KEYS), 1)
    lied = control.truth.count(lie)
    seen = contradicted(history)
    assert lied and seen
    assert {one.key for one in check_zones(history).witnesses} == set(seen)
    if lie == "stale":
        # Over one connection none can hide.
        assert len(seen) == lied
    assert strongest(history).of("sequential").answer == "violation"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_truthful_server_is_believed_however_many_ask_it_at_once(pressed, protocol):
    script = Script(protocol, read=Service("lognormal", us=4000, sigma=1.0),
                    write=Service("lognormal", us=6000, sigma=1.0), calm=KEYS)  # fmt: skip
    history, _ = pressed(script, 8)
    assert check_zones(history).linearizable
    assert strongest(history).strongest == "linearizable"
