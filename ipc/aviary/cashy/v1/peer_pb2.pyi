from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PeerHello(_message.Message):
    __slots__ = ("protocol_version", "cluster", "host", "to_host", "block_bytes", "nonce", "protocol_version_newest")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    TO_HOST_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_NEWEST_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    cluster: str
    host: str
    to_host: str
    block_bytes: int
    nonce: bytes
    protocol_version_newest: int
    def __init__(self, protocol_version: _Optional[int] = ..., cluster: _Optional[str] = ..., host: _Optional[str] = ..., to_host: _Optional[str] = ..., block_bytes: _Optional[int] = ..., nonce: _Optional[bytes] = ..., protocol_version_newest: _Optional[int] = ...) -> None: ...

class PeerChallenge(_message.Message):
    __slots__ = ("protocol_version", "cluster", "host", "block_bytes", "nonce", "protocol_version_newest")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    BLOCK_BYTES_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_VERSION_NEWEST_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    cluster: str
    host: str
    block_bytes: int
    nonce: bytes
    protocol_version_newest: int
    def __init__(self, protocol_version: _Optional[int] = ..., cluster: _Optional[str] = ..., host: _Optional[str] = ..., block_bytes: _Optional[int] = ..., nonce: _Optional[bytes] = ..., protocol_version_newest: _Optional[int] = ...) -> None: ...

class PeerProof(_message.Message):
    __slots__ = ("mac",)
    MAC_FIELD_NUMBER: _ClassVar[int]
    mac: bytes
    def __init__(self, mac: _Optional[bytes] = ...) -> None: ...

class PeerWelcome(_message.Message):
    __slots__ = ("mac", "requests_max")
    MAC_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_MAX_FIELD_NUMBER: _ClassVar[int]
    mac: bytes
    requests_max: int
    def __init__(self, mac: _Optional[bytes] = ..., requests_max: _Optional[int] = ...) -> None: ...

class PeerRefusal(_message.Message):
    __slots__ = ("reason", "message")
    class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        REASON_UNSPECIFIED: _ClassVar[PeerRefusal.Reason]
        VERSION: _ClassVar[PeerRefusal.Reason]
        CLUSTER: _ClassVar[PeerRefusal.Reason]
        KEY: _ClassVar[PeerRefusal.Reason]
        UNKNOWN_HOST: _ClassVar[PeerRefusal.Reason]
        WRONG_HOST: _ClassVar[PeerRefusal.Reason]
        BLOCK_SIZE: _ClassVar[PeerRefusal.Reason]
        TOO_MANY: _ClassVar[PeerRefusal.Reason]
        PROTOCOL: _ClassVar[PeerRefusal.Reason]
        CERTIFICATE: _ClassVar[PeerRefusal.Reason]
    REASON_UNSPECIFIED: PeerRefusal.Reason
    VERSION: PeerRefusal.Reason
    CLUSTER: PeerRefusal.Reason
    KEY: PeerRefusal.Reason
    UNKNOWN_HOST: PeerRefusal.Reason
    WRONG_HOST: PeerRefusal.Reason
    BLOCK_SIZE: PeerRefusal.Reason
    TOO_MANY: PeerRefusal.Reason
    PROTOCOL: PeerRefusal.Reason
    CERTIFICATE: PeerRefusal.Reason
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: PeerRefusal.Reason
    message: str
    def __init__(self, reason: _Optional[_Union[PeerRefusal.Reason, str]] = ..., message: _Optional[str] = ...) -> None: ...

class PeerObject(_message.Message):
    __slots__ = ("origin", "bucket", "key", "url")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    origin: str
    bucket: str
    key: str
    url: str
    def __init__(self, origin: _Optional[str] = ..., bucket: _Optional[str] = ..., key: _Optional[str] = ..., url: _Optional[str] = ...) -> None: ...

class PeerReadRequest(_message.Message):
    __slots__ = ("object", "offset", "length", "version", "size_bytes", "deadline_ms", "silence_ms", "caller", "trace_id", "only_here", "copies", "is_final")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    SILENCE_MS_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    ONLY_HERE_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    object: PeerObject
    offset: int
    length: int
    version: str
    size_bytes: int
    deadline_ms: int
    silence_ms: int
    caller: str
    trace_id: bytes
    only_here: bool
    copies: int
    is_final: bool
    def __init__(self, object: _Optional[_Union[PeerObject, _Mapping]] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., version: _Optional[str] = ..., size_bytes: _Optional[int] = ..., deadline_ms: _Optional[int] = ..., silence_ms: _Optional[int] = ..., caller: _Optional[str] = ..., trace_id: _Optional[bytes] = ..., only_here: _Optional[bool] = ..., copies: _Optional[int] = ..., is_final: _Optional[bool] = ...) -> None: ...

class PeerHeadRequest(_message.Message):
    __slots__ = ("object", "revalidate", "deadline_ms", "first_block", "block_count")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    REVALIDATE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_BLOCK_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    object: PeerObject
    revalidate: bool
    deadline_ms: int
    first_block: int
    block_count: int
    def __init__(self, object: _Optional[_Union[PeerObject, _Mapping]] = ..., revalidate: _Optional[bool] = ..., deadline_ms: _Optional[int] = ..., first_block: _Optional[int] = ..., block_count: _Optional[int] = ...) -> None: ...

class PeerStatusRequest(_message.Message):
    __slots__ = ("deadline_ms",)
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    deadline_ms: int
    def __init__(self, deadline_ms: _Optional[int] = ...) -> None: ...

