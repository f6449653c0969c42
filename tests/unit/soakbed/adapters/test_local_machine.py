"""What counts as left of a testbed, where the machine gives misleading signs."""

from __future__ import annotations

import pytest

from soakbed.adapters import local_machine

GROUPS = {
    1: "0::/init.scope",
    7: "4:name=systemd:/soakbed/other/d1/init.scope",
    8: "4:name=systemd:/soakbed/mine/d1/init.scope",
}


@pytest.mark.parametrize(
    ("holder", "left"),
    [
        pytest.param(7, set(), id="a host of another testbed got its number"),
        pytest.param(8, {"net:[9]"}, id="a host of ours"),
        pytest.param(1, {"net:[9]"}, id="a process of nobody we know"),
    ],
)
def test_a_namespace_that_another_testbed_holds_is_not_ours(monkeypatch, holder, left):
    monkeypatch.setattr(local_machine, "_pids", lambda: [holder])
    monkeypatch.setattr(local_machine, "_network_namespace", lambda _pid: "net:[9]")
    monkeypatch.setattr(local_machine, "_told", lambda pid, _what: GROUPS[pid])
    monkeypatch.setattr(local_machine, "_mount_lines", list)
    assert local_machine._held({"net:[9]"}, "mine") == left
