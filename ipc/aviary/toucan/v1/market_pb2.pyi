from aviary.toucan.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TradeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRADE_KIND_UNSPECIFIED: _ClassVar[TradeKind]
    TRADE_KIND_TRADE: _ClassVar[TradeKind]
    TRADE_KIND_BUST: _ClassVar[TradeKind]
    TRADE_KIND_CORRECTION: _ClassVar[TradeKind]
TRADE_KIND_UNSPECIFIED: TradeKind
TRADE_KIND_TRADE: TradeKind
TRADE_KIND_BUST: TradeKind
TRADE_KIND_CORRECTION: TradeKind

class Trade(_message.Message):
    __slots__ = ("number", "kind", "trade_number", "price", "quantity", "aggressor", "at_ns")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TRADE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    AGGRESSOR_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    number: int
    kind: TradeKind
    trade_number: int
    price: int
    quantity: int
    aggressor: _types_pb2.Side
    at_ns: int
    def __init__(self, number: _Optional[int] = ..., kind: _Optional[_Union[TradeKind, str]] = ..., trade_number: _Optional[int] = ..., price: _Optional[int] = ..., quantity: _Optional[int] = ..., aggressor: _Optional[_Union[_types_pb2.Side, str]] = ..., at_ns: _Optional[int] = ...) -> None: ...

class MarketTrades(_message.Message):
    __slots__ = ("symbol", "life", "trades", "left_out", "left_out_quantity", "traded")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    TRADES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_QUANTITY_FIELD_NUMBER: _ClassVar[int]
    TRADED_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    life: str
    trades: _containers.RepeatedCompositeFieldContainer[Trade]
    left_out: int
    left_out_quantity: int
    traded: int
    def __init__(self, symbol: _Optional[str] = ..., life: _Optional[str] = ..., trades: _Optional[_Iterable[_Union[Trade, _Mapping]]] = ..., left_out: _Optional[int] = ..., left_out_quantity: _Optional[int] = ..., traded: _Optional[int] = ...) -> None: ...

class TradePlace(_message.Message):
    __slots__ = ("symbol", "life", "number", "traded")
    SYMBOL_FIELD_NUMBER: _ClassVar[int]
    LIFE_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TRADED_FIELD_NUMBER: _ClassVar[int]
    symbol: str
    life: str
    number: int
    traded: int
    def __init__(self, symbol: _Optional[str] = ..., life: _Optional[str] = ..., number: _Optional[int] = ..., traded: _Optional[int] = ...) -> None: ...
