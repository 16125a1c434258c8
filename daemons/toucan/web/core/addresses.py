"""Where a request comes from, for those who count requests by it.

Law: an address is believed as far as the connection goes. Behind a proxy of the operator's (``web.proxies``) it is what that has added at the end of
``X-Forwarded-For``, and no further: whatever stands before was written by who knows whom. Of an IPv6 address the first 64 bits count, since one
household has all of the rest (RFC 6177).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection

__all__ = ["sender_address", "sender_network"]


def sender_address(peer: str, forwarded_for: str, proxies: Collection[str]) -> str:
    """The address of who sent a request; ``peer`` is the connection's, ``forwarded_for`` the header."""
    address = peer
    for one in reversed(forwarded_for.split(",")):
        if address not in proxies:
            break
        candidate = one.strip()
        try:
            ipaddress.ip_address(candidate)
        except ValueError:
            break
        address = candidate
    return address


def sender_network(address: str) -> str:
    """What counts as one sender."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
