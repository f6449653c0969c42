"""A small mirror with signed manifests, as TiUP lays it out; keys made on the spot.

`Mirror.files` is what it serves (name -> bytes); `sign` makes one manifest, right or wrong.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LATER = "2099-01-01T00:00:00+08:00"
EARLIER = "2020-01-01T00:00:00Z"


@dataclass(frozen=True)
class Key:
    private: rsa.RSAPrivateKey
    info: Mapping[str, Any]

    @property
    def id(self) -> str:
        return hashlib.sha256(canonical(self.info)).hexdigest()


@cache
def key(name: str) -> Key:
    """One key for each name, the same in every test of a process: making them takes time."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    info = {"keytype": "rsa", "keyval": {"public": pem.decode()}, "scheme": "rsassa-pss-sha256"}
    return Key(private, info)


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sign(kind: str, version: int, keys: Sequence[str], **more: Any) -> bytes:
    """One manifest, signed by the keys of these names."""
    signed = {
        "_type": kind,
        "expires": LATER,
        "spec_version": "0.1.0",
        "version": version,
        **more,
    }
    raw = canonical(signed)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.MAX_LENGTH)
    rows = [
        {
            "keyid": key(name).id,
            "sig": base64.b64encode(key(name).private.sign(raw, pss, hashes.SHA256())).decode(),
        }
        for name in keys
    ]
    return b'{"signatures":' + canonical(rows) + b',"signed":' + raw + b"}"


def role(url: str, keys: Sequence[str], threshold: int = 1) -> dict[str, Any]:
    held = {key(name).id: dict(key(name).info) for name in keys}
    return {"url": url, "keys": held, "threshold": threshold}


def root(version: int, keys: Sequence[str], *, signed_by: Sequence[str] = (), **more: Any) -> bytes:
    """A root manifest whose root role has `keys`, two of which are enough."""
    roles = {
        "root": role("/root.json", keys, 2),
        "index": role("/index.json", ["index"]),
        "snapshot": role("/snapshot.json", ["snapshot"]),
        "timestamp": role("/timestamp.json", ["timestamp"]),
    }
    return sign("root", version, signed_by or keys, **{"roles": roles, **more})


@dataclass
class Mirror:
    """A mirror with root manifests 6 and 7 and the builds given: (component, version, arch)."""

    builds: Mapping[tuple[str, str, str], bytes]
    files: dict[str, bytes] = field(default_factory=dict)

    ROOT_KEYS = ("root-a", "root-b", "root-c")
    NEXT_ROOT_KEYS = ("root-b", "root-c", "root-d")

    def __post_init__(self) -> None:
        self.files["6.root.json"] = root(6, self.ROOT_KEYS)
        self.files["7.root.json"] = root(7, self.NEXT_ROOT_KEYS)
        components = sorted({component for component, _, _ in self.builds})
        self.publish_index(components)
        for component in components:
            self.publish_component(component)
        self.publish_snapshot(components)

    def publish_index(self, components: Sequence[str], **more: Any) -> None:
        owner = {"name": "Owner", "threshold": 1, "keys": role("", ["owner"])["keys"]}
        listed = {name: {"owner": "owner", "url": f"/{name}.json"} for name in components}
        content = {"owners": {"owner": owner}, "components": listed, "default_components": []}
        self.files["3.index.json"] = sign("index", 3, ["index"], **{**content, **more})

    def publish_component(
        self, component: str, *, keys: Sequence[str] = ("owner",), **more: Any
    ) -> None:
        platforms: dict[str, dict[str, Any]] = {}
        for (name, version, arch), data in self.builds.items():
            if name == component:
                file = f"{name}-v{version}-linux-{arch}.tar.gz"
                self.files[file] = data
                platforms.setdefault(f"linux/{arch}", {})[f"v{version}"] = {
                    "url": f"/{file}",
                    "entry": f"{name}-server",
                    "length": len(data),
                    "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                }
        content = {"id": component, "platforms": platforms, **more}
        self.files[f"9.{component}.json"] = sign("component", 9, keys, **content)

    def publish_snapshot(self, components: Sequence[str], **more: Any) -> None:
        meta = {
            "/root.json": {"version": 7, "length": 0},
            "/index.json": {"version": 3, "length": 0},
            **{f"/{name}.json": {"version": 9, "length": 0} for name in components},
        }
        snapshot = sign("snapshot", 0, ["snapshot"], **{"meta": meta, **more})
        self.files["snapshot.json"] = snapshot
        self.publish_timestamp(snapshot)

    def publish_timestamp(self, snapshot: bytes, **more: Any) -> None:
        told = {"sha256": hashlib.sha256(snapshot).hexdigest()}
        meta = {"/snapshot.json": {"hashes": told, "length": len(snapshot)}}
        self.files["timestamp.json"] = sign("timestamp", 5, ["timestamp"], **{"meta": meta, **more})
