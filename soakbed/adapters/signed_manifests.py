"""Checksums out of a mirror's signed manifests, every signature checked back to pinned root keys.

The chain is TiUP's (pingcap/tiup, doc/design/manifest.md and pkg/repository/v1manifest), a TUF of
its own: root -> timestamp -> snapshot -> index -> component. Signatures (RSA-PSS, SHA-256) are over
the bytes of "signed" as they stand; a key's id is the sha256 of its canonical JSON. A next root is
believed only when enough keys of the root before it, and of itself, signed it.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from soakbed.adapters.artifact_download import ANSWER_WITHIN_S
from soakbed.adapters.artifact_pins import Resolved, RootPin
from soakbed.errors import Unavailable

__all__ = ["Fetch", "Manifests", "mirror_at", "root_of"]

_PLATFORMS = {"amd64": "linux/amd64", "arm64": "linux/arm64"}
_MOST_ROOTS = 200  # one a year is usual
_MOST_BYTES = 16 * 1024 * 1024

Fetch = Callable[[str], bytes | None]  # a file's name on the mirror -> its bytes, None: not there


class _Wrong(Exception):
    """A manifest is not what it has to be; the text says how."""


# What a manifest of another form, or a hostile one, makes of the code that reads it.
_BROKEN = (
    *(_Wrong, KeyError, IndexError, AttributeError, TypeError, ValueError),
    *(RecursionError, UnsupportedAlgorithm),
)


@dataclass(frozen=True, slots=True)
class _Manifest:
    """One manifest as it was read: `raw` are the bytes that the signatures are over."""

    name: str
    raw: bytes
    signed: Mapping[str, Any]
    signatures: Mapping[str, str]

    @property
    def version(self) -> int:
        return int(self.signed["version"])


@dataclass(frozen=True, slots=True)
class _Keys:
    """Whose signatures count for a kind of manifest, and how many of them it takes."""

    keys: Mapping[str, Mapping[str, Any]]
    threshold: int


def mirror_at(base_url: str) -> Fetch:
    """Reads the files below a URL (http, https or file)."""

    def fetch(name: str) -> bytes | None:
        url = f"{base_url.rstrip('/')}/{name}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as reply:
                data: bytes = reply.read(_MOST_BYTES + 1)
        except (OSError, ValueError, http.client.HTTPException) as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()
                if error.code == 404:
                    return None
            if isinstance(getattr(error, "reason", None), FileNotFoundError):
                return None
            raise Unavailable(
                f"{url}: {getattr(error, 'reason', '') or error}",
                remedy="run it where the mirror can be reached, or name another one with --mirror",
            ) from error
        if len(data) > _MOST_BYTES:
            raise Unavailable(f"{url} has no end", remedy="name another mirror with --mirror")
        return data

    return fetch


def root_of(data: bytes, name: str) -> RootPin:
    """The root keys in a root manifest that the user trusts, as a mirror's client ships it."""
    try:
        root = _read(name, data, "root")
        keys = _role(root, "root")
        return RootPin(version=root.version, threshold=keys.threshold, keys=tuple(keys.keys))
    except _BROKEN as error:
        raise _refused(name, error) from error


