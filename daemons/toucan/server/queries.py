"""Reads: answered from the front end's copy of the engine's state, which costs the engine nothing.

What takes long is done in pieces, so that others have their turns; an answer's ``seq`` is the event that it has at least seen.
"""

from __future__ import annotations

import asyncio
import bisect
import time

from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.core.outcomes import Refusal
from toucan.server.asking import Asking
from toucan.server.calls import Call
from toucan.server.errors import InvalidRequest, NotFound
from toucan.server.limits import (
    MIN_SEQ_WAIT_S,
    ORDERS_PAGE_DEFAULT,
    ORDERS_PAGE_MAX,
    ORDERS_SCANNED_PER_TURN,
    PAGE_TOKEN_CHARACTERS_MAX,
    POSITIONS_PER_TURN,
    SNAPSHOT_ORDERS_PER_TURN,
)
from toucan.server.order_filter import OrderFilter, filter_of
from toucan.server.streams.position_book import PositionBook, PositionFilter
from toucan.server.translate import fields, from_wire, to_wire

__all__ = ["Queries"]


class Queries:
    """The part of OrderEntryService that changes nothing."""

    def __init__(self, asking: Asking, positions: PositionBook) -> None:
        self._asking = asking
        self._port = asking.port
        self._positions = positions

    async def get_order(self, call: Call, request: pb.GetOrderRequest) -> pb.GetOrderResponse:
        """GetOrder. Another account's order is not found."""
        call.user.require("view")
        order_id = fields.order_id(request.order_id)
        await self._caught_up(call, request.min_seq)
        order = self._port.state.orders.get(order_id)
        if order is None or not call.user.sees_order(order.terms.account):
            raise NotFound(f"there is no order {order_id}", code=Refusal.UNKNOWN_ORDER)
        return pb.GetOrderResponse(order=to_wire.order(order, self._port.instruments.get(order.terms.symbol)))

    async def _caught_up(self, call: Call, min_seq: int) -> None:
        if fields.event_number(min_seq, "min_seq"):
            await self._asking.caught_up(min_seq, min(call.timeout_s, MIN_SEQ_WAIT_S))

    # ------------------------------------------------------------ orders

    async def list_orders(self, call: Call, request: pb.ListOrdersRequest) -> pb.ListOrdersResponse:
        """ListOrders: the newest first, page by page. A page token is the last order's id."""
        call.user.require("view")
        wanted = filter_of(from_wire.filter_terms(request.filter), call.user)
        size = fields.bounded(request.page_size, 0, ORDERS_PAGE_MAX, "page_size") or ORDERS_PAGE_DEFAULT
        below = _page_start(request.page_token)
        await self._caught_up(call, request.min_seq)
        seq = self._port.state.seq
        found = await self._find(wanted, below, size + 1)
        orders = [order for order in map(self._port.state.orders.get, found[:size]) if order is not None]
        answer = pb.ListOrdersResponse(
            seq=seq, next_page_token=str(found[size - 1]) if len(found) > size else ""
        )
        for start in range(0, len(orders), SNAPSHOT_ORDERS_PER_TURN):
            for order in orders[start : start + SNAPSHOT_ORDERS_PER_TURN]:
                answer.orders.append(to_wire.order(order, self._port.instruments.get(order.terms.symbol)))
            await asyncio.sleep(0)
        return answer

    async def _find(self, wanted: OrderFilter, below: int | None, count: int) -> list[int]:
        """Ids of so many orders that match, the newest first."""
        # Ids count up and orders are kept in that order.
        order_ids = [*(self._port.state.live if wanted.is_open else self._port.state.orders)]
        if wanted.is_open:
            order_ids.sort()
        end = len(order_ids) if below is None else bisect.bisect_left(order_ids, below)
        found: list[int] = []
        for position, order_id in enumerate(reversed(order_ids[:end]), 1):
            order = self._port.state.orders.get(order_id)
            if order is not None and wanted.takes(order):
                found.append(order_id)
                if len(found) == count:
                    break
            if position % ORDERS_SCANNED_PER_TURN == 0:
                await asyncio.sleep(0)
        return found

    # ------------------------------------------------------------ positions

    async def list_positions(self, call: Call, request: pb.ListPositionsRequest) -> pb.ListPositionsResponse:
        """ListPositions."""
        call.user.require("view")
        wanted = PositionFilter.of(request.accounts, request.symbols, request.by_trader, call.user)
        await self._caught_up(call, request.min_seq)
        answer = pb.ListPositionsResponse(seq=self._port.state.seq)
        for index, key in enumerate(self._positions.select(wanted), 1):
            answer.positions.append(self._positions.to_wire(key))
            if index % POSITIONS_PER_TURN == 0:
                await asyncio.sleep(0)
        return answer

    # ------------------------------------------------------------ the rest

    async def list_instruments(
        self, call: Call, request: pb.ListInstrumentsRequest
    ) -> pb.ListInstrumentsResponse:
        """ListInstruments."""
        now_ns = time.time_ns()
        answer = pb.ListInstrumentsResponse()
        for index, instrument in enumerate([*self._port.instruments.values()], 1):
            answer.instruments.append(to_wire.instrument(instrument, now_ns))
            if index % POSITIONS_PER_TURN == 0:
                await asyncio.sleep(0)
        return answer

    async def get_identity(self, call: Call, request: pb.GetIdentityRequest) -> pb.GetIdentityResponse:
        """GetIdentity."""
        user = call.user
        accounts = user.accounts
        if accounts is None:
            accounts = frozenset(
                account for team in self._port.state.risk.tree.teams.values() for account in team
            )
        return pb.GetIdentityResponse(
            user=user.name,
            accounts=sorted(accounts),
            actions=sorted(user.actions),
            symbols=sorted(user.symbols or ()),
        )


def _page_start(token: str) -> int | None:
    if not token:
        return None
    if len(token) > PAGE_TOKEN_CHARACTERS_MAX or not token.isascii() or not token.isdigit():
        raise InvalidRequest(
            "page_token is none of this server's; send the last answer's next_page_token", field="page_token"
        )
    return int(token)
