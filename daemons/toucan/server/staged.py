"""StagedOrderService: who may propose, release, amend and reject, asked of the copy of the engine's state; and then the engine.

As with orders (:mod:`toucan.server.order_entry`): what is refused here never reached the engine, a number that was answered gets its answer again,
and a staged order of an account that is not the user's is *not found*. That nobody releases what he has proposed himself is the engine's to see;
from here it hears who is entitled to it.
"""

from __future__ import annotations

import asyncio

from aviary.toucan.v1 import staged_pb2 as sp
from toucan.core.outcomes import Accepted, Done, Proposed, Refusal
from toucan.core.staged import StagedOrder
from toucan.server.asking import Asking
from toucan.server.calls import Call
from toucan.server.errors import Away, InvalidRequest, NotEntitled, NotFound
from toucan.server.limits import (
    MIN_SEQ_WAIT_S,
    ORDERS_PAGE_DEFAULT,
    ORDERS_PAGE_MAX,
    ORDERS_SCANNED_PER_TURN,
    PAGE_TOKEN_CHARACTERS_MAX,
    STAGED_PER_MESSAGE_MAX,
)
from toucan.server.staged_filter import StagedFilter, staged_filter_of
from toucan.server.translate import fields, from_wire, to_wire
from toucan.server.translate import staged as wire
from toucan.server.translate.from_wire import Key

__all__ = ["StagedCalls"]

#: How long a request for a staged order that the copy does not know waits for what was answered already.
_COPY_WAIT_S = 1.0


