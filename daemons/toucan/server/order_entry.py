"""Requests that change orders: who may, asked of the copy of the engine's state; and then the engine.

What is refused here never reached the engine, and its number is still free. Where a number was answered before, the same answer is asked for without
another look at who may: nothing is done again, and the order may be long gone.

An order of an account that is not the user's is *not found*, in the engine's own words for one that does not exist. One of his account that another
user has entered he may see, and so is told that he may not touch it.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core import requests as rq
from toucan.core.order import Client
from toucan.core.outcomes import Accepted, MassCanceled, Previewed, Refusal
from toucan.server.asking import Asking, key_reused
from toucan.server.entitlements import User
from toucan.server.errors import Away, NotEntitled, NotFound
from toucan.server.translate import fields, from_wire, to_wire
from toucan.server.translate.from_wire import Key

__all__ = ["Asker", "OrderEntry", "PREVIEW_SESSION"]

#: Previews are of no session; the engine wants a name all the same, and remembers nothing of it.
PREVIEW_SESSION = "preview"
#: How long a request for an order that the copy does not know waits for what was answered already: the copy is behind by microseconds, not more.
_COPY_WAIT_S = 1.0


class Asker(Protocol):
    """Who asks: a call of its own (:class:`toucan.server.calls.Call`), or a request on a session's stream."""

    facts: dict[str, object]

    @property
    def user(self) -> User:
        """The user."""

    @property
    def timeout_s(self) -> float:
        """What is left of the deadline."""

    def client(self, key: Key) -> Client:
        """The client of a request."""


class OrderEntry:
    """The part of OrderEntryService that changes orders."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._port = asking.port

    async def submit(self, asker: Asker, request: pb.SubmitOrderRequest) -> pb.SubmitOrderResponse:
        """SubmitOrder."""
        key, body = from_wire.key(request), from_wire.submit(request)
        client = asker.client(key)
        _may_enter(asker, body.terms.account, body.terms.symbol)
        accepted, seq = await self._asking.ask_for(Accepted, client, key.number, body, asker.timeout_s)
        asker.facts["order_id"] = accepted.order_id
        return pb.SubmitOrderResponse(order_id=accepted.order_id, seq=seq)

    async def cancel(self, asker: Asker, request: pb.CancelOrderRequest) -> pb.CancelOrderResponse:
        """CancelOrder."""
        key, order_id = from_wire.key(request), fields.order_id(request.order_id)
        seq = await self._change(asker, key, order_id, "cancel", rq.Cancel(order_id))
        return pb.CancelOrderResponse(seq=seq)

    async def replace(self, asker: Asker, request: pb.ReplaceOrderRequest) -> pb.ReplaceOrderResponse:
        """ReplaceOrder."""
        key, body = from_wire.key(request), from_wire.replace(request)
        seq = await self._change(asker, key, body.order_id, "trade", body)
        return pb.ReplaceOrderResponse(seq=seq)

    async def _change(
        self, asker: Asker, key: Key, order_id: int, action: str, body: rq.Cancel | rq.Replace
    ) -> int:
        client = asker.client(key)
        asker.facts["order_id"] = order_id
        asker.user.require(action)
        if self._port.state.client(client).recall(key.number) is None:
            await self._check_order(asker, order_id)
        accepted, seq = await self._asking.ask_for(Accepted, client, key.number, body, asker.timeout_s)
        if accepted.order_id != order_id:
            raise key_reused(key.number)
        return seq

    async def _check_order(self, asker: Asker, order_id: int) -> None:
        order = self._port.state.orders.get(order_id)
        if order is None:
            await self._port.wait_for(self._asking.newest_seq, min(asker.timeout_s, _COPY_WAIT_S))
            order = self._port.state.orders.get(order_id)
        if order is None and self._port.is_stale:
            raise Away(f"the engine is away, and order {order_id} was not heard of")
        if order is None or not asker.user.sees_order(order.terms.account):
            raise NotFound(f"there is no order {order_id}", code=Refusal.UNKNOWN_ORDER)
        if order.owner.user != asker.user.name and not asker.user.may("cancel-others"):
            raise NotEntitled(
                f"order {order_id} was entered by {order.owner.user}; {asker.user.name} is not entitled to 'cancel-others'"
            )

    async def mass_cancel(self, asker: Asker, request: pb.MassCancelRequest) -> pb.MassCancelResponse:
        """MassCancel: of what matches only what the user may cancel; what others entered is left alone where he may not touch it."""
        key, body = from_wire.key(request), from_wire.mass_cancel(request)
        client = asker.client(key)
        asker.user.require("cancel")
        body = _within(body, asker)
        done, seq = await self._asking.ask_for(MassCanceled, client, key.number, body, asker.timeout_s)
        asker.facts["orders"] = len(done.order_ids)
        return pb.MassCancelResponse(order_ids=done.order_ids, skipped=done.skipped, seq=seq)

    async def preview(self, asker: Asker, request: pb.PreviewOrderRequest) -> pb.PreviewOrderResponse:
        """PreviewOrder."""
        terms = from_wire.order_terms(request)
        _may_enter(asker, terms.account, terms.symbol)
        client = Client(asker.user.name, PREVIEW_SESSION)
        previewed, _ = await self._asking.ask_for(Previewed, client, 0, rq.Preview(terms), asker.timeout_s)
        return to_wire.preview(previewed)


def _may_enter(asker: Asker, account: str, symbol: str) -> None:
    asker.user.require("trade")
    asker.user.require_account(account)
    asker.user.require_symbol(symbol)


def _within(body: rq.MassCancel, asker: Asker) -> rq.MassCancel:
    user = asker.user
    accounts = body.accounts
    if accounts is None:
        accounts = None if user.accounts is None else tuple(sorted(user.accounts))
    else:
        asker.user.require_account(accounts[0])
    owner = body.owner
    if not user.may("cancel-others"):
        if owner not in ("", user.name):
            raise NotEntitled(f"{user.name} is not entitled to 'cancel-others'")
        owner = user.name
    return msgspec.structs.replace(body, accounts=accounts, owner=owner)
