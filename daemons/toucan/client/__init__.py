"""The Python client: orders, state, positions and streams, for threads here and for asyncio in :mod:`toucan.client.aio`.

    import toucan.client

    with toucan.client.connect("127.0.0.1:7070", account="ACC1") as toucan_:
        accepted = toucan_.buy("AAPL", 100, price="189.50", tif="ioc")
        print(toucan_.order(accepted.order_id).status.name)

Law: importing it needs grpcio and protobuf, and no package of the daemons or the command line. In reading order: :mod:`~toucan.client.values` and
:mod:`~toucan.client.errors` (what callers see), :mod:`~toucan.client.exact` and :mod:`~toucan.client.terms` (people's numbers),
:mod:`~toucan.client.calls` and :mod:`~toucan.client.streams` (the requests and streams), :mod:`~toucan.client.keys` and
:mod:`~toucan.client.resending` (what makes sending again safe), :mod:`~toucan.client.session_core`; then the pumps around them:
:mod:`~toucan.client.interrupts`, :mod:`~toucan.client.connection`, :mod:`~toucan.client.watch` and :mod:`~toucan.client.session`
for threads, :mod:`toucan.client.aio` for asyncio.
"""

from __future__ import annotations

from toucan.client.api import Toucan, connect
from toucan.client.blotter import Blotter
from toucan.client.errors import (
    Denied,
    InvalidRequest,
    NotEntitled,
    OutcomeUnknown,
    Refused,
    ServerFault,
    ServerUnavailable,
    ToucanError,
    Unauthenticated,
    UnknownInstrument,
)
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.session import Session
from toucan.client.staged_values import Staged, StagedOrder, StagedRevision, StagedUpdate
from toucan.client.terms import MARKET
from toucan.client.values import (
    Accepted,
    Book,
    Denial,
    Done,
    DropCopyEvent,
    DropCopyGap,
    Fill,
    Identity,
    Level,
    Limit,
    Limits,
    MarketData,
    MassCanceled,
    Order,
    OrderTerms,
    OrderUpdate,
    Position,
    Preview,
    RequestInFlight,
    RequestKey,
    RiskNode,
    Trade,
    TradeKind,
    Trades,
)
from toucan.client.watch import Watch
from toucan.core.values import (
    ExecType,
    OrderType,
    OrdStatus,
    RequestKind,
    Side,
    StagedState,
    TimeInForce,
    TradingLevel,
)

__all__ = [
    # the client
    "connect",
    "Toucan",
    "Session",
    "Watch",
    "Blotter",
    "MARKET",
    # what it gives back
    "Accepted",
    "Book",
    "Denial",
    "Done",
    "DropCopyEvent",
    "DropCopyGap",
    "Fill",
    "Identity",
    "Instrument",
    "InstrumentTable",
    "Level",
    "Limit",
    "Limits",
    "MarketData",
    "MassCanceled",
    "Order",
    "OrderTerms",
    "OrderUpdate",
    "Position",
    "Preview",
    "RequestInFlight",
    "RequestKey",
    "RiskNode",
    "Staged",
    "StagedOrder",
    "StagedRevision",
    "StagedUpdate",
    "Trade",
    "TradeKind",
    "Trades",
    # enumerations
    "ExecType",
    "OrderType",
    "OrdStatus",
    "RequestKind",
    "Side",
    "StagedState",
    "TimeInForce",
    "TradingLevel",
    # errors
    "ToucanError",
    "Denied",
    "InvalidRequest",
    "NotEntitled",
    "OutcomeUnknown",
    "Refused",
    "ServerFault",
    "ServerUnavailable",
    "Unauthenticated",
    "UnknownInstrument",
]
