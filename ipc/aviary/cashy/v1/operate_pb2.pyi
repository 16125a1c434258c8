from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Evict(_message.Message):
    __slots__ = ("names", "everything", "cluster")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    everything: bool
    cluster: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., everything: _Optional[bool] = ..., cluster: _Optional[bool] = ...) -> None: ...

class EvictReport(_message.Message):
    __slots__ = ("hosts", "failed")
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    hosts: _containers.RepeatedCompositeFieldContainer[HostEvicted]
    failed: _containers.RepeatedCompositeFieldContainer[NameFailed]
    def __init__(self, hosts: _Optional[_Iterable[_Union[HostEvicted, _Mapping]]] = ..., failed: _Optional[_Iterable[_Union[NameFailed, _Mapping]]] = ...) -> None: ...

class HostEvicted(_message.Message):
    __slots__ = ("host", "error", "objects", "blocks", "bytes", "held_blocks", "held_bytes", "pinned_blocks", "ssd_blocks", "ssd_bytes")
    HOST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    HELD_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    HELD_BYTES_FIELD_NUMBER: _ClassVar[int]
    PINNED_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    SSD_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    SSD_BYTES_FIELD_NUMBER: _ClassVar[int]
    host: str
    error: str
    objects: int
    blocks: int
    bytes: int
    held_blocks: int
    held_bytes: int
    pinned_blocks: int
    ssd_blocks: int
    ssd_bytes: int
    def __init__(self, host: _Optional[str] = ..., error: _Optional[str] = ..., objects: _Optional[int] = ..., blocks: _Optional[int] = ..., bytes: _Optional[int] = ..., held_blocks: _Optional[int] = ..., held_bytes: _Optional[int] = ..., pinned_blocks: _Optional[int] = ..., ssd_blocks: _Optional[int] = ..., ssd_bytes: _Optional[int] = ...) -> None: ...

class NameFailed(_message.Message):
    __slots__ = ("name", "code", "message")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    code: str
    message: str
    def __init__(self, name: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Pin(_message.Message):
    __slots__ = ("names", "for_s", "cluster")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    FOR_S_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    for_s: float
    cluster: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., for_s: _Optional[float] = ..., cluster: _Optional[bool] = ...) -> None: ...

class Unpin(_message.Message):
    __slots__ = ("names", "everything", "cluster")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    everything: bool
    cluster: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., everything: _Optional[bool] = ..., cluster: _Optional[bool] = ...) -> None: ...

class ListPins(_message.Message):
    __slots__ = ("names", "cluster")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    cluster: bool
    def __init__(self, names: _Optional[_Iterable[str]] = ..., cluster: _Optional[bool] = ...) -> None: ...

class PinReport(_message.Message):
    __slots__ = ("hosts",)
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    hosts: _containers.RepeatedCompositeFieldContainer[HostPins]
    def __init__(self, hosts: _Optional[_Iterable[_Union[HostPins, _Mapping]]] = ...) -> None: ...

class HostPins(_message.Message):
    __slots__ = ("host", "error", "pinned_bytes", "pinned_bytes_max", "objects", "left_out", "changed")
    HOST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PINNED_BYTES_FIELD_NUMBER: _ClassVar[int]
    PINNED_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    host: str
    error: str
    pinned_bytes: int
    pinned_bytes_max: int
    objects: _containers.RepeatedCompositeFieldContainer[PinnedObject]
    left_out: int
    changed: int
    def __init__(self, host: _Optional[str] = ..., error: _Optional[str] = ..., pinned_bytes: _Optional[int] = ..., pinned_bytes_max: _Optional[int] = ..., objects: _Optional[_Iterable[_Union[PinnedObject, _Mapping]]] = ..., left_out: _Optional[int] = ..., changed: _Optional[int] = ...) -> None: ...

class PinnedObject(_message.Message):
    __slots__ = ("name", "blocks", "bytes", "blocks_here", "bytes_here", "left_s", "homes_only", "version", "error")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_HERE_FIELD_NUMBER: _ClassVar[int]
    BYTES_HERE_FIELD_NUMBER: _ClassVar[int]
    LEFT_S_FIELD_NUMBER: _ClassVar[int]
    HOMES_ONLY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    name: str
    blocks: int
    bytes: int
    blocks_here: int
    bytes_here: int
    left_s: float
    homes_only: bool
    version: str
    error: str
    def __init__(self, name: _Optional[str] = ..., blocks: _Optional[int] = ..., bytes: _Optional[int] = ..., blocks_here: _Optional[int] = ..., bytes_here: _Optional[int] = ..., left_s: _Optional[float] = ..., homes_only: _Optional[bool] = ..., version: _Optional[str] = ..., error: _Optional[str] = ...) -> None: ...

