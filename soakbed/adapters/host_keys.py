"""SSH keys of a testbed: one that opens its hosts, and one for each host to prove itself with.

Where several hosts bear load, one more opens the tunnel to the Locust master, and nothing else.
The controller makes them all, so known_hosts is complete before a host first boots, and no
connection ever trusts a key on first sight.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

__all__ = ["ensure_host_keys", "ensure_operator_key", "ensure_tunnel_key", "write_known_hosts"]


def ensure_host_keys(folder: Path, addresses: Mapping[str, str], *, testbed: str) -> None:
    """Make the keys that are missing in `folder`, and write known_hosts.

    `addresses`: host name -> address. Leaves id_ed25519, hosts/<host>_ed25519 (each with .pub).
    """
    for made in (folder, folder / "hosts"):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    _ensure_key(folder / "id_ed25519", comment=f"soakbed {testbed}")
    known = ""
    for name, address in sorted(addresses.items()):
        public = _ensure_key(folder / "hosts" / f"{name}_ed25519", comment=f"{testbed} {name}")
        known += f"{address} {public}\n"
    _write(folder / "known_hosts", known, mode=0o644)


def ensure_operator_key(folder: Path, *, testbed: str) -> None:
    """The key that opens the hosts, made in `folder` if there is none; hosts have their own."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _ensure_key(folder / "id_ed25519", comment=f"soakbed {testbed}")


def write_known_hosts(path: Path, keys: Mapping[tuple[str, ...], Sequence[str]]) -> None:
    """Write the public keys of hosts at `path`: all addresses of a host -> its keys."""
    lines = [f"{','.join(addresses)} {key}\n" for addresses, those in keys.items() for key in those]
    _write(path, "".join(sorted(lines)), mode=0o644)


def ensure_tunnel_key(folder: Path, *, testbed: str) -> Path:
    """The private key of the tunnels between the load hosts, made if there is none; .pub beside it.

    What it may do is up to the host that lets it in: role load_host lets it forward to one port.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "tunnel_ed25519"
    _ensure_key(path, comment=f"{testbed} soakbed-tunnel")
    return path


def _ensure_key(path: Path, *, comment: str) -> str:
    """The public key of the private key at `path`, made now if there is none."""
    if path.exists():
        key = load_ssh_private_key(path.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
    else:
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        _write(path, private.decode(), mode=0o600)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    _write(path.with_suffix(".pub"), f"{public} {comment}\n", mode=0o644)
    return public


def _write(path: Path, text: str, *, mode: int) -> None:
    """Write whole or not at all, and never more open than `mode`."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    part.rename(path)
