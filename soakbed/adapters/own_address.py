"""Where this machine is seen from: the address that a cloud's firewall is to let in."""

from __future__ import annotations

import ipaddress
import urllib.error
import urllib.request

from soakbed.errors import ProvisionError

__all__ = ["own_address"]

_WITHIN_S = 10
_MOST_BYTES = 64


def own_address(service: str) -> str:
    """Our IPv4 address as `service` (a URL that answers with it, as checkip.amazonaws.com) sees it.

    Raises ProvisionError where it does not answer, or not with an address.
    """
    remedy = "write the addresses that may log in yourself: aws.operator_cidr, like 203.0.113.7/32"
    try:
        with urllib.request.urlopen(service, timeout=_WITHIN_S) as answer:
            said = answer.read(_MOST_BYTES).decode(errors="replace").strip()
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the answer, and with it the connection
        raise ProvisionError(
            f"{service} did not say which address we come from: {error}", remedy=remedy
        ) from error
    try:
        return str(ipaddress.IPv4Address(said))
    except ValueError:
        raise ProvisionError(
            f"{service} says that we come from {said!r}, which is no IPv4 address", remedy=remedy
        ) from None
