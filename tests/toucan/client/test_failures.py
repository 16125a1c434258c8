"""Every status has its error, and details go before it."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.rpc import code_pb2  # type: ignore[import-untyped]

from aviary.toucan.v1 import toucan_pb2, types_pb2
from toucan.client.errors import (
    Denied,
    NotEntitled,
    Refused,
    ServerFault,
    ServerUnavailable,
    ToucanError,
    Unauthenticated,
)
from toucan.client.failures import Failure, failure_of_error, failure_of_session_error


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("PERMISSION_DENIED", NotEntitled),
        ("UNAUTHENTICATED", Unauthenticated),
        ("UNAVAILABLE", ServerUnavailable),
        ("DEADLINE_EXCEEDED", ServerUnavailable),
        ("CANCELLED", ServerUnavailable),
        ("INVALID_ARGUMENT", Refused),
        ("NOT_FOUND", Refused),
        ("FAILED_PRECONDITION", Refused),
        ("UNIMPLEMENTED", ServerFault),
        ("INTERNAL", ServerFault),
        ("UNKNOWN", ServerFault),
        ("RESOURCE_EXHAUSTED", ServerFault),
    ],
)
def test_error_of_each_status(status: str, kind: type[ToucanError]) -> None:
    error = Failure(status, "some text").error()
    assert type(error) is kind
    assert "some text" in error.message


def test_status_without_a_text_says_so() -> None:
    assert Failure("NOT_FOUND", "").error().message == "the server answered NOT_FOUND and did not say why"


def test_session_error_carries_the_same_details() -> None:
    message = toucan_pb2.SessionError(
        code=code_pb2.FAILED_PRECONDITION, message="no", denial=types_pb2.Denial(code="MAX", text="too much")
    )
    error = failure_of_session_error(message).error()
    assert isinstance(error, Denied)
    assert (error.code, error.message, error.can_be_confirmed) == ("MAX", "too much", False)
    message = toucan_pb2.SessionError(
        code=code_pb2.NOT_FOUND, refusal=types_pb2.Refusal(code="UNKNOWN_ORDER", text="no such order")
    )
    refused = failure_of_session_error(message).error()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.message) == ("UNKNOWN_ORDER", "no such order")


@pytest.mark.parametrize(
    ("code", "text", "status", "is_unsent"),
    [
        (grpc.StatusCode.UNKNOWN, "Stream removed (Deadline Exceeded)", "DEADLINE_EXCEEDED", False),
        (grpc.StatusCode.UNKNOWN, "Stream removed", "UNAVAILABLE", False),
        (grpc.StatusCode.UNKNOWN, "Exception calling application: no", "UNKNOWN", False),
        (grpc.StatusCode.UNAVAILABLE, "Socket closed", "UNAVAILABLE", False),
        (
            grpc.StatusCode.UNAVAILABLE,
            "failed to connect to all addresses; last error: no",
            "UNAVAILABLE",
            True,
        ),
    ],
)
def test_status_of_a_stream_that_was_lost_is_not_a_fault_of_the_server(
    code: grpc.StatusCode, text: str, status: str, is_unsent: bool
) -> None:
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=text)
    assert failure_of_error(error) == Failure(status, text, is_unsent=is_unsent)
