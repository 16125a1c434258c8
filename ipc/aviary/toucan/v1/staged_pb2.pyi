from aviary.toucan.v1 import toucan_pb2 as _toucan_pb2
from aviary.toucan.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StagedStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STAGED_STATUS_UNSPECIFIED: _ClassVar[StagedStatus]
    STAGED_STATUS_PROPOSED: _ClassVar[StagedStatus]
    STAGED_STATUS_RELEASED: _ClassVar[StagedStatus]
    STAGED_STATUS_REJECTED: _ClassVar[StagedStatus]
    STAGED_STATUS_WITHDRAWN: _ClassVar[StagedStatus]
    STAGED_STATUS_EXPIRED: _ClassVar[StagedStatus]
STAGED_STATUS_UNSPECIFIED: StagedStatus
STAGED_STATUS_PROPOSED: StagedStatus
STAGED_STATUS_RELEASED: StagedStatus
STAGED_STATUS_REJECTED: StagedStatus
STAGED_STATUS_WITHDRAWN: StagedStatus
STAGED_STATUS_EXPIRED: StagedStatus

class StagedRevision(_message.Message):
    __slots__ = ("revision", "terms", "by", "why", "at_ns")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    terms: _types_pb2.OrderTerms
    by: str
    why: str
    at_ns: int
    def __init__(self, revision: _Optional[int] = ..., terms: _Optional[_Union[_types_pb2.OrderTerms, _Mapping]] = ..., by: _Optional[str] = ..., why: _Optional[str] = ..., at_ns: _Optional[int] = ...) -> None: ...

class StagedOrder(_message.Message):
    __slots__ = ("staged_id", "terms", "proposer", "session", "why", "status", "revision", "revisions", "denials", "notional", "reference_price", "proposed_ns", "expires_ns", "updated_ns", "updated_seq", "decided_by", "decided_why", "decided_ns", "order_id")
    STAGED_ID_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    PROPOSER_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REVISIONS_FIELD_NUMBER: _ClassVar[int]
    DENIALS_FIELD_NUMBER: _ClassVar[int]
    NOTIONAL_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_PRICE_FIELD_NUMBER: _ClassVar[int]
    PROPOSED_NS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_NS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_SEQ_FIELD_NUMBER: _ClassVar[int]
    DECIDED_BY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_WHY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_NS_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    staged_id: int
    terms: _types_pb2.OrderTerms
    proposer: str
    session: str
    why: str
    status: StagedStatus
    revision: int
    revisions: _containers.RepeatedCompositeFieldContainer[StagedRevision]
    denials: _containers.RepeatedCompositeFieldContainer[_types_pb2.Denial]
    notional: str
    reference_price: int
    proposed_ns: int
    expires_ns: int
    updated_ns: int
    updated_seq: int
    decided_by: str
    decided_why: str
    decided_ns: int
    order_id: int
    def __init__(self, staged_id: _Optional[int] = ..., terms: _Optional[_Union[_types_pb2.OrderTerms, _Mapping]] = ..., proposer: _Optional[str] = ..., session: _Optional[str] = ..., why: _Optional[str] = ..., status: _Optional[_Union[StagedStatus, str]] = ..., revision: _Optional[int] = ..., revisions: _Optional[_Iterable[_Union[StagedRevision, _Mapping]]] = ..., denials: _Optional[_Iterable[_Union[_types_pb2.Denial, _Mapping]]] = ..., notional: _Optional[str] = ..., reference_price: _Optional[int] = ..., proposed_ns: _Optional[int] = ..., expires_ns: _Optional[int] = ..., updated_ns: _Optional[int] = ..., updated_seq: _Optional[int] = ..., decided_by: _Optional[str] = ..., decided_why: _Optional[str] = ..., decided_ns: _Optional[int] = ..., order_id: _Optional[int] = ...) -> None: ...

class StagedUpdate(_message.Message):
    __slots__ = ("seq", "event", "staged", "at_ns")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    STAGED_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    event: str
    staged: StagedOrder
    at_ns: int
    def __init__(self, seq: _Optional[int] = ..., event: _Optional[str] = ..., staged: _Optional[_Union[StagedOrder, _Mapping]] = ..., at_ns: _Optional[int] = ...) -> None: ...

class StageOrderRequest(_message.Message):
    __slots__ = ("key", "terms", "why", "time_to_live_ms")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TERMS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_MS_FIELD_NUMBER: _ClassVar[int]
    key: _toucan_pb2.RequestKey
    terms: _types_pb2.OrderTerms
    why: str
    time_to_live_ms: int
    def __init__(self, key: _Optional[_Union[_toucan_pb2.RequestKey, _Mapping]] = ..., terms: _Optional[_Union[_types_pb2.OrderTerms, _Mapping]] = ..., why: _Optional[str] = ..., time_to_live_ms: _Optional[int] = ...) -> None: ...

class StageOrderResponse(_message.Message):
    __slots__ = ("staged_id", "denials", "seq")
    STAGED_ID_FIELD_NUMBER: _ClassVar[int]
    DENIALS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    staged_id: int
    denials: _containers.RepeatedCompositeFieldContainer[_types_pb2.Denial]
    seq: int
    def __init__(self, staged_id: _Optional[int] = ..., denials: _Optional[_Iterable[_Union[_types_pb2.Denial, _Mapping]]] = ..., seq: _Optional[int] = ...) -> None: ...

