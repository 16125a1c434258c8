from aviary.cashy.v1 import operate_pb2 as _operate_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Tier(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TIER_UNSPECIFIED: _ClassVar[Tier]
    TIER_LOCAL_MEMORY: _ClassVar[Tier]
    TIER_LOCAL_SSD: _ClassVar[Tier]
    TIER_PEER: _ClassVar[Tier]
    TIER_ORIGIN: _ClassVar[Tier]
    TIER_UNKNOWN: _ClassVar[Tier]

class HostState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOST_STATE_UNSPECIFIED: _ClassVar[HostState]
    HOST_JOINING: _ClassVar[HostState]
    HOST_UP: _ClassVar[HostState]
    HOST_DOWN: _ClassVar[HostState]
    HOST_DRAINING: _ClassVar[HostState]
TIER_UNSPECIFIED: Tier
TIER_LOCAL_MEMORY: Tier
TIER_LOCAL_SSD: Tier
TIER_PEER: Tier
TIER_ORIGIN: Tier
TIER_UNKNOWN: Tier
HOST_STATE_UNSPECIFIED: HostState
HOST_JOINING: HostState
HOST_UP: HostState
HOST_DOWN: HostState
HOST_DRAINING: HostState

class Hello(_message.Message):
    __slots__ = ("protocol_version", "can_pin", "program", "wants_channel")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CAN_PIN_FIELD_NUMBER: _ClassVar[int]
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    WANTS_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    can_pin: bool
    program: str
    wants_channel: bool
    def __init__(self, protocol_version: _Optional[int] = ..., can_pin: _Optional[bool] = ..., program: _Optional[str] = ..., wants_channel: _Optional[bool] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("protocol_version", "arena_id", "arena_bytes", "pin_bytes_max", "mappings_max", "private_bytes_max", "block_bytes", "has_channel", "has_no_table", "mapped_bytes_max")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ARENA_ID_FIELD_NUMBER: _ClassVar[int]
    ARENA_BYTES_FIELD_NUMBER: _ClassVar[int]
    PIN_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    MAPPINGS_MAX_FIELD_NUMBER: _ClassVar[int]
    PRIVATE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    HAS_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    HAS_NO_TABLE_FIELD_NUMBER: _ClassVar[int]
    MAPPED_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    arena_id: int
    arena_bytes: int
    pin_bytes_max: int
    mappings_max: int
    private_bytes_max: int
    block_bytes: int
    has_channel: bool
    has_no_table: bool
    mapped_bytes_max: int
    def __init__(self, protocol_version: _Optional[int] = ..., arena_id: _Optional[int] = ..., arena_bytes: _Optional[int] = ..., pin_bytes_max: _Optional[int] = ..., mappings_max: _Optional[int] = ..., private_bytes_max: _Optional[int] = ..., block_bytes: _Optional[int] = ..., has_channel: _Optional[bool] = ..., has_no_table: _Optional[bool] = ..., mapped_bytes_max: _Optional[int] = ...) -> None: ...

class OnSocket(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NewTable(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TableGranted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Stat(_message.Message):
    __slots__ = ("name", "revalidate", "may_be_stale")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVALIDATE_FIELD_NUMBER: _ClassVar[int]
    MAY_BE_STALE_FIELD_NUMBER: _ClassVar[int]
    name: str
    revalidate: bool
    may_be_stale: bool
    def __init__(self, name: _Optional[str] = ..., revalidate: _Optional[bool] = ..., may_be_stale: _Optional[bool] = ...) -> None: ...

class ObjectInfo(_message.Message):
    __slots__ = ("content_id", "size", "block_bytes", "version", "last_modified", "content_type", "headers", "user_metadata", "tier", "stale_for_ms", "age_ms")
    CONTENT_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    USER_METADATA_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    STALE_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    AGE_MS_FIELD_NUMBER: _ClassVar[int]
    content_id: bytes
    size: int
    block_bytes: int
    version: str
    last_modified: float
    content_type: str
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    user_metadata: _containers.RepeatedCompositeFieldContainer[Header]
    tier: Tier
    stale_for_ms: int
    age_ms: int
    def __init__(self, content_id: _Optional[bytes] = ..., size: _Optional[int] = ..., block_bytes: _Optional[int] = ..., version: _Optional[str] = ..., last_modified: _Optional[float] = ..., content_type: _Optional[str] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., user_metadata: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., tier: _Optional[_Union[Tier, str]] = ..., stale_for_ms: _Optional[int] = ..., age_ms: _Optional[int] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Fetch(_message.Message):
    __slots__ = ("name", "first_block", "block_count", "content_id", "streaming", "stream", "deadline_ms", "caller", "mapped")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ID_FIELD_NUMBER: _ClassVar[int]
    STREAMING_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    MAPPED_FIELD_NUMBER: _ClassVar[int]
    name: str
    first_block: int
    block_count: int
    content_id: bytes
    streaming: bool
    stream: int
    deadline_ms: int
    caller: str
    mapped: bool
    def __init__(self, name: _Optional[str] = ..., first_block: _Optional[int] = ..., block_count: _Optional[int] = ..., content_id: _Optional[bytes] = ..., streaming: _Optional[bool] = ..., stream: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., caller: _Optional[str] = ..., mapped: _Optional[bool] = ...) -> None: ...

class BlockReady(_message.Message):
    __slots__ = ("block", "slot", "generation", "length", "filling", "tier", "mapped", "offset")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    FILLING_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    MAPPED_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    block: int
    slot: int
    generation: int
    length: int
    filling: bool
    tier: Tier
    mapped: bool
    offset: int
    def __init__(self, block: _Optional[int] = ..., slot: _Optional[int] = ..., generation: _Optional[int] = ..., length: _Optional[int] = ..., filling: _Optional[bool] = ..., tier: _Optional[_Union[Tier, str]] = ..., mapped: _Optional[bool] = ..., offset: _Optional[int] = ...) -> None: ...

class BlockProgress(_message.Message):
    __slots__ = ("block", "watermark", "complete")
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    block: int
    watermark: int
    complete: bool
    def __init__(self, block: _Optional[int] = ..., watermark: _Optional[int] = ..., complete: _Optional[bool] = ...) -> None: ...

class FetchDone(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Release(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Prefetch(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, names: _Optional[_Iterable[str]] = ...) -> None: ...

class PrefetchAccepted(_message.Message):
    __slots__ = ("accepted",)
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    def __init__(self, accepted: _Optional[int] = ...) -> None: ...

class Status(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReport(_message.Message):
    __slots__ = ("instance", "pid", "arena_id", "arena_bytes", "counters", "host", "uptime_s", "version")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    ARENA_ID_FIELD_NUMBER: _ClassVar[int]
    ARENA_BYTES_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    instance: str
    pid: int
    arena_id: int
    arena_bytes: int
    counters: _containers.ScalarMap[str, int]
    host: str
    uptime_s: float
    version: str
    def __init__(self, instance: _Optional[str] = ..., pid: _Optional[int] = ..., arena_id: _Optional[int] = ..., arena_bytes: _Optional[int] = ..., counters: _Optional[_Mapping[str, int]] = ..., host: _Optional[str] = ..., uptime_s: _Optional[float] = ..., version: _Optional[str] = ...) -> None: ...

class ClusterStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ClusterReport(_message.Message):
    __slots__ = ("hosts",)
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    hosts: _containers.RepeatedCompositeFieldContainer[HostStatus]
    def __init__(self, hosts: _Optional[_Iterable[_Union[HostStatus, _Mapping]]] = ...) -> None: ...

class HostStatus(_message.Message):
    __slots__ = ("name", "address", "weight", "is_self", "error", "status", "state", "share", "membership_version", "has_list")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    IS_SELF_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    MEMBERSHIP_VERSION_FIELD_NUMBER: _ClassVar[int]
    HAS_LIST_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    weight: float
    is_self: bool
    error: str
    status: StatusReport
    state: HostState
    share: float
    membership_version: int
    has_list: bool
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., weight: _Optional[float] = ..., is_self: _Optional[bool] = ..., error: _Optional[str] = ..., status: _Optional[_Union[StatusReport, _Mapping]] = ..., state: _Optional[_Union[HostState, str]] = ..., share: _Optional[float] = ..., membership_version: _Optional[int] = ..., has_list: _Optional[bool] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("names", "is_over")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    is_over: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., is_over: _Optional[bool] = ...) -> None: ...

class ChangeNoted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Locate(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class LocateReport(_message.Message):
    __slots__ = ("object", "tiers", "homes", "hosts", "host", "pin", "at_home")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    HOMES_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    AT_HOME_FIELD_NUMBER: _ClassVar[int]
    object: ObjectInfo
    tiers: _containers.RepeatedScalarFieldContainer[Tier]
    homes: _containers.RepeatedScalarFieldContainer[int]
    hosts: _containers.RepeatedScalarFieldContainer[str]
    host: str
    pin: _operate_pb2.PinnedObject
    at_home: _containers.RepeatedScalarFieldContainer[Tier]
    def __init__(self, object: _Optional[_Union[ObjectInfo, _Mapping]] = ..., tiers: _Optional[_Iterable[_Union[Tier, str]]] = ..., homes: _Optional[_Iterable[int]] = ..., hosts: _Optional[_Iterable[str]] = ..., host: _Optional[str] = ..., pin: _Optional[_Union[_operate_pb2.PinnedObject, _Mapping]] = ..., at_home: _Optional[_Iterable[_Union[Tier, str]]] = ...) -> None: ...

class List(_message.Message):
    __slots__ = ("prefix", "folds", "token", "entries_max")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    FOLDS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_MAX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    folds: bool
    token: str
    entries_max: int
    def __init__(self, prefix: _Optional[str] = ..., folds: _Optional[bool] = ..., token: _Optional[str] = ..., entries_max: _Optional[int] = ...) -> None: ...

class ListReport(_message.Message):
    __slots__ = ("entries", "next_token")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[ListEntry]
    next_token: str
    def __init__(self, entries: _Optional[_Iterable[_Union[ListEntry, _Mapping]]] = ..., next_token: _Optional[str] = ...) -> None: ...

class ListEntry(_message.Message):
    __slots__ = ("suffix", "is_prefix", "size", "last_modified", "version")
    SUFFIX_FIELD_NUMBER: _ClassVar[int]
    IS_PREFIX_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    suffix: str
    is_prefix: bool
    size: int
    last_modified: float
    version: str
    def __init__(self, suffix: _Optional[str] = ..., is_prefix: _Optional[bool] = ..., size: _Optional[int] = ..., last_modified: _Optional[float] = ..., version: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message")
    class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CODE_UNSPECIFIED: _ClassVar[Failure.Code]
        NO_SUCH_OBJECT: _ClassVar[Failure.Code]
        NO_SUCH_BUCKET: _ClassVar[Failure.Code]
        INVALID_NAME: _ClassVar[Failure.Code]
        VERSION_CHANGED: _ClassVar[Failure.Code]
        ACCESS_DENIED: _ClassVar[Failure.Code]
        ORIGIN_UNAVAILABLE: _ClassVar[Failure.Code]
        ORIGIN_TIMEOUT: _ClassVar[Failure.Code]
        ORIGIN_INVALID: _ClassVar[Failure.Code]
        ARENA_FULL: _ClassVar[Failure.Code]
        SLOW_DOWN: _ClassVar[Failure.Code]
        TOO_LARGE: _ClassVar[Failure.Code]
        INVALID_REQUEST: _ClassVar[Failure.Code]
        INTERNAL: _ClassVar[Failure.Code]
        DEADLINE_EXCEEDED: _ClassVar[Failure.Code]
    CODE_UNSPECIFIED: Failure.Code
    NO_SUCH_OBJECT: Failure.Code
    NO_SUCH_BUCKET: Failure.Code
    INVALID_NAME: Failure.Code
    VERSION_CHANGED: Failure.Code
    ACCESS_DENIED: Failure.Code
    ORIGIN_UNAVAILABLE: Failure.Code
    ORIGIN_TIMEOUT: Failure.Code
    ORIGIN_INVALID: Failure.Code
    ARENA_FULL: Failure.Code
    SLOW_DOWN: Failure.Code
    TOO_LARGE: Failure.Code
    INVALID_REQUEST: Failure.Code
    INTERNAL: Failure.Code
    DEADLINE_EXCEEDED: Failure.Code
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: Failure.Code
    message: str
    def __init__(self, code: _Optional[_Union[Failure.Code, str]] = ..., message: _Optional[str] = ...) -> None: ...

class ClientFrame(_message.Message):
    __slots__ = ("request_id", "hello", "stat", "fetch", "release", "prefetch", "new_table", "status", "locate", "cluster_status", "change", "list", "evict", "pin", "unpin", "list_pins", "trace")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STAT_FIELD_NUMBER: _ClassVar[int]
    FETCH_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_FIELD_NUMBER: _ClassVar[int]
    NEW_TABLE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LOCATE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_STATUS_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    EVICT_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    UNPIN_FIELD_NUMBER: _ClassVar[int]
    LIST_PINS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    hello: Hello
    stat: Stat
    fetch: Fetch
    release: Release
    prefetch: Prefetch
    new_table: NewTable
    status: Status
    locate: Locate
    cluster_status: ClusterStatus
    change: Change
    list: List
    evict: _operate_pb2.Evict
    pin: _operate_pb2.Pin
    unpin: _operate_pb2.Unpin
    list_pins: _operate_pb2.ListPins
    trace: _operate_pb2.Trace
    def __init__(self, request_id: _Optional[int] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., stat: _Optional[_Union[Stat, _Mapping]] = ..., fetch: _Optional[_Union[Fetch, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., prefetch: _Optional[_Union[Prefetch, _Mapping]] = ..., new_table: _Optional[_Union[NewTable, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., locate: _Optional[_Union[Locate, _Mapping]] = ..., cluster_status: _Optional[_Union[ClusterStatus, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., list: _Optional[_Union[List, _Mapping]] = ..., evict: _Optional[_Union[_operate_pb2.Evict, _Mapping]] = ..., pin: _Optional[_Union[_operate_pb2.Pin, _Mapping]] = ..., unpin: _Optional[_Union[_operate_pb2.Unpin, _Mapping]] = ..., list_pins: _Optional[_Union[_operate_pb2.ListPins, _Mapping]] = ..., trace: _Optional[_Union[_operate_pb2.Trace, _Mapping]] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ("request_id", "welcome", "object", "block_ready", "block_progress", "fetch_done", "prefetch_accepted", "table_granted", "status", "located", "failure", "cluster", "on_socket", "change_noted", "listed", "evicted", "pins", "traced")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_READY_FIELD_NUMBER: _ClassVar[int]
    BLOCK_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    FETCH_DONE_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    TABLE_GRANTED_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    LOCATED_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    ON_SOCKET_FIELD_NUMBER: _ClassVar[int]
    CHANGE_NOTED_FIELD_NUMBER: _ClassVar[int]
    LISTED_FIELD_NUMBER: _ClassVar[int]
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    PINS_FIELD_NUMBER: _ClassVar[int]
    TRACED_FIELD_NUMBER: _ClassVar[int]
    request_id: int
    welcome: Welcome
    object: ObjectInfo
    block_ready: BlockReady
    block_progress: BlockProgress
    fetch_done: FetchDone
    prefetch_accepted: PrefetchAccepted
    table_granted: TableGranted
    status: StatusReport
    located: LocateReport
    failure: Failure
    cluster: ClusterReport
    on_socket: OnSocket
    change_noted: ChangeNoted
    listed: ListReport
    evicted: _operate_pb2.EvictReport
    pins: _operate_pb2.PinReport
    traced: _operate_pb2.TraceReport
    def __init__(self, request_id: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., object: _Optional[_Union[ObjectInfo, _Mapping]] = ..., block_ready: _Optional[_Union[BlockReady, _Mapping]] = ..., block_progress: _Optional[_Union[BlockProgress, _Mapping]] = ..., fetch_done: _Optional[_Union[FetchDone, _Mapping]] = ..., prefetch_accepted: _Optional[_Union[PrefetchAccepted, _Mapping]] = ..., table_granted: _Optional[_Union[TableGranted, _Mapping]] = ..., status: _Optional[_Union[StatusReport, _Mapping]] = ..., located: _Optional[_Union[LocateReport, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., cluster: _Optional[_Union[ClusterReport, _Mapping]] = ..., on_socket: _Optional[_Union[OnSocket, _Mapping]] = ..., change_noted: _Optional[_Union[ChangeNoted, _Mapping]] = ..., listed: _Optional[_Union[ListReport, _Mapping]] = ..., evicted: _Optional[_Union[_operate_pb2.EvictReport, _Mapping]] = ..., pins: _Optional[_Union[_operate_pb2.PinReport, _Mapping]] = ..., traced: _Optional[_Union[_operate_pb2.TraceReport, _Mapping]] = ...) -> None: ...
