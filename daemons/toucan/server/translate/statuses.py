"""Errors and the engine's refusals as gRPC statuses, with the details that programs read.

A status that is not OK carries a ``google.rpc.Status`` (https://google.aip.dev/193) in the trailing metadata ``grpc-status-details-bin``, with a
Denial or a Refusal of the public API in it, and a ``google.rpc.BadRequest`` where a field is wrong. A status with a Refusal or a Denial says what has
become of the request: nothing was done, except with UNAVAILABLE, where it is known only after the same was sent again. DEADLINE_EXCEEDED without
a Refusal says the same: unknown.
"""

from __future__ import annotations

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.outcomes import Denied, Outcome, Refusal, Refused
from toucan.server.errors import CallError, EngineSaid
from toucan.server.translate import to_wire

__all__ = ["DETAILS_KEY", "STATUS_OF_REFUSAL", "details", "engine_error", "metadata", "session_error"]

#: Where gRPC's libraries look for a google.rpc.Status.
DETAILS_KEY = "grpc-status-details-bin"

_Code = grpc.StatusCode
#: What kind of answer each of the engine's refusals is.
STATUS_OF_REFUSAL: dict[Refusal, grpc.StatusCode] = {
    Refusal.INVALID_ORDER: _Code.INVALID_ARGUMENT,
    Refusal.INVALID_LIMIT: _Code.INVALID_ARGUMENT,
    Refusal.REASON_MISSING: _Code.INVALID_ARGUMENT,
    Refusal.REQUEST_NUMBER_MISSING: _Code.INVALID_ARGUMENT,
    Refusal.KEY_REUSED: _Code.INVALID_ARGUMENT,
    Refusal.UNKNOWN_INSTRUMENT: _Code.NOT_FOUND,
    Refusal.UNKNOWN_ACCOUNT: _Code.NOT_FOUND,
    Refusal.UNKNOWN_ORDER: _Code.NOT_FOUND,
    Refusal.UNKNOWN_NODE: _Code.NOT_FOUND,
    Refusal.UNKNOWN_STAGED_ORDER: _Code.NOT_FOUND,
    Refusal.STAGED_ORDER_DECIDED: _Code.FAILED_PRECONDITION,
    Refusal.STAGED_ORDER_CHANGED: _Code.FAILED_PRECONDITION,
    Refusal.TOO_MANY_STAGED_ORDERS: _Code.FAILED_PRECONDITION,
    Refusal.FOUR_EYES: _Code.PERMISSION_DENIED,
    Refusal.ORDER_CLOSED: _Code.FAILED_PRECONDITION,
    Refusal.CANCEL_IN_FLIGHT: _Code.FAILED_PRECONDITION,
    Refusal.TOO_MANY_IN_FLIGHT: _Code.FAILED_PRECONDITION,
    Refusal.NOTHING_CHANGES: _Code.FAILED_PRECONDITION,
    Refusal.VENUE_NOT_READY: _Code.FAILED_PRECONDITION,
    Refusal.FROZEN: _Code.FAILED_PRECONDITION,
    Refusal.STILL_COOLING_OFF: _Code.FAILED_PRECONDITION,
    Refusal.TOO_MANY_SESSIONS: _Code.FAILED_PRECONDITION,
    Refusal.TOO_MANY_ORDERS: _Code.FAILED_PRECONDITION,
    Refusal.REQUEST_SUPERSEDED: _Code.ABORTED,
    Refusal.REQUEST_FORGOTTEN: _Code.ABORTED,
    Refusal.DEADLINE_PASSED: _Code.DEADLINE_EXCEEDED,
    Refusal.JOURNAL_UNAVAILABLE: _Code.UNAVAILABLE,
    # Nothing was decided, so the same key may be sent again at once.
    Refusal.ENGINE_OVERLOADED: _Code.RESOURCE_EXHAUSTED,
}
assert set(STATUS_OF_REFUSAL) == set(Refusal)


def engine_error(outcome: Outcome) -> EngineSaid | None:
    """The error that an answer of the engine is; None: it was carried out."""
    if isinstance(outcome, Denied):
        denial = outcome.denial
        return EngineSaid(_Code.FAILED_PRECONDITION, denial.text or denial.code, denial=denial)
    if isinstance(outcome, Refused):
        return EngineSaid(STATUS_OF_REFUSAL[outcome.code], outcome.text, code=outcome.code)
    return None


def details(error: CallError) -> list[Message]:
    """What a status carries beside its text."""
    found: list[Message] = []
    if error.denial is not None:
        found.append(to_wire.denial(error.denial))
    elif error.code:
        found.append(tp.Refusal(code=error.code, text=error.text))
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.text)
        found.append(error_details_pb2.BadRequest(field_violations=[violation]))
    return found


def metadata(error: CallError) -> tuple[tuple[str, bytes], ...]:
    """The trailing metadata of a status."""
    packed = []
    for detail in details(error):
        one = any_pb2.Any()
        one.Pack(detail)
        packed.append(one)
    status = status_pb2.Status(code=error.status.value[0], message=error.text, details=packed)
    return ((DETAILS_KEY, status.SerializeToString()),)


def session_error(error: CallError) -> pb.SessionError:
    """The same on a session's stream."""
    wire = pb.SessionError(code=error.status.value[0], message=error.text)
    if error.denial is not None:
        wire.denial.CopyFrom(to_wire.denial(error.denial))
    elif error.code:
        wire.refusal.CopyFrom(tp.Refusal(code=error.code, text=error.text))
    return wire