class ReleaseStagedOrderRequest(_message.Message):
    __slots__ = ("key", "staged_id", "revision", "quantity", "price", "stop_price", "why", "is_confirmed")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STAGED_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    IS_CONFIRMED_FIELD_NUMBER: _ClassVar[int]
    key: _toucan_pb2.RequestKey
    staged_id: int
    revision: int
    quantity: int
    price: int
    stop_price: int
    why: str
    is_confirmed: bool
    def __init__(self, key: _Optional[_Union[_toucan_pb2.RequestKey, _Mapping]] = ..., staged_id: _Optional[int] = ..., revision: _Optional[int] = ..., quantity: _Optional[int] = ..., price: _Optional[int] = ..., stop_price: _Optional[int] = ..., why: _Optional[str] = ..., is_confirmed: _Optional[bool] = ...) -> None: ...

class ReleaseStagedOrderResponse(_message.Message):
    __slots__ = ("order_id", "seq")
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    order_id: int
    seq: int
    def __init__(self, order_id: _Optional[int] = ..., seq: _Optional[int] = ...) -> None: ...

class AmendStagedOrderRequest(_message.Message):
    __slots__ = ("key", "staged_id", "revision", "quantity", "price", "stop_price", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STAGED_ID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    QUANTITY_FIELD_NUMBER: _ClassVar[int]
    PRICE_FIELD_NUMBER: _ClassVar[int]
    STOP_PRICE_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: _toucan_pb2.RequestKey
    staged_id: int
    revision: int
    quantity: int
    price: int
    stop_price: int
    why: str
    def __init__(self, key: _Optional[_Union[_toucan_pb2.RequestKey, _Mapping]] = ..., staged_id: _Optional[int] = ..., revision: _Optional[int] = ..., quantity: _Optional[int] = ..., price: _Optional[int] = ..., stop_price: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class AmendStagedOrderResponse(_message.Message):
    __slots__ = ("revision", "denials", "seq")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DENIALS_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    revision: int
    denials: _containers.RepeatedCompositeFieldContainer[_types_pb2.Denial]
    seq: int
    def __init__(self, revision: _Optional[int] = ..., denials: _Optional[_Iterable[_Union[_types_pb2.Denial, _Mapping]]] = ..., seq: _Optional[int] = ...) -> None: ...

class RejectStagedOrderRequest(_message.Message):
    __slots__ = ("key", "staged_id", "why")
    KEY_FIELD_NUMBER: _ClassVar[int]
    STAGED_ID_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    key: _toucan_pb2.RequestKey
    staged_id: int
    why: str
    def __init__(self, key: _Optional[_Union[_toucan_pb2.RequestKey, _Mapping]] = ..., staged_id: _Optional[int] = ..., why: _Optional[str] = ...) -> None: ...

class RejectStagedOrderResponse(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class GetStagedOrderRequest(_message.Message):
    __slots__ = ("staged_id", "min_seq")
    STAGED_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    staged_id: int
    min_seq: int
    def __init__(self, staged_id: _Optional[int] = ..., min_seq: _Optional[int] = ...) -> None: ...

class GetStagedOrderResponse(_message.Message):
    __slots__ = ("staged",)
    STAGED_FIELD_NUMBER: _ClassVar[int]
    staged: StagedOrder
    def __init__(self, staged: _Optional[_Union[StagedOrder, _Mapping]] = ...) -> None: ...

class StagedFilter(_message.Message):
    __slots__ = ("accounts", "symbols", "proposers", "is_pending")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    SYMBOLS_FIELD_NUMBER: _ClassVar[int]
    PROPOSERS_FIELD_NUMBER: _ClassVar[int]
    IS_PENDING_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedScalarFieldContainer[str]
    symbols: _containers.RepeatedScalarFieldContainer[str]
    proposers: _containers.RepeatedScalarFieldContainer[str]
    is_pending: bool
    def __init__(self, accounts: _Optional[_Iterable[str]] = ..., symbols: _Optional[_Iterable[str]] = ..., proposers: _Optional[_Iterable[str]] = ..., is_pending: _Optional[bool] = ...) -> None: ...

class ListStagedOrdersRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token", "min_seq")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_SEQ_FIELD_NUMBER: _ClassVar[int]
    filter: StagedFilter
    page_size: int
    page_token: str
    min_seq: int
    def __init__(self, filter: _Optional[_Union[StagedFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_seq: _Optional[int] = ...) -> None: ...

class ListStagedOrdersResponse(_message.Message):
    __slots__ = ("staged", "next_page_token", "seq")
    STAGED_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    staged: _containers.RepeatedCompositeFieldContainer[StagedOrder]
    next_page_token: str
    seq: int
    def __init__(self, staged: _Optional[_Iterable[_Union[StagedOrder, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., seq: _Optional[int] = ...) -> None: ...

class WatchStagedOrdersRequest(_message.Message):
    __slots__ = ("filter", "after_seq", "without_snapshot")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    filter: StagedFilter
    after_seq: int
    without_snapshot: bool
    def __init__(self, filter: _Optional[_Union[StagedFilter, _Mapping]] = ..., after_seq: _Optional[int] = ..., without_snapshot: _Optional[bool] = ...) -> None: ...

class WatchStagedOrdersResponse(_message.Message):
    __slots__ = ("updates", "seq", "is_snapshot", "is_snapshot_end", "is_stale")
    UPDATES_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    IS_SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    IS_SNAPSHOT_END_FIELD_NUMBER: _ClassVar[int]
    IS_STALE_FIELD_NUMBER: _ClassVar[int]
    updates: _containers.RepeatedCompositeFieldContainer[StagedUpdate]
    seq: int
    is_snapshot: bool
    is_snapshot_end: bool
    is_stale: bool
    def __init__(self, updates: _Optional[_Iterable[_Union[StagedUpdate, _Mapping]]] = ..., seq: _Optional[int] = ..., is_snapshot: _Optional[bool] = ..., is_snapshot_end: _Optional[bool] = ..., is_stale: _Optional[bool] = ...) -> None: ...
