"""The requests of StagedOrderService and its stream, one function each; as :mod:`toucan.client.calls` and :mod:`toucan.client.streams`.

Law: no channel, no time, no key. Who releases or amends hands over the staged order that he has seen, so that its revision cannot be another one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict

from google.protobuf.message import Message

from aviary.toucan.v1 import staged_pb2 as sp
from toucan.client import decode, values
from toucan.client.calls import Call, ReplaceOptions, order_message
from toucan.client.decode import Find
from toucan.client.errors import InvalidRequest, ServerFault
from toucan.client.exact import Number
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.limits import ORDERS_PAGE_MAX
from toucan.client.staged_values import Staged, StagedOrder, StagedRevision, StagedUpdate
from toucan.client.streams import Batch
from toucan.client.terms import OrderOptions
from toucan.client.values import RequestKey
from toucan.core.values import Side, StagedState

__all__ = [
    "StagedBatch",
    "StagedFilter",
    "StagedPage",
    "StagedStream",
    "amend",
    "filter_to_wire",
    "get",
    "page",
    "reject",
    "release",
    "stage",
    "stage_message",
    "staged_order_of",
]

_SERVICE = "/aviary.toucan.v1.StagedOrderService/"


class StagedFilter(TypedDict, total=False):
    """Which staged orders; they must match everything that is given."""

    accounts: Iterable[str]
    symbols: Iterable[str]
    #: Users who proposed them.
    proposers: Iterable[str]
    #: Only those that wait for somebody to decide.
    is_pending: bool


@dataclass(frozen=True, slots=True)
class StagedPage:
    """Some staged orders; ``next_token`` empty: there are no more."""

    staged: tuple[StagedOrder, ...]
    next_token: str


def filter_to_wire(wanted: StagedFilter) -> sp.StagedFilter:
    """The message of a filter. Raises TypeError for unknown names."""
    unknown = set(wanted) - set(StagedFilter.__annotations__)
    if unknown:
        known = ", ".join(StagedFilter.__annotations__)
        raise TypeError(f"staged orders have no {', '.join(sorted(unknown))}; filter by {known}")
    for name in ("accounts", "symbols", "proposers"):
        if isinstance(wanted.get(name), str):
            raise TypeError(f"{name} is a list of texts, not one text: write [{wanted[name]!r}]")
    return sp.StagedFilter(
        accounts=list(wanted.get("accounts", ())),
        symbols=list(wanted.get("symbols", ())),
        proposers=list(wanted.get("proposers", ())),
        is_pending=wanted.get("is_pending", False),
    )


# ---------------------------------------------------------------- requests


def stage_message(
    table: InstrumentTable, account: str, side: Side | str, symbol: str, quantity: Number, options: OrderOptions,
    *, why: str, time_to_live_s: float | None,
) -> sp.StageOrderRequest:  # fmt: skip
    """A proposal without its key."""
    return sp.StageOrderRequest(
        terms=order_message(table, account, side, symbol, quantity, options).terms,
        why=why,
        time_to_live_ms=None if time_to_live_s is None else round(time_to_live_s * 1000),
    )


def stage(request: sp.StageOrderRequest) -> Call[Staged]:
    """A proposal."""

    def read(response: sp.StageOrderResponse, _: InstrumentTable, key: RequestKey) -> Staged:
        denials = tuple(map(decode.denial_of, response.denials))
        return Staged(staged_id=response.staged_id, denials=denials, seq=response.seq, key=key)

    return Call(
        method=_SERVICE + "StageOrder",
        request=request,
        response_type=sp.StageOrderResponse,
        read=read,
        is_mutating=True,
    )


def release(
    instrument: Instrument, seen: StagedOrder, options: ReplaceOptions, *, why: str, is_confirmed: bool
) -> Call[values.Accepted]:
    """Sends it, as it was seen, amended by what is given."""

    def read(response: sp.ReleaseStagedOrderResponse, _: InstrumentTable, key: RequestKey) -> values.Accepted:
        return values.Accepted(order_id=response.order_id, seq=response.seq, key=key)

    return Call(
        method=_SERVICE + "ReleaseStagedOrder",
        request=sp.ReleaseStagedOrderRequest(
            staged_id=seen.staged_id,
            revision=seen.revision,
            why=why,
            is_confirmed=is_confirmed,
            **_amendment(instrument, options),
        ),
        response_type=sp.ReleaseStagedOrderResponse,
        read=read,
        is_mutating=True,
    )


def _amendment(instrument: Instrument, options: ReplaceOptions) -> dict[str, Any]:
    unknown = set(options) - set(ReplaceOptions.__annotations__)
    if unknown:
        known = ", ".join(ReplaceOptions.__annotations__)
        raise TypeError(
            f"a staged order's {', '.join(sorted(unknown))} cannot be changed; these can: {known}"
        )
    quantity, price, stop_price = (options.get(name) for name in ("quantity", "price", "stop_price"))
    return {
        "quantity": None if quantity is None else instrument.quantity_units(_number(quantity)),
        "price": None if price is None else instrument.price_units(_number(price)),
        "stop_price": None
        if stop_price is None
        else instrument.price_units(_number(stop_price), "stop price"),
    }


def _number(value: object) -> Number:
    return value  # type: ignore[return-value]  # what it is, the conversion checks


def amend(instrument: Instrument, seen: StagedOrder, options: ReplaceOptions, *, why: str) -> Call[Staged]:
    """Changes it. Raises :class:`~toucan.client.errors.InvalidRequest` if nothing is given."""
    given = _amendment(instrument, options)
    if all(value is None for value in given.values()):
        raise InvalidRequest("an amendment changes something: give a quantity, a price or a stop price")

    def read(response: sp.AmendStagedOrderResponse, _: InstrumentTable, key: RequestKey) -> Staged:
        denials = tuple(map(decode.denial_of, response.denials))
        return Staged(
            staged_id=seen.staged_id,
            denials=denials,
            seq=response.seq,
            key=key,
            revision=response.revision,
        )

    return Call(
        method=_SERVICE + "AmendStagedOrder",
        request=sp.AmendStagedOrderRequest(
            staged_id=seen.staged_id, revision=seen.revision, why=why, **given
        ),
        response_type=sp.AmendStagedOrderResponse,
        read=read,
        is_mutating=True,
    )


def reject(staged_id: int, why: str) -> Call[values.Done]:
    """Ends it."""
    return Call(
        method=_SERVICE + "RejectStagedOrder",
        request=sp.RejectStagedOrderRequest(staged_id=staged_id, why=why),
        response_type=sp.RejectStagedOrderResponse,
        read=lambda response, _table, key: values.Done(seq=response.seq, key=key),
        is_mutating=True,
    )


def get(staged_id: int) -> Call[StagedOrder]:
    """One staged order."""
    return Call(
        method=_SERVICE + "GetStagedOrder",
        request=sp.GetStagedOrderRequest(staged_id=staged_id),
        response_type=sp.GetStagedOrderResponse,
        read=lambda response, table, _key: staged_order_of(response.staged, table.find),
        needs_table=True,
    )


def page(wanted: StagedFilter, size: int, token: str) -> Call[StagedPage]:
    """Some staged orders, the newest first."""

    def read(response: sp.ListStagedOrdersResponse, table: InstrumentTable, _: RequestKey) -> StagedPage:
        found = tuple(staged_order_of(message, table.find) for message in response.staged)
        return StagedPage(found, response.next_page_token)

    return Call(
        method=_SERVICE + "ListStagedOrders",
        request=sp.ListStagedOrdersRequest(
            filter=filter_to_wire(wanted), page_size=min(size, ORDERS_PAGE_MAX), page_token=token
        ),
        response_type=sp.ListStagedOrdersResponse,
        read=read,
        needs_table=True,
    )


def staged_order_of(message: sp.StagedOrder, find: Find) -> StagedOrder:
    """A staged order from its message."""
    instrument = find(message.terms.symbol)
    try:
        status = StagedState(message.status)
    except ValueError:
        raise ServerFault(
            f"the server sent staged status {message.status}, which this version of aviary does not know; update it"
        ) from None
    has_reference = message.HasField("reference_price")
    return StagedOrder(
        staged_id=message.staged_id,
        terms=decode.terms_of(message.terms, instrument),
        proposer=message.proposer,
        session=message.session,
        why=message.why,
        status=status,
        revision=message.revision,
        revisions=tuple(_revision_of(one, instrument) for one in message.revisions),
        denials=tuple(map(decode.denial_of, message.denials)),
        notional=Decimal(message.notional) if message.notional else None,
        reference_price=instrument.price(message.reference_price) if has_reference else None,
        proposed_ns=message.proposed_ns,
        expires_ns=message.expires_ns,
        updated_ns=message.updated_ns,
        updated_seq=message.updated_seq,
        decided_by=message.decided_by,
        decided_why=message.decided_why,
        decided_ns=message.decided_ns if message.HasField("decided_ns") else None,
        order_id=message.order_id if message.HasField("order_id") else None,
    )


def _revision_of(message: sp.StagedRevision, instrument: Instrument) -> StagedRevision:
    return StagedRevision(
        revision=message.revision,
        terms=decode.terms_of(message.terms, instrument),
        by=message.by,
        why=message.why,
        at_ns=message.at_ns,
    )


# ---------------------------------------------------------------- the stream


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedBatch(Batch[StagedUpdate]):
    """``updates``: all of the message, in a snapshot also those that were told before."""

    updates: tuple[StagedUpdate, ...]
    is_snapshot: bool
    #: The first and the last message of a snapshot.
    is_snapshot_begin: bool
    is_snapshot_end: bool


class StagedStream:
    """WatchStagedOrders; what was told is not told again, and what was not told is asked for (as :class:`~toucan.client.streams.OrderStream`)."""

    method = _SERVICE + "WatchStagedOrders"
    response_type: type[Message] = sp.WatchStagedOrdersResponse

    def __init__(
        self, wanted: sp.StagedFilter, *, after_seq: int | None = None, with_snapshot: bool = True
    ) -> None:
        self._filter = wanted
        self._with_snapshot = with_snapshot
        #: Everything up to here was told; None: nothing yet.
        self._after_seq = after_seq
        self._is_in_snapshot = False
        #: Told of a snapshot that has not ended: by staged order, the event that changed it last; and what was told before it.
        self._told_of_snapshot: dict[int, int] = {}
        self._known: list[StagedUpdate] = []

    def request(self) -> sp.WatchStagedOrdersRequest:
        """Begins a connection: what to ask for. A snapshot that had not ended counts for nothing."""
        self._is_in_snapshot, self._known = False, []
        told = self._after_seq
        return sp.WatchStagedOrdersRequest(
            filter=self._filter,
            after_seq=told,
            without_snapshot=not self._with_snapshot and told is None,
        )

    def take(self, response: sp.WatchStagedOrdersResponse, find: Find) -> StagedBatch:
        """What a message says."""
        is_snapshot = response.is_snapshot
        is_begin = is_snapshot and not self._is_in_snapshot
        updates = tuple(
            StagedUpdate(
                seq=one.seq,
                event=one.event,
                staged=staged_order_of(one.staged, find),
                at_ns=one.at_ns,
                is_snapshot=is_snapshot,
            )
            for one in response.updates
        )
        told = self._after_seq or 0
        news = self._changed(updates, told) if is_snapshot else tuple(u for u in updates if u.seq > told)
        self._is_in_snapshot = is_snapshot and not response.is_snapshot_end
        if response.is_snapshot_end:
            if response.seq < told:  # of another history: the engine's data were replaced
                news = (*self._known, *news)
            self._after_seq, self._known, self._told_of_snapshot = response.seq, [], {}
        elif not is_snapshot:
            self._after_seq = max(told, response.seq)
        return StagedBatch(
            news=news,
            updates=updates if is_snapshot else news,
            seq=response.seq,
            is_snapshot=is_snapshot,
            is_snapshot_begin=is_begin,
            is_snapshot_end=response.is_snapshot_end,
            is_stale=response.is_stale,
        )

    def _changed(self, updates: Iterable[StagedUpdate], told: int) -> tuple[StagedUpdate, ...]:
        news, partly = [], self._told_of_snapshot
        for update in updates:
            staged = update.staged
            if staged.updated_seq > max(told, partly.get(staged.staged_id, -1)):
                partly[staged.staged_id] = staged.updated_seq
                news.append(update)
            else:
                self._known.append(update)
        return tuple(news)
