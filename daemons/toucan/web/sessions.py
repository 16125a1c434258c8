"""Browsers' sessions: who a cookie says that somebody is, and until when.

A session is begun with a token of the users file (:class:`toucan.server.identity.Authority` knows whose it is) and ends with its time, at a logout,
or when the users file no longer takes that token. What it may do is what its user may do at that moment; nothing about rights is in it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from toucan.server.errors import Exhausted, NotAuthenticated, NotEntitled
from toucan.server.identity import Authority, Certificates, Identity
from toucan.server.users import Credential
from toucan.web.core.rates import Rates
from toucan.web.core.tickets import Ticket, csrf_token, is_csrf_token, key_name, open_ticket, sealed
from toucan.web.errors import WebCode
from toucan.web.exchange import Exchange
from toucan.web.limits import BUCKETS_MAX, LOOK_AT_SESSIONS_S
from toucan.web.settings import WebSection
from toucan.web.state import SharedState

__all__ = ["BrowserIdentity", "CSRF_HEADER", "WebAuthority"]

_log = structlog.get_logger("toucan.web")

#: The request header with a session's CSRF token.
CSRF_HEADER = "x-toucan-csrf"


class BrowserIdentity(Identity, frozen=True):
    """A user who has shown who he is by a cookie."""

    ticket: Ticket


class WebAuthority(Authority):
    """Knows all users, and all sessions. Raises :class:`~toucan.errors.InvalidSettings`.

    ``clock`` is the wall clock: the times of sessions mean the same to every gateway, and after a restart of the host.
    """

    def __init__(
        self, section: WebSection, certificates: Certificates | None, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(section, certificates)
        self._clock = clock
        self._state = SharedState(Path(section.state))
        self._session_s = section.session_s
        self._has_local_user = bool(section.local_user)
        self._rates = Rates(section.user_requests_per_s, section.user_requests_burst, BUCKETS_MAX)
        #: Sessions that were ended before their time, and until when they would have lasted.
        self._ended = dict(self._state.ended(clock()))
        #: Awaited when an operator has everything read again.
        self.on_reload: Callable[[], Awaitable[None]] = _nothing
        name = f"toucan-session-{key_name(self._state.key)}"
        #: The cookie's name with TLS and without: what begins with ``__Host-`` no other host or path can set (RFC 6265bis).
        self.cookie_names = {True: f"__Host-{name}", False: name}

    # ------------------------------------------------------------ who asks

    def identify(self, peer: object) -> Identity:
        """Whose call this is; ``peer`` is a :class:`toucan.web.connect.CallContext`. Raises what the call fails with."""
        exchange: Exchange = peer.exchange  # type: ignore[attr-defined]
        identity = self._identity(peer, exchange)
        wait_s = self._rates.take(identity.user.name, asyncio.get_running_loop().time())
        if wait_s:
            text = (
                f"{identity.user.name} sends more requests than there may be; send it again in {wait_s:.2f} s"
            )
            raise Exhausted(text, code=WebCode.TOO_MANY_REQUESTS)
        return identity

    def _identity(self, peer: object, exchange: Exchange) -> Identity:
        if "authorization" not in exchange.headers:
            ticket = self.ticket(exchange)
            if ticket is not None:
                self.require_csrf_token(exchange, ticket)
                return self._identity_of(ticket)
            if not self._has_local_user and self._has_cookie(exchange):
                raise NotAuthenticated("this session has ended; log in again", code=WebCode.SESSION_ENDED)
        return super().identify(peer)  # type: ignore[arg-type]

    def require_csrf_token(self, exchange: Exchange, ticket: Ticket) -> None:
        """Raises :class:`~toucan.server.errors.NotEntitled` if a request with a session's cookie was not made by its page."""
        if not is_csrf_token(exchange.headers.get(CSRF_HEADER, ""), ticket, self._state.key):
            text = (
                f"a call with a cookie needs the header {CSRF_HEADER} with the token that the login has given"
            )
            raise NotEntitled(text, code=WebCode.CSRF_TOKEN_MISSING)

    def _identity_of(self, ticket: Ticket) -> BrowserIdentity:
        credential = Credential(token_sha256=ticket.token_sha256)
        user = self.users.renewed(ticket.user, credential)
        if user is None:
            raise NotAuthenticated(
                "this session's token is no longer taken; log in again", code=WebCode.SESSION_ENDED
            )
        return BrowserIdentity(user, credential, ticket)

    def renewed(self, identity: Identity) -> Identity | None:
        """See :class:`Authority`."""
        if not isinstance(identity, BrowserIdentity):
            return super().renewed(identity)
        user = self.users.renewed(identity.user.name, identity.credential)
        return None if user is None else BrowserIdentity(user, identity.credential, identity.ticket)

    async def reload(self, *, is_asked: bool) -> None:
        """See :class:`Authority`."""
        await super().reload(is_asked=is_asked)
        if is_asked:
            await self.on_reload()

    # ------------------------------------------------------------ sessions

    def _has_cookie(self, exchange: Exchange) -> bool:
        return any(name in exchange.cookies for name in self.cookie_names.values())

    def ticket(self, exchange: Exchange) -> Ticket | None:
        """The session that a request's cookie is of; None: there is none that lasts."""
        text = exchange.cookies.get(self.cookie_names[exchange.is_secure])
        ticket = None if text is None else open_ticket(text, self._state.key, self._clock())
        return None if ticket is None or ticket.session_id in self._ended else ticket

    def begin(self, token: str) -> tuple[Ticket, str]:
        """A session of whoever has this token, and its cookie's value. Raises :class:`~toucan.server.errors.NotAuthenticated`."""
        if self._local is not None:
            user, credential = self._local.user, Credential()
        else:
            found = self.users.by_token(token)
            if found is None:
                raise NotAuthenticated("this token is nobody's")
            user, credential = found
        expires_at_s = int(self._clock()) + self._session_s
        ticket = Ticket(secrets.token_hex(16), user.name, credential.token_sha256, expires_at_s)
        return ticket, sealed(ticket, self._state.key)

    def csrf_token(self, ticket: Ticket) -> str:
        """What the page of a session says beside its cookie."""
        return csrf_token(ticket, self._state.key)

    def lasts(self, identity: Identity) -> bool:
        """Whether a session has not ended; of who shows a token at each call there is none that could."""
        if not isinstance(identity, BrowserIdentity):
            return True
        ticket = identity.ticket
        return ticket.session_id not in self._ended and self._clock() < ticket.expires_at_s

    async def end(self, ticket: Ticket) -> None:
        """Ends a session, here at once and within a second at all gateways of this host. Raises OSError."""
        self._ended[ticket.session_id] = ticket.expires_at_s
        await asyncio.to_thread(self._state.end, ticket.session_id, ticket.expires_at_s)

    async def follow_ended(self, then: Callable[[], None]) -> None:
        """Hears of sessions that were ended elsewhere, and calls ``then`` each time it has looked; for ever."""
        while True:
            await asyncio.sleep(LOOK_AT_SESSIONS_S)
            await self._look_at_ended()
            then()

    async def _look_at_ended(self) -> None:
        now_s = self._clock()
        before = self._ended
        try:
            ended = await asyncio.to_thread(self._state.ended, now_s)
        except OSError as error:
            _log.error("cannot read which sessions were ended at other gateways", reason=str(error))
            return
        # What was ended here meanwhile may not be in a folder that was read a moment ago.
        self._ended = {**{one: until_s for one, until_s in before.items() if until_s > now_s}, **ended}


async def _nothing() -> None:
    """Nothing else is read again."""
