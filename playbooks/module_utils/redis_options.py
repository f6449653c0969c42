"""Options that both Redis modules take: who asks, and with which certificate."""

from __future__ import annotations

import ssl

from ansible.module_utils.mutual_tls import Resp, context

OPTIONS = {
    "ca": {"type": "path", "required": True},
    "cert": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "user": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "timeout_s": {"type": "int", "default": 60},
}


class NotYet(Exception):
    """Not ready; the text says what is missing."""


def tls_of(given: dict) -> ssl.SSLContext:
    """The client's TLS context by a module's options."""
    return context(given["ca"], given["cert"], given["key"])


def connect(given: dict, address: str, port: int) -> Resp:
    """An authenticated connection by a module's options."""
    return Resp(address, port, tls_of(given), given["user"], given["password"])
