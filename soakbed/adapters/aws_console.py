"""SSH host keys of machines in AWS, by a way that nobody between us and them can bend.

cloud-init prints a machine's public keys to its console, and AWS hands the console out over its
API, to whoever may read it. So known_hosts is complete before the first connection, and no key is
trusted because it was the first to come.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import time
from collections.abc import Callable, Mapping

from soakbed.adapters.aws import AwsRefused, AwsRegion
from soakbed.errors import ProvisionError

__all__ = ["console_host_keys", "keys_on_console"]

# cloud-init's tools/write-ssh-key-fingerprints prints these two, and one key a line between them.
_BEGIN = "-----BEGIN SSH HOST KEY KEYS-----"
_END = "-----END SSH HOST KEY KEYS-----"
# Anywhere in its line: the console puts time stamps and the name of the unit before it.
_KEY = re.compile(
    r"\b(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)) (AAAA[0-9A-Za-z+/]+={0,2})(?=\s|$)"
)
_LOOK_EVERY_S = 5.0


def keys_on_console(console: str) -> list[str]:
    """Host keys (`ssh-ed25519 AAAA...`, no comment) of the newest whole block on a console.

    [] while there is none. The kernel writes to the same console: a line that it broke into is no
    key any more and is left out, for a key must be whole by its own inner lengths.
    """
    found: list[str] = []
    block: list[str] | None = None
    for line in console.splitlines():
        if _BEGIN in line:
            block = []
        elif _END in line and block is not None:
            found, block = block or found, None
        elif block is not None and (key := _KEY.search(line)) and _is_whole(*key.groups()):
            block.append(f"{key[1]} {key[2]}")
    return list(dict.fromkeys(found))


def console_host_keys(
    region: AwsRegion,
    instances: Mapping[str, str],
    *,
    within_s: float,
    progress: Callable[[str], None],
    every_s: float = _LOOK_EVERY_S,
) -> dict[str, list[str]]:
    """The host keys of each of `instances` (host name -> instance id), once all have shown them.

    Raises ProvisionError naming those that showed none `within_s` seconds.
    """
    found: dict[str, list[str]] = {}
    deadline = time.monotonic() + within_s
    while True:
        for name in sorted(instances.keys() - found.keys()):
            if keys := keys_on_console(_console(region, instances[name])):
                found[name] = keys
                progress(f"{name}: its SSH host keys, read from its console")
        silent = sorted(instances.keys() - found.keys())
        if not silent:
            return found
        if time.monotonic() > deadline:
            raise ProvisionError(
                f"no SSH host key on the console of {', '.join(silent)} within {within_s:.0f} s",
                remedy="run provision again, it goes on from here; if it stays so, look at the "
                f"console: aws ec2 get-console-output --latest --region {region.name} "
                f"--instance-id {instances[silent[0]]} (the image must have cloud-init print its "
                "keys: ssh: {emit_keys_to_console: true})",
            )
        time.sleep(every_s)


def _console(region: AwsRegion, instance: str) -> str:
    """The newest console output, "" before there is any."""
    try:
        answer = region.ask("ec2", "get_console_output", InstanceId=instance, Latest=True)
    except AwsRefused as refused:
        # Only Nitro machines show their console as it is now; others some minutes later.
        if refused.code not in {"UnsupportedOperation", "InvalidParameterCombination"}:
            raise
        answer = region.ask("ec2", "get_console_output", InstanceId=instance)
    return str(answer.get("Output", ""))


def _is_whole(kind: str, encoded: str) -> bool:
    """Whether the key's fields (RFC 4253 6.6: each with its length before it) fill it exactly."""
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return False
    fields = []
    at = 0
    while at + 4 <= len(blob):
        (length,) = struct.unpack_from(">I", blob, at)
        fields.append(blob[at + 4 : at + 4 + length])
        at += 4 + length
    wanted = 2 if kind == "ssh-ed25519" else 3
    return at == len(blob) and len(fields) == wanted and fields[0] == kind.encode()