class Trace(_message.Message):
    __slots__ = ("name", "offset", "length")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    offset: int
    length: int
    def __init__(self, name: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ...) -> None: ...

class TraceReport(_message.Message):
    __slots__ = ("trace_id", "hosts", "size", "block_bytes", "first_block", "block_count", "object_blocks", "version", "took_us", "failure_code", "failure")
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    OBJECT_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TOOK_US_FIELD_NUMBER: _ClassVar[int]
    FAILURE_CODE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    trace_id: bytes
    hosts: _containers.RepeatedCompositeFieldContainer[HostTrace]
    size: int
    block_bytes: int
    first_block: int
    block_count: int
    object_blocks: int
    version: str
    took_us: int
    failure_code: str
    failure: str
    def __init__(self, trace_id: _Optional[bytes] = ..., hosts: _Optional[_Iterable[_Union[HostTrace, _Mapping]]] = ..., size: _Optional[int] = ..., block_bytes: _Optional[int] = ..., first_block: _Optional[int] = ..., block_count: _Optional[int] = ..., object_blocks: _Optional[int] = ..., version: _Optional[str] = ..., took_us: _Optional[int] = ..., failure_code: _Optional[str] = ..., failure: _Optional[str] = ...) -> None: ...

class HostTrace(_message.Message):
    __slots__ = ("host", "error", "events", "is_cut")
    HOST_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    IS_CUT_FIELD_NUMBER: _ClassVar[int]
    host: str
    error: str
    events: _containers.RepeatedCompositeFieldContainer[TraceEvent]
    is_cut: bool
    def __init__(self, host: _Optional[str] = ..., error: _Optional[str] = ..., events: _Optional[_Iterable[_Union[TraceEvent, _Mapping]]] = ..., is_cut: _Optional[bool] = ...) -> None: ...

class TraceEvent(_message.Message):
    __slots__ = ("at_us", "block", "what", "where", "detail")
    AT_US_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    WHAT_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    at_us: int
    block: int
    what: str
    where: str
    detail: str
    def __init__(self, at_us: _Optional[int] = ..., block: _Optional[int] = ..., what: _Optional[str] = ..., where: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class HostRequest(_message.Message):
    __slots__ = ("evict", "pin", "unpin", "list_pins", "take_trace", "deadline_ms")
    EVICT_FIELD_NUMBER: _ClassVar[int]
    PIN_FIELD_NUMBER: _ClassVar[int]
    UNPIN_FIELD_NUMBER: _ClassVar[int]
    LIST_PINS_FIELD_NUMBER: _ClassVar[int]
    TAKE_TRACE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    evict: HostEvict
    pin: Pin
    unpin: Unpin
    list_pins: ListPins
    take_trace: TakeTrace
    deadline_ms: int
    def __init__(self, evict: _Optional[_Union[HostEvict, _Mapping]] = ..., pin: _Optional[_Union[Pin, _Mapping]] = ..., unpin: _Optional[_Union[Unpin, _Mapping]] = ..., list_pins: _Optional[_Union[ListPins, _Mapping]] = ..., take_trace: _Optional[_Union[TakeTrace, _Mapping]] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class HostEvict(_message.Message):
    __slots__ = ("request", "versions")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    request: Evict
    versions: _containers.RepeatedCompositeFieldContainer[ObjectVersion]
    def __init__(self, request: _Optional[_Union[Evict, _Mapping]] = ..., versions: _Optional[_Iterable[_Union[ObjectVersion, _Mapping]]] = ...) -> None: ...

class ObjectVersion(_message.Message):
    __slots__ = ("content_id", "blocks")
    CONTENT_ID_FIELD_NUMBER: _ClassVar[int]
    BLOCKS_FIELD_NUMBER: _ClassVar[int]
    content_id: bytes
    blocks: int
    def __init__(self, content_id: _Optional[bytes] = ..., blocks: _Optional[int] = ...) -> None: ...

class TakeTrace(_message.Message):
    __slots__ = ("trace_id",)
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    trace_id: bytes
    def __init__(self, trace_id: _Optional[bytes] = ...) -> None: ...

class HostAnswer(_message.Message):
    __slots__ = ("evicted", "pins", "trace")
    EVICTED_FIELD_NUMBER: _ClassVar[int]
    PINS_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    evicted: HostEvicted
    pins: HostPins
    trace: HostTrace
    def __init__(self, evicted: _Optional[_Union[HostEvicted, _Mapping]] = ..., pins: _Optional[_Union[HostPins, _Mapping]] = ..., trace: _Optional[_Union[HostTrace, _Mapping]] = ...) -> None: ...
