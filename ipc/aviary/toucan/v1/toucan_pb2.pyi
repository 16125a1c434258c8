from aviary.toucan.v1 import market_pb2 as _market_pb2
from aviary.toucan.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RequestKey(_message.Message):
    __slots__ = ("session", "number")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    session: str
    number: int
    def __init__(self, session: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class SubmitOrderRequest(_message.Message):
    __slots__ = ("key", "terms", "is_confirmed")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    IS_CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    terms: _types_pb2.OrderTerms
    is_confirmed: bool
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., terms: _Optional[_Union[_types_pb2.OrderTerms, _Mapping]] = ..., is_confirmed: _Optional[bool] = ...) -> None: ...

class SubmitOrderResponse(_message.Message):
    __slots__ = ("order_id", "seq")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    seq: int
    def __init__(self, order_id: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class CancelOrderRequest(_message.Message):
    __slots__ = ("key", "order_id")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    order_id: int
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., order_id: _Optional[int] = ...) -> None: ...

class CancelOrderResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class ReplaceOrderRequest(_message.Message):
    __slots__ = ("key", "order_id", "quantity", "price", "stop_price", "is_confirmed")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    IS_CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    order_id: int
    quantity: int
    price: int
    stop_price: int
    is_confirmed: bool
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., order_id: _Optional[int] = ..., quantity: _Optional[int] = ..., price: _Optional[int] = ..., stop_price: _Optional[int] = ..., is_confirmed: _Optional[bool] = ...) -> None: ...

class ReplaceOrderResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class OrderFilter(_message.Message):
    __slots__ = ("accounts", "symbols", "side", "owners", "is_open", "statuses")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    IS_OPEN_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    side: _types_pb2.Side
    owners: _containers.RepeatedScalarFieldContainer[str]
    is_open: bool
    statuses: _containers.RepeatedScalarFieldContainer[_types_pb2.OrderStatus]
    def __init__(self, accounts: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[str]] = ..., side: _Optional[_Union[_types_pb2.Side, str]] = ..., owners: _Optional[_Iterable[str]] = ..., is_open: _Optional[bool] = ..., statuses: _Optional[_Iterable[_Union[_types_pb2.OrderStatus, str]]] = ...) -> None: ...

class MassCancelRequest(_message.Message):
    __slots__ = ("key", "account", "symbol", "side", "owner")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    account: str
    symbol: str
    side: _types_pb2.Side
    owner: str
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., account: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[_types_pb2.Side, str]] = ..., owner: _Optional[str] = ...) -> None: ...

