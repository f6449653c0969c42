"""etcdctl with the administrator's certificate, answering in JSON."""

from __future__ import annotations

import json
import os
import subprocess


class EtcdctlFailed(Exception):
    """etcdctl said no; the text is what it said."""


class Etcdctl:
    """One set of endpoints and one identity."""

    def __init__(self, program: str, endpoints: list[str], ca: str, cert: str, key: str) -> None:
        self._command = [
            program,
            f"--endpoints={','.join(endpoints)}",
            f"--cacert={ca}",
            f"--cert={cert}",
            f"--key={key}",
            "--command-timeout=5s",
            "--dial-timeout=3s",
        ]

    def run(self, *words: str) -> str:
        """One command. Raises EtcdctlFailed."""
        # Variables named ETCDCTL_* would win over flags; the host's own have no say here.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        done = subprocess.run(
            [*self._command, *words],
            capture_output=True,
            text=True,
            check=False,
            env={**environment, "ETCDCTL_API": "3"},
        )
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines()
            raise EtcdctlFailed(f"etcdctl {' '.join(words)}: {' '.join(lines[-2:])}")
        return done.stdout

    def json(self, *words: str) -> dict | list:
        """One command's answer as data."""
        return json.loads(self.run(*words, "--write-out=json"))


OPTIONS = {
    "etcdctl": {"type": "path", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "ca": {"type": "path", "required": True},
    "cert": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
}


def control(given: dict) -> Etcdctl:
    """Etcdctl by the options of a module."""
    return Etcdctl(given["etcdctl"], given["endpoints"], given["ca"], given["cert"], given["key"])
