"""PD's HTTP API and TiKV's status port over mutual TLS, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import Any

from ansible.module_utils.mutual_tls import context

OPTIONS = {
    "unit": {"type": "str", "required": True},
    "endpoints": {"type": "list", "elements": "str", "required": True},
    "ca": {"type": "path", "required": True},
    "cert": {"type": "path", "required": True},
    "key": {"type": "path", "required": True, "no_log": False},
    "timeout_s": {"type": "int", "default": 60},
}

# A member that does not lead hands a request on to the one that does; with this header it answers
# itself (pd v6.5.5, pkg/apiutil/serverapi/middleware.go).
_HIMSELF = {"PD-Allow-follower-handle": "true"}
TIMEOUT_S = 5
# PD waits a minute for a split before it gives up.
SPLIT_TIMEOUT_S = 75


class NotYet(Exception):
    """Not ready; the text says what is missing."""


def request(
    endpoint: str,
    tls: ssl.SSLContext,
    path: str,
    body: object = None,
    *,
    headers: dict[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """The answer of one server. Raises NotYet when it answers an error, OSError when it is away."""
    address, _, port = endpoint.rpartition(":")
    connection = http.client.HTTPSConnection(address, int(port), timeout=timeout_s, context=tls)
    method, sent = ("GET", None) if body is None else ("POST", json.dumps(body))
    try:
        connection.request(method, path, body=sent, headers=headers or {})
        reply = connection.getresponse()
        text = reply.read().decode(errors="replace")
    except http.client.HTTPException as error:
        raise ConnectionError(f"{endpoint} does not speak HTTP: {error!r}") from error
    finally:
        connection.close()
    if reply.status != 200:
        raise NotYet(
            f"{endpoint} answers {method} {path} with {reply.status}: {text.strip()[:300]}"
        )
    return text


def data(text: str, whose: str) -> Any:  # noqa: ANN401  (JSON)
    """An answer as data. Raises NotYet when it is none."""
    try:
        return json.loads(text) if text.strip() else None
    except ValueError as error:
        raise NotYet(f"{whose} does not answer JSON: {text.strip()[:80]!r}") from error


class Pd:
    """All members of PD; the first that answers speaks for its leader."""

    def __init__(self, endpoints: list[str], tls: ssl.SSLContext) -> None:
        self.endpoints, self.tls = endpoints, tls

    def ask(self, path: str, body: object = None, *, timeout_s: float = TIMEOUT_S) -> Any:  # noqa: ANN401
        """The leader's answer. Raises NotYet with what every member said."""
        said = []
        for endpoint in self.endpoints:
            try:
                text = request(endpoint, self.tls, f"/pd/api/v1{path}", body, timeout_s=timeout_s)
                return data(text, endpoint)
            except NotYet as reason:
                said.append(str(reason))
            except OSError as error:
                said.append(f"{endpoint}: {error}")
        raise NotYet("; ".join(said))

    def himself(self, endpoint: str, path: str) -> Any:  # noqa: ANN401
        """The answer of one member for itself, whoever leads."""
        text = request(endpoint, self.tls, f"/pd/api/v1{path}", headers=_HIMSELF)
        return data(text, endpoint)


def pd_of(given: dict) -> Pd:
    """PD by the options of a module."""
    return Pd(given["endpoints"], context(given["ca"], given["cert"], given["key"]))


def flat(tree: dict, above: str = "") -> dict[str, str]:
    """A nested configuration as dotted name -> value in words."""
    found: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{above}{name}.")
        else:
            found[above + name] = value if isinstance(value, str) else json.dumps(value)
    return dict(sorted(found.items()))


def differing(effective: dict[str, str], wants: dict[str, object]) -> str:
    """The first setting that was not read back as wanted; "" when all were."""
    for name, value in wants.items():
        if effective.get(name) != str(value):
            return f"{name} is {effective.get(name)!r}, wanted {str(value)!r}"
    return ""


def plain_version(told: str) -> str:
    """PD says v6.5.5 where TiKV says 6.5.5."""
    return told.removeprefix("v")
