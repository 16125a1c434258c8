from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Side(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIDE_UNSPECIFIED: _ClassVar[Side]
    SIDE_BUY: _ClassVar[Side]
    SIDE_SELL: _ClassVar[Side]

class OrderType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_TYPE_UNSPECIFIED: _ClassVar[OrderType]
    ORDER_TYPE_MARKET: _ClassVar[OrderType]
    ORDER_TYPE_LIMIT: _ClassVar[OrderType]
    ORDER_TYPE_STOP: _ClassVar[OrderType]
    ORDER_TYPE_STOP_LIMIT: _ClassVar[OrderType]

class TimeInForce(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIME_IN_FORCE_UNSPECIFIED: _ClassVar[TimeInForce]
    TIME_IN_FORCE_DAY: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GTC: _ClassVar[TimeInForce]
    TIME_IN_FORCE_IOC: _ClassVar[TimeInForce]
    TIME_IN_FORCE_FOK: _ClassVar[TimeInForce]
    TIME_IN_FORCE_GTD: _ClassVar[TimeInForce]

class OrderStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ORDER_STATUS_UNSPECIFIED: _ClassVar[OrderStatus]
    ORDER_STATUS_PENDING_NEW: _ClassVar[OrderStatus]
    ORDER_STATUS_NEW: _ClassVar[OrderStatus]
    ORDER_STATUS_PARTIALLY_FILLED: _ClassVar[OrderStatus]
    ORDER_STATUS_FILLED: _ClassVar[OrderStatus]
    ORDER_STATUS_DONE_FOR_DAY: _ClassVar[OrderStatus]
    ORDER_STATUS_CANCELED: _ClassVar[OrderStatus]
    ORDER_STATUS_PENDING_CANCEL: _ClassVar[OrderStatus]
    ORDER_STATUS_STOPPED: _ClassVar[OrderStatus]
    ORDER_STATUS_REJECTED: _ClassVar[OrderStatus]
    ORDER_STATUS_SUSPENDED: _ClassVar[OrderStatus]
    ORDER_STATUS_EXPIRED: _ClassVar[OrderStatus]
    ORDER_STATUS_PENDING_REPLACE: _ClassVar[OrderStatus]

class ExecutionType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXECUTION_TYPE_UNSPECIFIED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_PENDING_NEW: _ClassVar[ExecutionType]
    EXECUTION_TYPE_NEW: _ClassVar[ExecutionType]
    EXECUTION_TYPE_TRADE: _ClassVar[ExecutionType]
    EXECUTION_TYPE_DONE_FOR_DAY: _ClassVar[ExecutionType]
    EXECUTION_TYPE_CANCELED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_REPLACED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_PENDING_CANCEL: _ClassVar[ExecutionType]
    EXECUTION_TYPE_PENDING_REPLACE: _ClassVar[ExecutionType]
    EXECUTION_TYPE_STOPPED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_REJECTED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_SUSPENDED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_EXPIRED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_RESTATED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_TRADE_CORRECT: _ClassVar[ExecutionType]
    EXECUTION_TYPE_TRADE_CANCEL: _ClassVar[ExecutionType]
    EXECUTION_TYPE_ORDER_STATUS: _ClassVar[ExecutionType]
    EXECUTION_TYPE_TRIGGERED: _ClassVar[ExecutionType]
    EXECUTION_TYPE_CANCEL_REJECT: _ClassVar[ExecutionType]

class RequestKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REQUEST_KIND_UNSPECIFIED: _ClassVar[RequestKind]
    REQUEST_KIND_NEW: _ClassVar[RequestKind]
    REQUEST_KIND_CANCEL: _ClassVar[RequestKind]
    REQUEST_KIND_REPLACE: _ClassVar[RequestKind]

class TradingLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADING_LEVEL_UNSPECIFIED: _ClassVar[TradingLevel]
    TRADING_LEVEL_NORMAL: _ClassVar[TradingLevel]
    TRADING_LEVEL_BLOCK_NEW: _ClassVar[TradingLevel]
    TRADING_LEVEL_CANCEL_ALL: _ClassVar[TradingLevel]
    TRADING_LEVEL_FREEZE: _ClassVar[TradingLevel]
SIDE_UNSPECIFIED: Side
SIDE_BUY: Side
SIDE_SELL: Side
ORDER_TYPE_UNSPECIFIED: OrderType
ORDER_TYPE_MARKET: OrderType
ORDER_TYPE_LIMIT: OrderType
ORDER_TYPE_STOP: OrderType
ORDER_TYPE_STOP_LIMIT: OrderType
TIME_IN_FORCE_UNSPECIFIED: TimeInForce
TIME_IN_FORCE_DAY: TimeInForce
TIME_IN_FORCE_GTC: TimeInForce
TIME_IN_FORCE_IOC: TimeInForce
TIME_IN_FORCE_FOK: TimeInForce
TIME_IN_FORCE_GTD: TimeInForce
ORDER_STATUS_UNSPECIFIED: OrderStatus
ORDER_STATUS_PENDING_NEW: OrderStatus
ORDER_STATUS_NEW: OrderStatus
ORDER_STATUS_PARTIALLY_FILLED: OrderStatus
ORDER_STATUS_FILLED: OrderStatus
ORDER_STATUS_DONE_FOR_DAY: OrderStatus
ORDER_STATUS_CANCELED: OrderStatus
ORDER_STATUS_PENDING_CANCEL: OrderStatus
ORDER_STATUS_STOPPED: OrderStatus
ORDER_STATUS_REJECTED: OrderStatus
ORDER_STATUS_SUSPENDED: OrderStatus
ORDER_STATUS_EXPIRED: OrderStatus
ORDER_STATUS_PENDING_REPLACE: OrderStatus
EXECUTION_TYPE_UNSPECIFIED: ExecutionType
EXECUTION_TYPE_PENDING_NEW: ExecutionType
EXECUTION_TYPE_NEW: ExecutionType
EXECUTION_TYPE_TRADE: ExecutionType
EXECUTION_TYPE_DONE_FOR_DAY: ExecutionType
EXECUTION_TYPE_CANCELED: ExecutionType
EXECUTION_TYPE_REPLACED: ExecutionType
EXECUTION_TYPE_PENDING_CANCEL: ExecutionType
EXECUTION_TYPE_PENDING_REPLACE: ExecutionType
EXECUTION_TYPE_STOPPED: ExecutionType
EXECUTION_TYPE_REJECTED: ExecutionType
EXECUTION_TYPE_SUSPENDED: ExecutionType
EXECUTION_TYPE_EXPIRED: ExecutionType
EXECUTION_TYPE_RESTATED: ExecutionType
EXECUTION_TYPE_TRADE_CORRECT: ExecutionType
EXECUTION_TYPE_TRADE_CANCEL: ExecutionType
EXECUTION_TYPE_ORDER_STATUS: ExecutionType
EXECUTION_TYPE_TRIGGERED: ExecutionType
EXECUTION_TYPE_CANCEL_REJECT: ExecutionType
REQUEST_KIND_UNSPECIFIED: RequestKind
REQUEST_KIND_NEW: RequestKind
REQUEST_KIND_CANCEL: RequestKind
REQUEST_KIND_REPLACE: RequestKind
TRADING_LEVEL_UNSPECIFIED: TradingLevel
TRADING_LEVEL_NORMAL: TradingLevel
TRADING_LEVEL_BLOCK_NEW: TradingLevel
TRADING_LEVEL_CANCEL_ALL: TradingLevel
TRADING_LEVEL_FREEZE: TradingLevel

class Instrument(_message.Message):
    __slots__ = ("symbol", "currency", "venue", "price_decimals", "quantity_decimals", "tick", "lot", "multiplier", "description", "is_open", "session_end_ns")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    PRICE_DECIMALS_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_DECIMALS_FIELD_NUMBER: _ClassVar[int]
    TICK_FIELD_NUMBER: _ClassVar[int]
    LOT_FIELD_NUMBER: _ClassVar[int]
    MULTIPLIER_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IS_OPEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_END_NS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    currency: str
    venue: str
    price_decimals: int
    quantity_decimals: int
    tick: int
    lot: int
    multiplier: int
    description: str
    is_open: bool
    session_end_ns: int
    def __init__(self, symbol: _Optional[str] = ..., currency: _Optional[str] = ..., venue: _Optional[str] = ..., price_decimals: _Optional[int] = ..., quantity_decimals: _Optional[int] = ..., tick: _Optional[int] = ..., lot: _Optional[int] = ..., multiplier: _Optional[int] = ..., description: _Optional[str] = ..., is_open: _Optional[bool] = ..., session_end_ns: _Optional[int] = ...) -> None: ...

class OrderTerms(_message.Message):
    __slots__ = ("account", "symbol", "side", "type", "time_in_force", "quantity", "price", "stop_price", "max_floor", "post_only", "reduce_only", "expire_at_ns", "note")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TIME_IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    MAX_FLOOR_FIELD_NUMBER: _ClassVar[int]
    POST_ONLY_FIELD_NUMBER: _ClassVar[int]
    REDUCE_ONLY_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_AT_NS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    account: str
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    quantity: int
    price: int
    stop_price: int
    max_floor: int
    post_only: bool
    reduce_only: bool
    expire_at_ns: int
    note: str
    def __init__(self, account: _Optional[str] = ..., symbol: _Optional[str] = ..., side: _Optional[_Union[Side, str]] = ..., type: _Optional[_Union[OrderType, str]] = ..., time_in_force: _Optional[_Union[TimeInForce, str]] = ..., quantity: _Optional[int] = ..., price: _Optional[int] = ..., stop_price: _Optional[int] = ..., max_floor: _Optional[int] = ..., post_only: _Optional[bool] = ..., reduce_only: _Optional[bool] = ..., expire_at_ns: _Optional[int] = ..., note: _Optional[str] = ...) -> None: ...

class RequestInFlight(_message.Message):
    __slots__ = ("kind", "cl_ord_id", "is_acknowledged", "terms", "by")
    KIND_FIELD_NUMBER: _ClassVar[int]
    CL_ORD_ID_FIELD_NUMBER: _ClassVar[int]
    IS_ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    kind: RequestKind
    cl_ord_id: str
    is_acknowledged: bool
    terms: OrderTerms
    by: str
    def __init__(self, kind: _Optional[_Union[RequestKind, str]] = ..., cl_ord_id: _Optional[str] = ..., is_acknowledged: _Optional[bool] = ..., terms: _Optional[_Union[OrderTerms, _Mapping]] = ..., by: _Optional[str] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("order_id", "terms", "owner", "session", "venue", "status", "cum_quantity", "leaves_quantity", "average_price", "requests", "venue_order_id", "cl_ord_id", "created_ns", "updated_ns", "updated_seq", "reason", "text", "is_triggered", "is_external")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VENUE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CUM_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LEAVES_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    VENUE_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    CL_ORD_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_NS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_NS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_SEQ_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    IS_TRIGGERED_FIELD_NUMBER: _ClassVar[int]
    IS_EXTERNAL_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    terms: OrderTerms
    owner: str
    session: str
    venue: str
    status: OrderStatus
    cum_quantity: int
    leaves_quantity: int
    average_price: str
    requests: _containers.RepeatedCompositeFieldContainer[RequestInFlight]
    venue_order_id: str
    cl_ord_id: str
    created_ns: int
    updated_ns: int
    updated_seq: int
    reason: str
    text: str
    is_triggered: bool
    is_external: bool
    def __init__(self, order_id: _Optional[int] = ..., terms: _Optional[_Union[OrderTerms, _Mapping]] = ..., owner: _Optional[str] = ..., session: _Optional[str] = ..., venue: _Optional[str] = ..., status: _Optional[_Union[OrderStatus, str]] = ..., cum_quantity: _Optional[int] = ..., leaves_quantity: _Optional[int] = ..., average_price: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[RequestInFlight, _Mapping]]] = ..., venue_order_id: _Optional[str] = ..., cl_ord_id: _Optional[str] = ..., created_ns: _Optional[int] = ..., updated_ns: _Optional[int] = ..., updated_seq: _Optional[int] = ..., reason: _Optional[str] = ..., text: _Optional[str] = ..., is_triggered: _Optional[bool] = ..., is_external: _Optional[bool] = ...) -> None: ...

class Execution(_message.Message):
    __slots__ = ("exec_id", "exec_ref_id", "quantity", "price")
    EXEC_ID_FIELD_NUMBER: _ClassVar[int]
    EXEC_REF_ID_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    exec_id: str
    exec_ref_id: str
    quantity: int
    price: int
    def __init__(self, exec_id: _Optional[str] = ..., exec_ref_id: _Optional[str] = ..., quantity: _Optional[int] = ..., price: _Optional[int] = ...) -> None: ...

class OrderUpdate(_message.Message):
    __slots__ = ("seq", "execution_type", "event", "order", "execution", "at_ns")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    ORDER_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    execution_type: ExecutionType
    event: str
    order: Order
    execution: Execution
    at_ns: int
    def __init__(self, seq: _Optional[int] = ..., execution_type: _Optional[_Union[ExecutionType, str]] = ..., event: _Optional[str] = ..., order: _Optional[_Union[Order, _Mapping]] = ..., execution: _Optional[_Union[Execution, _Mapping]] = ..., at_ns: _Optional[int] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("account", "trader", "symbol", "quantity", "average_price", "realised_profit", "unrealised_profit", "mark_price", "bought_quantity", "sold_quantity", "currency", "is_approximate", "updated_seq")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    TRADER_FIELD_NUMBER: _ClassVar[int]
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AVERAGE_PRICE_FIELD_NUMBER: _ClassVar[int]
    REALISED_PROFIT_FIELD_NUMBER: _ClassVar[int]
    UNREALISED_PROFIT_FIELD_NUMBER: _ClassVar[int]
    MARK_PRICE_FIELD_NUMBER: _ClassVar[int]
    BOUGHT_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    SOLD_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    CURRENCY_FIELD_NUMBER: _ClassVar[int]
    IS_APPROXIMATE_FIELD_NUMBER: _ClassVar[int]
    UPDATED_SEQ_FIELD_NUMBER: _ClassVar[int]
    account: str
    trader: str
    symbol: str
    quantity: int
    average_price: str
    realised_profit: str
    unrealised_profit: str
    mark_price: int
    bought_quantity: int
    sold_quantity: int
    currency: str
    is_approximate: bool
    updated_seq: int
    def __init__(self, account: _Optional[str] = ..., trader: _Optional[str] = ..., symbol: _Optional[str] = ..., quantity: _Optional[int] = ..., average_price: _Optional[str] = ..., realised_profit: _Optional[str] = ..., unrealised_profit: _Optional[str] = ..., mark_price: _Optional[int] = ..., bought_quantity: _Optional[int] = ..., sold_quantity: _Optional[int] = ..., currency: _Optional[str] = ..., is_approximate: _Optional[bool] = ..., updated_seq: _Optional[int] = ...) -> None: ...

class Denial(_message.Message):
    __slots__ = ("code", "node", "limit", "value", "maximum", "text", "can_be_confirmed")
    CODE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CAN_BE_CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    code: str
    node: str
    limit: str
    value: str
    maximum: str
    text: str
    can_be_confirmed: bool
    def __init__(self, code: _Optional[str] = ..., node: _Optional[str] = ..., limit: _Optional[str] = ..., value: _Optional[str] = ..., maximum: _Optional[str] = ..., text: _Optional[str] = ..., can_be_confirmed: _Optional[bool] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("code", "text")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    code: str
    text: str
    def __init__(self, code: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

class Limit(_message.Message):
    __slots__ = ("node", "name", "value")
    NODE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    node: str
    name: str
    value: str
    def __init__(self, node: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class RiskNode(_message.Message):
    __slots__ = ("node", "level", "effective_level", "blocked_until_ns", "limits", "open_orders", "open_notional")
    NODE_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    EFFECTIVE_LEVEL_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_UNTIL_NS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    OPEN_ORDERS_FIELD_NUMBER: _ClassVar[int]
    OPEN_NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    node: str
    level: TradingLevel
    effective_level: TradingLevel
    blocked_until_ns: int
    limits: _containers.RepeatedCompositeFieldContainer[Limit]
    open_orders: int
    open_notional: str
    def __init__(self, node: _Optional[str] = ..., level: _Optional[_Union[TradingLevel, str]] = ..., effective_level: _Optional[_Union[TradingLevel, str]] = ..., blocked_until_ns: _Optional[int] = ..., limits: _Optional[_Iterable[_Union[Limit, _Mapping]]] = ..., open_orders: _Optional[int] = ..., open_notional: _Optional[str] = ...) -> None: ...

class Level(_message.Message):
    __slots__ = ("price", "quantity", "orders")
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    price: int
    quantity: int
    orders: int
    def __init__(self, price: _Optional[int] = ..., quantity: _Optional[int] = ..., orders: _Optional[int] = ...) -> None: ...

class MarketData(_message.Message):
    __slots__ = ("symbol", "bid_price", "bid_quantity", "ask_price", "ask_quantity", "last_price", "last_quantity", "volume", "is_halted", "at_ns", "bids", "asks")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    BID_PRICE_FIELD_NUMBER: _ClassVar[int]
    BID_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    ASK_PRICE_FIELD_NUMBER: _ClassVar[int]
    ASK_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    LAST_PRICE_FIELD_NUMBER: _ClassVar[int]
    LAST_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    IS_HALTED_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    BIDS_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    bid_price: int
    bid_quantity: int
    ask_price: int
    ask_quantity: int
    last_price: int
    last_quantity: int
    volume: int
    is_halted: bool
    at_ns: int
    bids: _containers.RepeatedCompositeFieldContainer[Level]
    asks: _containers.RepeatedCompositeFieldContainer[Level]
    def __init__(self, symbol: _Optional[str] = ..., bid_price: _Optional[int] = ..., bid_quantity: _Optional[int] = ..., ask_price: _Optional[int] = ..., ask_quantity: _Optional[int] = ..., last_price: _Optional[int] = ..., last_quantity: _Optional[int] = ..., volume: _Optional[int] = ..., is_halted: _Optional[bool] = ..., at_ns: _Optional[int] = ..., bids: _Optional[_Iterable[_Union[Level, _Mapping]]] = ..., asks: _Optional[_Iterable[_Union[Level, _Mapping]]] = ...) -> None: ...
