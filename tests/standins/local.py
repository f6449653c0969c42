"""A stand-in for PD on this machine: HTTPS that asks for certificates, for modules and tests."""

from __future__ import annotations

import math
import sys
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils

from soakbed.adapters.pki import Pki
from tests.ports import free_port
from tests.standins import pd_server

PLAYBOOKS = Path(__file__).resolve().parents[2] / "playbooks"
# Where Ansible puts them too, when it packs a module for a host.
ansible.module_utils.__path__.append(str(PLAYBOOKS / "module_utils"))

STORES = tuple(f"10.0.0.{number}:20160" for number in (1, 2, 3))


def load(name: str) -> ModuleType:
    """One of our own Ansible modules, imported."""
    spec = util.spec_from_file_location(name, PLAYBOOKS / "library" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class LocalPd:
    """Members of PD on loopback, one after the other; each leads alone. `close` ends them."""

    def __init__(self, pki: Pki, folder: Path) -> None:
        self.pki, self.folder = pki, folder
        self.servers: list[pd_server.Silent] = []

    def __call__(self, *, stores: tuple[str, ...] = STORES, **config: Any) -> pd_server.Member:
        """A member that serves; its stores are up."""
        cert, key = self.pki.pair("d1")
        security = {"cacert-path": str(self.pki.ca), "cert-path": str(cert), "key-path": str(key)}
        serving, dialling = pd_server.tls_of(security, "cacert-path")
        port = free_port()
        basis = {
            "name": "d1",
            "data-dir": str(self.folder),
            "advertise-client-urls": f"https://127.0.0.1:{port}",
            "initial-cluster": "d1=https://127.0.0.1:2480",
            "replication": {"max-replicas": 3},
        }
        member = pd_server.Member({**basis, **config}, dialling)
        for store in stores:
            member.map.register(store, "6.5.5")
            # No process beats for them: a test that takes its time finds them as it left them.
            member.map.stores[store]["seen"] = math.inf
        handler = pd_server.handler_of(member)
        self.servers.append(pd_server.serve(("127.0.0.1", port), serving, handler))
        return member

    def close(self) -> None:
        """End them all."""
        for server in self.servers:
            server.shutdown()
            server.server_close()


def endpoint_of(member: pd_server.Member) -> str:
    """Address and port of a member, as modules take it."""
    return str(member.config["advertise-client-urls"]).removeprefix("https://")
