"""Tickets: what a browser's cookie says of its session, signed, so that every gateway of a host believes it.

Law: a ticket is a few facts and their HMAC-SHA256 (RFC 2104) under a key that the gateways of a host share; it is believed if the HMAC is right and
its time has not passed, and for no other reason. It holds no secret of the user's: his token is in it as the hash that the users file has. The time
and the randomness of a new ticket are arguments. The *CSRF token* of a session is an HMAC of its id under the same key: the page learns it from the
answer to its login, and no other page can know it.

Rejected: sessions in the memory of a gateway (they would end with it, and be unknown to the next one), in a store of their own (one more thing to
be away), a JWT library (one algorithm of ours needs no negotiation of algorithms).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import msgspec

__all__ = [
    "KEY_BYTES",
    "TICKET_CHARACTERS_MAX",
    "Ticket",
    "csrf_token",
    "is_csrf_token",
    "key_name",
    "open_ticket",
    "sealed",
]

#: As long as the hash.
KEY_BYTES = 32

#: A ticket as text: a user's name of 64 characters of four bytes each, and the rest, in base64. Cookies may have 4,096 bytes.
TICKET_CHARACTERS_MAX = 1024

_MAC_CHARACTERS = 43


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """A session of a user in one browser."""

    #: Names the session: 128 random bits in hex.
    session_id: str
    user: str
    #: As in the users file; empty: of the local user, who has no token.
    token_sha256: str
    #: Seconds since 1970; believed before it.
    expires_at_s: int


def sealed(ticket: Ticket, key: bytes) -> str:
    """The ticket as text for a cookie: unreserved characters and one dot."""
    body = _text(msgspec.json.encode(ticket))
    return f"{body}.{_mac(key, 'ticket', body)}"


def open_ticket(text: str, key: bytes, now_s: float) -> Ticket | None:
    """The ticket of a cookie; None if it is not ours or its time has passed."""
    if len(text) > TICKET_CHARACTERS_MAX:
        return None
    body, _, mac = text.rpartition(".")
    if not _is_equal(_mac(key, "ticket", body), mac):
        return None
    try:
        ticket = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=Ticket)
    except (binascii.Error, msgspec.DecodeError):  # a key that signed something else
        return None
    return ticket if now_s < ticket.expires_at_s else None


def csrf_token(ticket: Ticket, key: bytes) -> str:
    """What a page must say beside its cookie."""
    return _mac(key, "csrf", ticket.session_id)


def is_csrf_token(text: str, ticket: Ticket, key: bytes) -> bool:
    """Whether it is the session's."""
    return _is_equal(csrf_token(ticket, key), text)


def key_name(key: bytes) -> str:
    """A short name of a key that tells nothing of it: gateways that do not share one shall not overwrite each other's cookies."""
    return _mac(key, "name", "")[:8].replace("_", "x").replace("-", "x").lower()


def _mac(key: bytes, purpose: str, text: str) -> str:
    return _text(hmac.digest(key, f"{purpose}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _is_equal(ours: str, theirs: str) -> bool:
    return len(theirs) == _MAC_CHARACTERS and hmac.compare_digest(
        ours.encode(), theirs.encode("utf-8", "surrogateescape")
    )