class PeerChanged(_message.Message):
    __slots__ = ("names", "deadline_ms", "is_over", "by")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    deadline_ms: int
    is_over: bool
    by: str
    def __init__(self, names: _Optional[_Iterable[str]] = ..., deadline_ms: _Optional[int] = ..., is_over: _Optional[bool] = ..., by: _Optional[str] = ...) -> None: ...

class PeerNoted(_message.Message):
    __slots__ = ("counts_in_ms", "promises", "word")
    COUNTS_IN_MS_FIELD_NUMBER: _ClassVar[int]
    PROMISES_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    counts_in_ms: int
    promises: _containers.RepeatedCompositeFieldContainer[PeerPromise]
    word: PeerWord
    def __init__(self, counts_in_ms: _Optional[int] = ..., promises: _Optional[_Iterable[_Union[PeerPromise, _Mapping]]] = ..., word: _Optional[_Union[PeerWord, _Mapping]] = ...) -> None: ...

class PeerWord(_message.Message):
    __slots__ = ("counted", "acts")
    COUNTED_FIELD_NUMBER: _ClassVar[int]
    ACTS_FIELD_NUMBER: _ClassVar[int]
    counted: _containers.RepeatedCompositeFieldContainer[PeerListId]
    acts: bool
    def __init__(self, counted: _Optional[_Iterable[_Union[PeerListId, _Mapping]]] = ..., acts: _Optional[bool] = ...) -> None: ...

class PeerListId(_message.Message):
    __slots__ = ("version", "digest")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: int
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[int] = ...) -> None: ...

class PeerPromise(_message.Message):
    __slots__ = ("host", "left_ms")
    HOST_FIELD_NUMBER: _ClassVar[int]
    LEFT_MS_FIELD_NUMBER: _ClassVar[int]
    host: str
    left_ms: int
    def __init__(self, host: _Optional[str] = ..., left_ms: _Optional[int] = ...) -> None: ...

class PeerLeaving(_message.Message):
    __slots__ = ("deadline_ms",)
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    deadline_ms: int
    def __init__(self, deadline_ms: _Optional[int] = ...) -> None: ...

class PeerLeaseRequest(_message.Message):
    __slots__ = ("incarnation", "number", "deadline_ms")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    number: int
    deadline_ms: int
    def __init__(self, incarnation: _Optional[int] = ..., number: _Optional[int] = ..., deadline_ms: _Optional[int] = ...) -> None: ...

class PeerLease(_message.Message):
    __slots__ = ("incarnation", "number", "duration_ms", "is_complete", "changes", "word")
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    IS_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    incarnation: int
    number: int
    duration_ms: int
    is_complete: bool
    changes: _containers.RepeatedCompositeFieldContainer[PeerChange]
    word: PeerWord
    def __init__(self, incarnation: _Optional[int] = ..., number: _Optional[int] = ..., duration_ms: _Optional[int] = ..., is_complete: _Optional[bool] = ..., changes: _Optional[_Iterable[_Union[PeerChange, _Mapping]]] = ..., word: _Optional[_Union[PeerWord, _Mapping]] = ...) -> None: ...

class PeerChange(_message.Message):
    __slots__ = ("name", "is_over", "by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    IS_OVER_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    is_over: bool
    by: str
    def __init__(self, name: _Optional[str] = ..., is_over: _Optional[bool] = ..., by: _Optional[str] = ...) -> None: ...

class PeerMeta(_message.Message):
    __slots__ = ("version", "size_bytes", "last_modified", "content_type", "headers", "user_metadata")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    CONTENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    USER_METADATA_FIELD_NUMBER: _ClassVar[int]
    version: str
    size_bytes: int
    last_modified: float
    content_type: str
    headers: _containers.RepeatedCompositeFieldContainer[PeerHeader]
    user_metadata: _containers.RepeatedCompositeFieldContainer[PeerHeader]
    def __init__(self, version: _Optional[str] = ..., size_bytes: _Optional[int] = ..., last_modified: _Optional[float] = ..., content_type: _Optional[str] = ..., headers: _Optional[_Iterable[_Union[PeerHeader, _Mapping]]] = ..., user_metadata: _Optional[_Iterable[_Union[PeerHeader, _Mapping]]] = ...) -> None: ...

class PeerHeader(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class PeerBlock(_message.Message):
    __slots__ = ("meta", "length", "fresh_for_ms", "copies", "hot_for_ms")
    META_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    FRESH_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    HOT_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    meta: PeerMeta
    length: int
    fresh_for_ms: int
    copies: int
    hot_for_ms: int
    def __init__(self, meta: _Optional[_Union[PeerMeta, _Mapping]] = ..., length: _Optional[int] = ..., fresh_for_ms: _Optional[int] = ..., copies: _Optional[int] = ..., hot_for_ms: _Optional[int] = ...) -> None: ...

class PeerHeadAnswer(_message.Message):
    __slots__ = ("meta", "fresh_for_ms", "tiers")
    META_FIELD_NUMBER: _ClassVar[int]
    FRESH_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    meta: PeerMeta
    fresh_for_ms: int
    tiers: bytes
    def __init__(self, meta: _Optional[_Union[PeerMeta, _Mapping]] = ..., fresh_for_ms: _Optional[int] = ..., tiers: _Optional[bytes] = ...) -> None: ...

class PeerFailure(_message.Message):
    __slots__ = ("code", "message", "copies", "hot_for_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    HOT_FOR_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    copies: int
    hot_for_ms: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., copies: _Optional[int] = ..., hot_for_ms: _Optional[int] = ...) -> None: ...
