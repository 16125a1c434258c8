"""A connection to a named host, by whichever of its addresses answers.

*Law.* Here a name becomes a connection, anew each time: nothing is cached, so a store that moves is found where its name says. The resolver
runs off the loop (asyncio's and uvloop's both use threads). Addresses are tried in the resolver's order, the next as soon as one refuses; one that
keeps silent takes no more than its share of the time that is left, so a dead first address cannot use up all of it. asyncio's own happy
eyeballs is not used: uvloop has none.

Names under ``localhost`` are this host (RFC 6761 6.3), which resolvers mostly do not know: a store on loopback can so be addressed in
virtual-host style.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["ADDRESSES_MAX", "DialPlace", "dial"]

ADDRESSES_MAX = 8
"""Addresses tried of one name: S3's names have eight at a time."""

_Made = TypeVar("_Made", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class DialPlace:
    """Where to connect to: certificates are checked against ``host``, which may be a name or an address."""

    host: str
    port: int
    tls: ssl.SSLContext | None


async def dial(
    make: Callable[[], _Made], give_up: Callable[[_Made], None], place: DialPlace, timeout_s: float
) -> _Made:
    """Connects a protocol of ``make``, a new one for each address; ``give_up`` gets those that came to nothing.

    Raises OSError of the last address (TimeoutError: none answered in time).
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    async with asyncio.timeout_at(end_s):
        addresses = await _addresses_of(place)
    failure: OSError = OSError(f"{place.host} has no address")
    for index, address in enumerate(addresses):
        share_s = (end_s - loop.time()) / (len(addresses) - index)
        try:
            return await _try(make, give_up, place, address, share_s)
        except OSError as error:  # TimeoutError is one
            failure = error
    raise failure


async def _try(
    make: Callable[[], _Made],
    give_up: Callable[[_Made], None],
    place: DialPlace,
    address: str,
    timeout_s: float,
) -> _Made:
    loop = asyncio.get_running_loop()
    protocol = make()
    name = place.host if place.tls is not None else None
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(
                lambda: protocol, address, place.port, ssl=place.tls, server_hostname=name
            )
    except BaseException:
        give_up(protocol)
        raise
    return protocol


async def _addresses_of(place: DialPlace) -> list[str]:
    try:
        ipaddress.ip_address(place.host)
    except ValueError:
        pass
    else:
        return [place.host]
    if place.host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    return list(dict.fromkeys(addresses))[:ADDRESSES_MAX]
