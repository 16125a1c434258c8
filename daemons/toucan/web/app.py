"""The gateway's ASGI application: which request is what, and what is asked of each before anything else looks at it.

| path | what |
|---|---|
| ``/aviary.toucan.v1.…/…`` | calls (:mod:`toucan.web.connect`) |
| ``/session`` | POST: a token for a cookie; GET: who is logged in; DELETE: logout |
| ``/healthz`` | whether the gateway serves and follows an engine; needs nobody |
| all else | files of the page |
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import structlog

from aviary.toucan.v1 import staged_pb2 as sp
from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.engine.port import EnginePort
from toucan.server.errors import CallError, NotAuthenticated
from toucan.server.transport import Methods
from toucan.web.connect import connect_application, exchange_of_this_call
from toucan.web.core.addresses import sender_network
from toucan.web.core.places import Breach, Places
from toucan.web.core.rates import Rates
from toucan.web.core.tickets import Ticket
from toucan.web.exchange import Exchange
from toucan.web.limits import BUCKETS_MAX, LOGIN_BYTES_MAX, LOGINS_BURST, LOGINS_PER_S
from toucan.web.metrics import WebMetrics
from toucan.web.sessions import WebAuthority
from toucan.web.settings import WebSection
from toucan.web.static_files import StaticFiles

__all__ = ["WebApplication"]

_log = structlog.get_logger("toucan.web")


class _Login(msgspec.Struct, forbid_unknown_fields=True):
    token: str = ""


class WebApplication:
    """Answers every request."""

    def __init__(
        self,
        section: WebSection,
        authority: WebAuthority,
        port: EnginePort,
        static: StaticFiles,
        metrics: WebMetrics,
    ) -> None:
        self.static = static
        self._section = section
        self._authority = authority
        self._port = port
        self._metrics = metrics
        self._places = Places(())
        self._addresses = Rates(section.address_requests_per_s, section.address_requests_burst, BUCKETS_MAX)
        self._logins = Rates(LOGINS_PER_S, LOGINS_BURST, BUCKETS_MAX)
        self._calls: Any = None
        self._call_paths: frozenset[str] = frozenset()

    def begin(self, methods: Methods, address: str) -> None:
        """It is about to be served at this address, with these methods."""
        self._places = Places(self._section.places(address))
        self._calls, self._call_paths = connect_application((pb.DESCRIPTOR, sp.DESCRIPTOR), methods)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
        assert scope["type"] == "http"
        exchange = Exchange(scope, receive, send, self._section.proxies)
        if exchange.path == "/healthz":
            await self._tell_health(exchange)
            return
        if not all(value.isascii() for _, value in scope["headers"]):
            await exchange.fail(400, "invalid_argument", "a header has characters that are not ASCII")
            return
        exchange.place = self._places.reached_at(exchange.headers.get("host", ""))
        if not await self._is_refused(exchange):
            await self._answer(exchange)

    async def _answer(self, exchange: Exchange) -> None:
        if exchange.path in self._call_paths:
            if _is_native_grpc(exchange):
                await exchange.fail(
                    415,
                    "unimplemented",
                    "gRPC itself is spoken by `toucan server`; here it is Connect, gRPC-Web or JSON",
                )
                return
            exchange_of_this_call.set(exchange)
            await self._calls(exchange.scope, exchange.receive, exchange.send)
        elif exchange.path == "/session":
            await self._session(exchange)
        else:
            await self.static.answer(exchange)

    async def _is_refused(self, exchange: Exchange) -> bool:
        is_page = exchange.method in ("GET", "HEAD") and exchange.path != "/session"
        breach = self._places.breach(exchange.headers)
        if breach is Breach.WRONG_HOST:
            self._metrics.refused("WRONG_HOST")
            await exchange.fail(421, "permission_denied", breach.value)
            return True
        # A link elsewhere may lead to the page; what the page does it does itself.
        if breach is Breach.OTHER_ORIGIN and not is_page:
            self._metrics.refused("OTHER_ORIGIN")
            await exchange.fail(403, "permission_denied", breach.value)
            return True
        return await self._is_too_often(exchange, self._addresses)

    async def _is_too_often(self, exchange: Exchange, rates: Rates) -> bool:
        wait_s = rates.take(sender_network(exchange.client_address), asyncio.get_running_loop().time())
        if not wait_s:
            return False
        self._metrics.refused("TOO_MANY_REQUESTS")
        text = f"more requests come from {exchange.client_address} than there may be; send it again in {wait_s:.2f} s"
        await exchange.fail(
            429, "resource_exhausted", text, [(b"retry-after", str(int(wait_s) + 1).encode())]
        )
        return True

    async def _tell_health(self, exchange: Exchange) -> None:
        is_serving = not self._port.is_stale
        await exchange.answer_json(200 if is_serving else 503, {"serving": is_serving})

    # ------------------------------------------------------------ sessions

    async def _session(self, exchange: Exchange) -> None:
        match exchange.method:
            case "POST":
                await self._log_in(exchange)
            case "GET":
                await self._tell_session(exchange)
            case "DELETE":
                await self._log_out(exchange)
            case _:
                await exchange.fail(
                    405,
                    "unimplemented",
                    "a session is begun (POST), read (GET) or ended (DELETE)",
                    [(b"allow", b"GET, POST, DELETE")],
                )

    async def _log_in(self, exchange: Exchange) -> None:
        if await self._is_too_often(exchange, self._logins):
            return
        if exchange.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            await exchange.fail(415, "invalid_argument", "a login is JSON")
            return
        body = await exchange.body(LOGIN_BYTES_MAX)
        try:
            login = msgspec.json.decode(body or b"", type=_Login)
            ticket, cookie = self._authority.begin(login.token)
        except (msgspec.DecodeError, UnicodeDecodeError):
            await exchange.fail(400, "invalid_argument", 'a login is an object of one member: {"token": "…"}')
        except NotAuthenticated as error:
            self._metrics.session("failed")
            _log.warning("a login failed", address=exchange.client_address)
            await exchange.fail(401, "unauthenticated", error.text)
        else:
            await self._end_quietly(self._authority.ticket(exchange))  # a browser has one session
            self._metrics.session("begun")
            _log.info("a session begins", user=ticket.user, address=exchange.client_address)
            cookie_header = self._cookie(exchange, cookie, self._section.session_s)
            await exchange.answer_json(200, self._told(ticket), [cookie_header])

    async def _tell_session(self, exchange: Exchange) -> None:
        ticket = self._authority.ticket(exchange)
        if ticket is None:
            await exchange.fail(401, "unauthenticated", "nobody is logged in")
        else:
            await exchange.answer_json(200, self._told(ticket))

    async def _log_out(self, exchange: Exchange) -> None:
        ticket = self._authority.ticket(exchange)
        if ticket is not None:
            try:
                self._authority.require_csrf_token(exchange, ticket)
            except CallError as error:
                await exchange.fail(403, "permission_denied", error.text)
                return
            await self._end_quietly(ticket)
        await exchange.answer(204, headers=[self._cookie(exchange, "", 0)])

    async def _end_quietly(self, ticket: Ticket | None) -> None:
        """Ends a session here in any case; that others cannot be told is for the log."""
        if ticket is None:
            return
        try:
            await self._authority.end(ticket)
        except OSError as error:
            _log.error(
                "cannot tell other gateways that a session is ended", user=ticket.user, reason=str(error)
            )
        self._metrics.session("ended")
        _log.info("a session is ended", user=ticket.user)

    def _told(self, ticket: Ticket) -> dict[str, object]:
        return {
            "user": ticket.user,
            "csrf": self._authority.csrf_token(ticket),
            "expires_at_s": ticket.expires_at_s,
        }

    def _cookie(self, exchange: Exchange, value: str, max_age_s: int) -> tuple[bytes, bytes]:
        name = self._authority.cookie_names[exchange.is_secure]
        secure = "; Secure" if exchange.is_secure else ""
        text = f"{name}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age_s}{secure}"
        return b"set-cookie", text.encode()


def _is_native_grpc(exchange: Exchange) -> bool:
    content_type = exchange.headers.get("content-type", "")
    return content_type.startswith("application/grpc") and not content_type.startswith("application/grpc-web")