class MassCancelResponse(_message.Message):
    __slots__ = ("order_ids", "skipped", "seq")
    ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    order_ids: _containers.RepeatedScalarFieldContainer[int]
    skipped: int
    seq: int
    def __init__(self, order_ids: _Optional[_Iterable[int]] = ..., skipped: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class PreviewOrderRequest(_message.Message):
    __slots__ = ("terms",)
    TERMS_FIELD_NUMBER: _ClassVar[int]
    terms: _types_pb2.OrderTerms
    def __init__(self, terms: _Optional[_Union[_types_pb2.OrderTerms, _Mapping]] = ...) -> None: ...

class PreviewOrderResponse(_message.Message):
    __slots__ = ("denials", "notional", "reference_price", "position")
    DENIALS_FIELD_NUMBER: _ClassVar[int]
    NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    denials: _containers.RepeatedCompositeFieldContainer[_types_pb2.Denial]
    notional: str
    reference_price: int
    position: int
    def __init__(self, denials: _Optional[_Iterable[_Union[_types_pb2.Denial, _Mapping]]] = ..., notional: _Optional[str] = ..., reference_price: _Optional[int] = ..., position: _Optional[int] = ...) -> None: ...

class GetOrderRequest(_message.Message):
    __slots__ = ("order_id", "min_seq")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    min_seq: int
    def __init__(self, order_id: _Optional[int] = ..., min_seq: _Optional[int] = ...) -> None: ...

class GetOrderResponse(_message.Message):
    __slots__ = ("order",)
    ORDER_FIELD_NUMBER: _ClassVar[int]
    order: _types_pb2.Order
    def __init__(self, order: _Optional[_Union[_types_pb2.Order, _Mapping]] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token", "min_seq")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    filter: OrderFilter
    page_size: int
    page_token: str
    min_seq: int
    def __init__(self, filter: _Optional[_Union[OrderFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_seq: _Optional[int] = ...) -> None: ...

class ListOrdersResponse(_message.Message):
    __slots__ = ("orders", "next_page_token", "seq")
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[_types_pb2.Order]
    next_page_token: str
    seq: int
    def __init__(self, orders: _Optional[_Iterable[_Union[_types_pb2.Order, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class ListPositionsRequest(_message.Message):
    __slots__ = ("accounts", "symbols", "by_trader", "min_seq")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    BY_TRADER_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    by_trader: bool
    min_seq: int
    def __init__(self, accounts: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[str]] = ..., by_trader: _Optional[bool] = ..., min_seq: _Optional[int] = ...) -> None: ...

class ListPositionsResponse(_message.Message):
    __slots__ = ("positions", "seq")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Position]
    seq: int
    def __init__(self, positions: _Optional[_Iterable[_Union[_types_pb2.Position, _Mapping]]] = ..., seq: _Optional[int] = ...) -> None: ...

class ListInstrumentsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListInstrumentsResponse(_message.Message):
    __slots__ = ("instruments",)
    INSTRUMENTS_FIELD_NUMBER: _ClassVar[int]
    instruments: _containers.RepeatedCompositeFieldContainer[_types_pb2.Instrument]
    def __init__(self, instruments: _Optional[_Iterable[_Union[_types_pb2.Instrument, _Mapping]]] = ...) -> None: ...

class GetIdentityRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetIdentityResponse(_message.Message):
    __slots__ = ("user", "accounts", "actions", "symbols")
    USER_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    user: str
    accounts: _containers.RepeatedScalarFieldContainer[str]
    actions: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, user: _Optional[str] = ..., accounts: _Optional[_Iterable[str]] = ..., actions: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchOrdersRequest(_message.Message):
    __slots__ = ("filter", "after_seq", "without_snapshot")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    filter: OrderFilter
    after_seq: int
    without_snapshot: bool
    def __init__(self, filter: _Optional[_Union[OrderFilter, _Mapping]] = ..., after_seq: _Optional[int] = ..., without_snapshot: _Optional[bool] = ...) -> None: ...

class WatchOrdersResponse(_message.Message):
    __slots__ = ("updates", "seq", "is_snapshot", "is_snapshot_end", "conflated", "is_stale")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    IS_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    IS_SNAPSHOT_END_FIELD_NUMBER: _ClassVar[int]
    CONFLATED_FIELD_NUMBER: _ClassVar[int]
    IS_STALE_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[_types_pb2.OrderUpdate]
    seq: int
    is_snapshot: bool
    is_snapshot_end: bool
    conflated: int
    is_stale: bool
    def __init__(self, updates: _Optional[_Iterable[_Union[_types_pb2.OrderUpdate, _Mapping]]] = ..., seq: _Optional[int] = ..., is_snapshot: _Optional[bool] = ..., is_snapshot_end: _Optional[bool] = ..., conflated: _Optional[int] = ..., is_stale: _Optional[bool] = ...) -> None: ...

class WatchPositionsRequest(_message.Message):
    __slots__ = ("accounts", "symbols", "by_trader")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    BY_TRADER_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    by_trader: bool
    def __init__(self, accounts: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[str]] = ..., by_trader: _Optional[bool] = ...) -> None: ...

class WatchPositionsResponse(_message.Message):
    __slots__ = ("positions", "seq", "is_stale")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    IS_STALE_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[_types_pb2.Position]
    seq: int
    is_stale: bool
    def __init__(self, positions: _Optional[_Iterable[_Union[_types_pb2.Position, _Mapping]]] = ..., seq: _Optional[int] = ..., is_stale: _Optional[bool] = ...) -> None: ...

class WatchMarketDataRequest(_message.Message):
    __slots__ = ("symbols", "depth", "rate_max", "with_trades", "without_prices", "trades_before", "after")
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    RATE_MAX_FIELD_NUMBER: _ClassVar[int]
    WITH_TRADES_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PRICES_FIELD_NUMBER: _ClassVar[int]
    TRADES_BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    depth: int
    rate_max: int
    with_trades: bool
    without_prices: bool
    trades_before: int
    after: _containers.RepeatedCompositeFieldContainer[_market_pb2.TradePlace]
    def __init__(self, symbols: _Optional[_Iterable[str]] = ..., depth: _Optional[int] = ..., rate_max: _Optional[int] = ..., with_trades: _Optional[bool] = ..., without_prices: _Optional[bool] = ..., trades_before: _Optional[int] = ..., after: _Optional[_Iterable[_Union[_market_pb2.TradePlace, _Mapping]]] = ...) -> None: ...

class WatchMarketDataResponse(_message.Message):
    __slots__ = ("market_data", "is_stale", "trades", "stale_symbols")
    MARKET_DATA_FIELD_NUMBER: _ClassVar[int]
    IS_STALE_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    STALE_SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    market_data: _containers.RepeatedCompositeFieldContainer[_types_pb2.MarketData]
    is_stale: bool
    trades: _containers.RepeatedCompositeFieldContainer[_market_pb2.MarketTrades]
    stale_symbols: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, market_data: _Optional[_Iterable[_Union[_types_pb2.MarketData, _Mapping]]] = ..., is_stale: _Optional[bool] = ..., trades: _Optional[_Iterable[_Union[_market_pb2.MarketTrades, _Mapping]]] = ..., stale_symbols: _Optional[_Iterable[str]] = ...) -> None: ...

class DropCopyRequest(_message.Message):
    __slots__ = ("after_seq", "accounts")
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    after_seq: int
    accounts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, after_seq: _Optional[int] = ..., accounts: _Optional[_Iterable[str]] = ...) -> None: ...

class DropCopyEvent(_message.Message):
    __slots__ = ("seq", "at_ns", "event", "user", "account", "order_id", "json")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    seq: int
    at_ns: int
    event: str
    user: str
    account: str
    order_id: int
    json: str
    def __init__(self, seq: _Optional[int] = ..., at_ns: _Optional[int] = ..., event: _Optional[str] = ..., user: _Optional[str] = ..., account: _Optional[str] = ..., order_id: _Optional[int] = ..., json: _Optional[str] = ...) -> None: ...

class DropCopyResponse(_message.Message):
    __slots__ = ("events", "seq", "gap_until_seq", "is_stale")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    GAP_UNTIL_SEQ_FIELD_NUMBER: _ClassVar[int]
    IS_STALE_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[DropCopyEvent]
    seq: int
    gap_until_seq: int
    is_stale: bool
    def __init__(self, events: _Optional[_Iterable[_Union[DropCopyEvent, _Mapping]]] = ..., seq: _Optional[int] = ..., gap_until_seq: _Optional[int] = ..., is_stale: _Optional[bool] = ...) -> None: ...

class SessionRequest(_message.Message):
    __slots__ = ("tag", "open", "submit", "cancel", "replace", "mass_cancel", "close")
    TAG_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    MASS_CANCEL_FIELD_NUMBER: _ClassVar[int]
    CLOSE_FIELD_NUMBER: _ClassVar[int]
    tag: int
    open: OpenSession
    submit: SubmitOrderRequest
    cancel: CancelOrderRequest
    replace: ReplaceOrderRequest
    mass_cancel: MassCancelRequest
    close: CloseSession
    def __init__(self, tag: _Optional[int] = ..., open: _Optional[_Union[OpenSession, _Mapping]] = ..., submit: _Optional[_Union[SubmitOrderRequest, _Mapping]] = ..., cancel: _Optional[_Union[CancelOrderRequest, _Mapping]] = ..., replace: _Optional[_Union[ReplaceOrderRequest, _Mapping]] = ..., mass_cancel: _Optional[_Union[MassCancelRequest, _Mapping]] = ..., close: _Optional[_Union[CloseSession, _Mapping]] = ...) -> None: ...

class OpenSession(_message.Message):
    __slots__ = ("session", "cancel_on_disconnect_ms", "after_seq")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_MS_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    session: str
    cancel_on_disconnect_ms: int
    after_seq: int
    def __init__(self, session: _Optional[str] = ..., cancel_on_disconnect_ms: _Optional[int] = ..., after_seq: _Optional[int] = ...) -> None: ...

class CloseSession(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionResponse(_message.Message):
    __slots__ = ("tag", "opened", "submit", "cancel", "replace", "mass_cancel", "error", "updates", "closed")
    TAG_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    MASS_CANCEL_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    tag: int
    opened: SessionOpened
    submit: SubmitOrderResponse
    cancel: CancelOrderResponse
    replace: ReplaceOrderResponse
    mass_cancel: MassCancelResponse
    error: SessionError
    updates: WatchOrdersResponse
    closed: CloseSessionDone
    def __init__(self, tag: _Optional[int] = ..., opened: _Optional[_Union[SessionOpened, _Mapping]] = ..., submit: _Optional[_Union[SubmitOrderResponse, _Mapping]] = ..., cancel: _Optional[_Union[CancelOrderResponse, _Mapping]] = ..., replace: _Optional[_Union[ReplaceOrderResponse, _Mapping]] = ..., mass_cancel: _Optional[_Union[MassCancelResponse, _Mapping]] = ..., error: _Optional[_Union[SessionError, _Mapping]] = ..., updates: _Optional[_Union[WatchOrdersResponse, _Mapping]] = ..., closed: _Optional[_Union[CloseSessionDone, _Mapping]] = ...) -> None: ...

class SessionOpened(_message.Message):
    __slots__ = ("last_number", "seq")
    LAST_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    last_number: int
    seq: int
    def __init__(self, last_number: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class CloseSessionDone(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionError(_message.Message):
    __slots__ = ("code", "message", "denial", "refusal")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DENIAL_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    denial: _types_pb2.Denial
    refusal: _types_pb2.Refusal
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., denial: _Optional[_Union[_types_pb2.Denial, _Mapping]] = ..., refusal: _Optional[_Union[_types_pb2.Refusal, _Mapping]] = ...) -> None: ...

class SetTradingStateRequest(_message.Message):
    __slots__ = ("key", "node", "level", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    node: str
    level: _types_pb2.TradingLevel
    reason: str
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., node: _Optional[str] = ..., level: _Optional[_Union[_types_pb2.TradingLevel, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SetTradingStateResponse(_message.Message):
    __slots__ = ("order_ids", "seq", "staged_ids")
    ORDER_IDS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    STAGED_IDS_FIELD_NUMBER: _ClassVar[int]
    order_ids: _containers.RepeatedScalarFieldContainer[int]
    seq: int
    staged_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, order_ids: _Optional[_Iterable[int]] = ..., seq: _Optional[int] = ..., staged_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListLimitsRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class ListLimitsResponse(_message.Message):
    __slots__ = ("nodes", "base_currency", "seq")
    NODES_FIELD_NUMBER: _ClassVar[int]
    BASE_CURRENCY_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[_types_pb2.RiskNode]
    base_currency: str
    seq: int
    def __init__(self, nodes: _Optional[_Iterable[_Union[_types_pb2.RiskNode, _Mapping]]] = ..., base_currency: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class SetLimitRequest(_message.Message):
    __slots__ = ("key", "node", "limit", "value", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    node: str
    limit: str
    value: str
    reason: str
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., node: _Optional[str] = ..., limit: _Optional[str] = ..., value: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class SetLimitResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class AdjustPositionRequest(_message.Message):
    __slots__ = ("key", "account", "trader", "symbol", "quantity", "price", "reason")
    KEY_FIELD_NUMBER: _ClassVar[int]
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    TRADER_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    key: RequestKey
    account: str
    trader: str
    symbol: str
    quantity: int
    price: int
    reason: str
    def __init__(self, key: _Optional[_Union[RequestKey, _Mapping]] = ..., account: _Optional[str] = ..., trader: _Optional[str] = ..., symbol: _Optional[str] = ..., quantity: _Optional[int] = ..., price: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class AdjustPositionResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...