class StagedCalls:
    """The methods of StagedOrderService that are no streams."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._port = asking.port

    async def stage(self, call: Call, request: sp.StageOrderRequest) -> sp.StageOrderResponse:
        """StageOrder."""
        key, body = from_wire.key(request), wire.stage(request)
        client = call.client(key)
        call.user.require("stage")
        call.user.require_account(body.terms.account)
        call.user.require_symbol(body.terms.symbol)
        done, seq = await self._asking.ask_for(Proposed, client, key.number, body, call.timeout_s)
        call.facts["staged_id"] = done.staged_id
        denials = map(to_wire.denial, done.denials)
        return sp.StageOrderResponse(staged_id=done.staged_id, denials=denials, seq=seq)

    async def release(
        self, call: Call, request: sp.ReleaseStagedOrderRequest
    ) -> sp.ReleaseStagedOrderResponse:
        """ReleaseStagedOrder."""
        key = from_wire.key(request)
        body = wire.release(request, call.user.may("release-own"))
        client = call.client(key)
        call.facts["staged_id"] = body.staged_id
        call.user.require("release")
        if self._is_new(call, key):
            staged = await self._visible(call, body.staged_id)
            call.user.require_symbol(staged.terms.symbol)
        done, seq = await self._asking.ask_for(Accepted, client, key.number, body, call.timeout_s)
        call.facts["order_id"] = done.order_id
        return sp.ReleaseStagedOrderResponse(order_id=done.order_id, seq=seq)

    async def amend(self, call: Call, request: sp.AmendStagedOrderRequest) -> sp.AmendStagedOrderResponse:
        """AmendStagedOrder."""
        key, body = from_wire.key(request), wire.amend(request)
        client = call.client(key)
        call.facts["staged_id"] = body.staged_id
        await self._require_say(call, key, body.staged_id)
        done, seq = await self._asking.ask_for(Proposed, client, key.number, body, call.timeout_s)
        denials = map(to_wire.denial, done.denials)
        return sp.AmendStagedOrderResponse(revision=done.revision, denials=denials, seq=seq)

    async def reject(self, call: Call, request: sp.RejectStagedOrderRequest) -> sp.RejectStagedOrderResponse:
        """RejectStagedOrder."""
        key, body = from_wire.key(request), wire.reject(request)
        client = call.client(key)
        call.facts["staged_id"] = body.staged_id
        await self._require_say(call, key, body.staged_id)
        _, seq = await self._asking.ask_for(Done, client, key.number, body, call.timeout_s)
        return sp.RejectStagedOrderResponse(seq=seq)

    # ------------------------------------------------------------ who may

    def _is_new(self, call: Call, key: Key) -> bool:
        return self._port.state.client(call.client(key)).recall(key.number) is None

    async def _require_say(self, call: Call, key: Key, staged_id: int) -> None:
        """To amend and to reject is for who may release it, and for who has proposed it."""
        user = call.user
        if not user.may("release"):
            user.require("stage")
        if not self._is_new(call, key):
            return
        staged = await self._visible(call, staged_id)
        if staged.owner.user == user.name and user.may("stage"):
            return
        if not user.may("release"):
            raise NotEntitled(
                f"staged order {staged_id} was proposed by {staged.owner.user}; {user.name} is not entitled to 'release'"
            )
        user.require_symbol(staged.terms.symbol)

    async def _visible(self, call: Call, staged_id: int) -> StagedOrder:
        staged = self._port.state.staged.get(staged_id)
        if staged is None:
            await self._port.wait_for(self._asking.newest_seq, min(call.timeout_s, _COPY_WAIT_S))
            staged = self._port.state.staged.get(staged_id)
        if staged is None and self._port.is_stale:
            raise Away(f"the engine is away, and staged order {staged_id} was not heard of")
        if staged is None or not call.user.sees_order(staged.terms.account):
            raise NotFound(f"there is no staged order {staged_id}", code=Refusal.UNKNOWN_STAGED_ORDER)
        return staged

    # ------------------------------------------------------------ reads

    async def get_staged(self, call: Call, request: sp.GetStagedOrderRequest) -> sp.GetStagedOrderResponse:
        """GetStagedOrder. One of another account is not found."""
        call.user.require("view")
        staged_id = wire.staged_id(request.staged_id)
        await self._caught_up(call, request.min_seq)
        staged = self._port.state.staged.get(staged_id)
        if staged is None or not call.user.sees_order(staged.terms.account):
            raise NotFound(f"there is no staged order {staged_id}", code=Refusal.UNKNOWN_STAGED_ORDER)
        return sp.GetStagedOrderResponse(staged=wire.staged_order(staged))

    async def _caught_up(self, call: Call, min_seq: int) -> None:
        if fields.event_number(min_seq, "min_seq"):
            await self._asking.caught_up(min_seq, min(call.timeout_s, MIN_SEQ_WAIT_S))

    async def list_staged(
        self, call: Call, request: sp.ListStagedOrdersRequest
    ) -> sp.ListStagedOrdersResponse:
        """ListStagedOrders: the newest first, page by page. A page token is the last one's id."""
        call.user.require("view")
        wanted = staged_filter_of(wire.filter_terms(request.filter), call.user)
        size = fields.bounded(request.page_size, 0, ORDERS_PAGE_MAX, "page_size") or ORDERS_PAGE_DEFAULT
        below = _page_start(request.page_token)
        await self._caught_up(call, request.min_seq)
        answer = sp.ListStagedOrdersResponse(seq=self._port.state.seq)
        found = await self._find(wanted, below, size + 1)
        if len(found) > size:
            answer.next_page_token = str(found[size - 1].staged_id)
        for index, staged in enumerate(found[:size], 1):
            answer.staged.append(wire.staged_order(staged))
            if index % STAGED_PER_MESSAGE_MAX == 0:
                await asyncio.sleep(0)
        return answer

    async def _find(self, wanted: StagedFilter, below: int | None, count: int) -> list[StagedOrder]:
        book = self._port.state.staged
        # Taken at once; values do not change. Ids count up in the order in which they are kept.
        candidates = [*(book.waiting() if wanted.is_pending else book.orders.values())]
        found: list[StagedOrder] = []
        for position, staged in enumerate(reversed(candidates), 1):
            if (below is None or staged.staged_id < below) and wanted.takes(staged):
                found.append(staged)
                if len(found) == count:
                    break
            if position % ORDERS_SCANNED_PER_TURN == 0:
                await asyncio.sleep(0)
        return found


def _page_start(token: str) -> int | None:
    if not token:
        return None
    if len(token) > PAGE_TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isdigit():
        raise InvalidRequest(
            "page_token is none of this server's; send the last answer's next_page_token", field="page_token"
        )
    return int(token)