class Manifests:
    """The manifests of one mirror. `story` lists what was read and by how many keys it is signed.

    Raises Unavailable for everything that does not hold: nothing unsigned is ever returned.
    """

    def __init__(self, fetch: Fetch, pin: RootPin, *, now: dt.datetime | None = None) -> None:
        self.story: list[str] = []
        self._fetch = fetch
        self._now = now or dt.datetime.now(dt.UTC)
        self._at = ""
        self._root, self._snapshot, self._index = self._begin(pin)

    def _begin(self, pin: RootPin) -> tuple[_Manifest, _Manifest, _Manifest]:
        try:
            root = self._newest_root(pin)
            timestamp = self._signed("timestamp.json", "timestamp", _role(root, "timestamp"))
            snapshot = self._signed_snapshot(timestamp, _role(root, "snapshot"))
            index = self._versioned("/index.json", "index", _role(root, "index"), snapshot)
        except _BROKEN as error:
            raise _refused(self._at, error) from error
        return root, snapshot, index

    def file(self, component: str, version: str, arch: str, *, name: str) -> Resolved:
        """sha256 and length of the file `name`, the build of a component for Linux on `arch`."""
        try:
            listed = self._index.signed["components"][component]
            owner = self._index.signed["owners"][listed["owner"]]
            # Owners of old manifests say nothing of a threshold; one signature it takes always.
            keys = _Keys(_checked(owner["keys"]), int(owner.get("threshold", 1)))
            found = self._versioned(listed["url"], "component", keys, self._snapshot)
            if found.signed["id"] != component:
                raise _Wrong(f"is of component {found.signed['id']}")
            return _build(found, version, _PLATFORMS[arch], name)
        except _BROKEN as error:
            raise _refused(self._at, error) from error

    def _newest_root(self, pin: RootPin) -> _Manifest:
        """From the pinned root to the newest, one version at a time."""
        root = self._read(f"{pin.version}.root.json", "root")
        held = _role(root, "root").keys
        self._count(root, _Keys({one: held[one] for one in pin.keys if one in held}, pin.threshold))
        self._same_version(root, pin.version)
        for version in range(pin.version + 1, pin.version + _MOST_ROOTS):
            data = self._fetch(f"{version}.root.json")
            if data is None:
                break
            self._at = f"{version}.root.json"
            newer = _read(self._at, data, "root")
            self._count(newer, _role(root, "root"))
            _good_signatures(newer, _role(newer, "root"))
            self._same_version(newer, version)
            root = newer
        self._refuse_expired(root)
        return root

    def _signed(self, name: str, kind: str, keys: _Keys) -> _Manifest:
        manifest = self._read(name, kind)
        self._count(manifest, keys)
        self._refuse_expired(manifest)
        return manifest

    def _signed_snapshot(self, timestamp: _Manifest, keys: _Keys) -> _Manifest:
        told = timestamp.signed["meta"]["/snapshot.json"]
        data = self._get("snapshot.json")
        if hashlib.sha256(data).hexdigest() != told["hashes"]["sha256"]:
            raise _Wrong("is not the one that timestamp.json names")
        return self._signed("snapshot.json", "snapshot", keys)

    def _versioned(self, url: str, kind: str, keys: _Keys, snapshot: _Manifest) -> _Manifest:
        self._at = f"snapshot.json ({url})"
        version = int(snapshot.signed["meta"][url]["version"])
        manifest = self._signed(f"{version}.{url.removeprefix('/')}", kind, keys)
        self._same_version(manifest, version)
        return manifest

    def _read(self, name: str, kind: str) -> _Manifest:
        return _read(name, self._get(name), kind)

    def _get(self, name: str) -> bytes:
        self._at = name
        data = self._fetch(name)
        if data is None:
            raise _Wrong("is not on the mirror")
        return data

    def _count(self, manifest: _Manifest, keys: _Keys) -> None:
        good = _good_signatures(manifest, keys)
        self.story.append(f"{manifest.name}: signed by {good} (needs {keys.threshold})")

    def _same_version(self, manifest: _Manifest, version: int) -> None:
        if manifest.version != version:
            raise _Wrong(f"says that it is version {manifest.version}")

    def _refuse_expired(self, manifest: _Manifest) -> None:
        expires = dt.datetime.fromisoformat(manifest.signed["expires"])
        if expires < self._now:
            raise _Wrong(f"expired on {expires:%Y-%m-%d}; is this machine's clock right?")


def _refused(name: str, error: Exception) -> Unavailable:
    words = str(error) if isinstance(error, _Wrong) else f"is not such a manifest: {error!r}"
    return Unavailable(
        f"{name} {words}; nothing was written",
        remedy="name the mirror with --mirror, and where it has root keys of its own the root.json "
        "that you trust with --root; if it is the right one, do not use it",
    )


