"""What a gRPC status says: whether it is an answer, whose move it is, and as which error a caller sees it.

A status carries details as a ``google.rpc.Status`` in the trailing metadata ``grpc-status-details-bin``: a Denial or a Refusal of the public API. A
session's stream says the same in a ``SessionError``.
"""

from __future__ import annotations

from dataclasses import dataclass

import grpc
import grpc.aio

from aviary.toucan.v1 import toucan_pb2, types_pb2
from toucan.client import decode
from toucan.client.errors import (
    Denied,
    NotEntitled,
    Refused,
    ServerFault,
    ServerUnavailable,
    ToucanError,
    Unauthenticated,
)
from toucan.client.values import Denial

__all__ = ["Failure", "failure_of_error", "failure_of_session_error", "is_final_for_stream"]

_DETAILS_KEY = "grpc-status-details-bin"
#: How gRPC begins the text of a call that never had a connection to go out over.
_NEVER_CONNECTED = "failed to connect to all addresses"
#: How gRPC begins the text of a call whose stream ended without a status of the server's; it calls that UNKNOWN.
_STREAM_LOST = "Stream removed"
_BROKEN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL")
#: Statuses after which a stream is not begun anew: the same would be answered again.
_FINAL = (
    "UNAUTHENTICATED", "PERMISSION_DENIED", "INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "UNIMPLEMENTED", "OUT_OF_RANGE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """A status that is not OK."""

    #: gRPC's name of it, such as "UNAVAILABLE".
    status: str
    text: str
    denial: Denial | None = None
    #: Of the refusal, such as "UNKNOWN_ORDER"; empty if there is none.
    refusal_code: str = ""
    #: The request certainly never left this process.
    is_unsent: bool = False

    @property
    def doubts_connection(self) -> bool:
        """Whether it is no answer of the front end, but says that the connection to it may be broken."""
        return not self.refusal_code and self.denial is None and self.status in _BROKEN

    def error(self) -> ToucanError:
        """The error for the caller, of a request that is over."""
        if self.denial is not None:
            return Denied(self.denial)
        text = self.text or f"the server answered {self.status} and did not say why"
        if self.status == "PERMISSION_DENIED":
            return NotEntitled(text, self.refusal_code or None)
        if self.status == "UNAUTHENTICATED":
            return Unauthenticated(text, self.refusal_code or None)
        if self.refusal_code:
            return Refused(text, self.refusal_code)
        if self.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"):
            return ServerUnavailable(text)
        if self.status in (
            "INVALID_ARGUMENT",
            "NOT_FOUND",
            "FAILED_PRECONDITION",
            "ABORTED",
            "ALREADY_EXISTS",
        ):
            return Refused(text, self.status)
        if self.status == "UNIMPLEMENTED":
            return ServerFault(
                f"the server does not know this request; it may be of another version of aviary ({text})",
                "UNKNOWN_REQUEST",
            )
        return ServerFault(f"the server failed: {text} ({self.status})")


def is_final_for_stream(failure: Failure) -> bool:
    """Whether a stream that ended so would only end so again."""
    return failure.status in _FINAL


def failure_of_error(error: grpc.RpcError) -> Failure:
    """What a call's error says."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return Failure("UNKNOWN", str(error))
    code = error.code()
    status, text = "UNKNOWN" if code is None else code.name, error.details() or ""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            return _with_details(status, text, value)
    if status == "UNKNOWN" and text.startswith(_STREAM_LOST):
        status = "DEADLINE_EXCEEDED" if "Deadline Exceeded" in text else "UNAVAILABLE"
    return Failure(status, text, is_unsent=status == "UNAVAILABLE" and text.startswith(_NEVER_CONNECTED))


def _with_details(status: str, text: str, value: bytes) -> Failure:
    # Imported where it is needed: calls that succeed need none of it.
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2  # type: ignore[import-untyped]

    try:
        details = status_pb2.Status.FromString(value).details
    except DecodeError:
        return Failure(status, text)
    denial, refusal = types_pb2.Denial(), types_pb2.Refusal()
    found: Failure | None = None
    for detail in details:
        if detail.Unpack(denial):
            return Failure(status, denial.text or text, denial=decode.denial_of(denial))
        if detail.Unpack(refusal):
            found = Failure(status, refusal.text or text, refusal_code=refusal.code)
    return found or Failure(status, text)


def failure_of_session_error(message: toucan_pb2.SessionError) -> Failure:
    """What a session's stream says instead of an answer."""
    status = _STATUS_NAMES.get(message.code, "UNKNOWN")
    if message.HasField("denial"):
        return Failure(status, message.message, denial=decode.denial_of(message.denial))
    if message.HasField("refusal"):
        return Failure(status, message.refusal.text or message.message, refusal_code=message.refusal.code)
    return Failure(status, message.message)


_STATUS_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