def _read(name: str, data: bytes, kind: str) -> _Manifest:
    """The parts of a manifest, not yet believed."""
    parts = _top_level(data.decode())
    signed = json.loads(parts["signed"])
    rows = json.loads(parts["signatures"])
    signatures = {row["keyid"]: row["sig"] for row in rows}
    if len(signatures) != len(rows):
        raise _Wrong("has two signatures of one key")
    if signed["_type"] != kind:
        raise _Wrong(f"is of type {signed['_type']}, not {kind}")
    return _Manifest(name, parts["signed"].encode(), signed, signatures)


def _top_level(text: str) -> dict[str, str]:
    """The text of every value of the outermost object, byte for byte."""
    decoder, parts = json.JSONDecoder(), {}

    def after_space(at: int, expected: str) -> int:
        while text[at : at + 1] in (" ", "\t", "\r", "\n"):
            at += 1
        if text[at : at + 1] not in tuple(expected):
            raise _Wrong(f"is no JSON object (character {at})")
        return at

    at = after_space(0, "{")
    while text[at] != "}":
        key, at = decoder.raw_decode(text, after_space(at + 1, '"'))
        begin = after_space(at, ":") + 1
        while text[begin : begin + 1] in (" ", "\t", "\r", "\n"):
            begin += 1
        _, at = decoder.raw_decode(text, begin)
        if key in parts:
            raise _Wrong(f"has {key} twice")
        parts[key] = text[begin:at]
        at = after_space(at, ",}")
    return parts


def _role(root: _Manifest, name: str) -> _Keys:
    role = root.signed["roles"][name]
    return _Keys(_checked(role["keys"]), int(role["threshold"]))


def _checked(keys: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The same keys, each of which has the id that it is named by."""
    for key_id, key in keys.items():
        canonical = json.dumps(key, sort_keys=True, separators=(",", ":")).encode()
        if hashlib.sha256(canonical).hexdigest() != key_id:
            raise _Wrong(f"has a key that is not the one of its id {key_id[:16]}")
        if (key["keytype"], key["scheme"]) != ("rsa", "rsassa-pss-sha256"):
            raise _Wrong(f"has a key of type {key['keytype']} {key['scheme']}, which is not known")
    return keys


def _good_signatures(manifest: _Manifest, keys: _Keys) -> int:
    """How many of `keys` signed it. Raises _Wrong for a false one, and where they are too few."""
    if keys.threshold < 1:
        raise _Wrong("would need no signature at all")
    good = 0
    for key_id, signature in manifest.signatures.items():
        key = keys.keys.get(key_id)
        if key is None:
            continue
        public = load_pem_public_key(key["keyval"]["public"].encode())
        if not isinstance(public, RSAPublicKey):
            raise _Wrong(f"has a key that is not RSA: {key_id[:16]}")
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
        try:
            public.verify(base64.b64decode(signature), manifest.raw, pss, hashes.SHA256())
        except InvalidSignature:
            raise _Wrong(f"has a false signature of key {key_id[:16]}") from None
        good += 1
    if good < keys.threshold:
        raise _Wrong(f"is signed by {good} of the trusted keys, {keys.threshold} are needed")
    return good


def _build(component: _Manifest, version: str, platform: str, name: str) -> Resolved:
    builds = component.signed["platforms"].get(platform, {})
    build = builds.get(f"v{version}")
    if build is None:
        raise _Wrong(f"has no v{version} for {platform}")
    if build.get("yanked"):
        raise _Wrong(f"calls v{version} for {platform} withdrawn")
    if build["url"].removeprefix("/") != name:
        raise _Wrong(f"has {build['url']} for v{version}, artifacts.yml has {name}")
    sha256 = str(build["hashes"]["sha256"])
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise _Wrong(f"gives {sha256[:80]!r} as the sha256 of {name}")
    return Resolved(sha256=sha256, length=int(build["length"]))
