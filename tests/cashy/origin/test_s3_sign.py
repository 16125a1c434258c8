"""Requests are signed as botocore signs them, in path style and virtual-host style."""

from __future__ import annotations

import datetime
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.s3_address import Addressing, bucket_address, object_target, parse_endpoint
from cashy.errors import InvalidName
from cashy.origin.s3_sign import Secrets, request_bytes

MOMENT = datetime.datetime(2024, 2, 29, 23, 59, 59, tzinfo=datetime.UTC)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def botocore_authorization(url: str, headers: dict[str, str], secrets: Secrets, region: str) -> str:
    """The Authorization header that botocore makes for the same request at the same moment."""
    request = botocore.awsrequest.AWSRequest("GET", url, headers=headers)
    request.context["payload_signing_enabled"] = True
    signer = botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(*secrets), "s3", region)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=MOMENT.replace(tzinfo=None)):
        signer.add_auth(request)
    return str(request.headers["Authorization"])


@given(
    key=KEYS,
    token=st.sampled_from([None, "session/token+="]),
    extra=st.sampled_from([{}, {"range": "bytes=0-99", "if-match": '"a  b"'}]),
    base=st.sampled_from(
        ["http://127.0.0.1:9000", "https://s3.example.com", "http://[::1]:8080", "http://host/base"]
    ),
    addressing=st.sampled_from(["path", "virtual-host"]),
)
def test_signature_is_botocores(
    key: str, token: str | None, extra: dict[str, str], base: str, addressing: Addressing
) -> None:
    endpoint = parse_endpoint(base)
    address = bucket_address(endpoint, addressing, "bucket")
    path = object_target(address, key)
    secrets = Secrets("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    data = request_bytes(
        address.authority, "GET", path, extra, region="eu-west-3", secrets=secrets, epoch_s=MOMENT.timestamp()
    )
    lines = data.decode().split("\r\n")
    assert lines[0] == f"GET {path} HTTP/1.1"
    sent = dict(line.split(": ", 1) for line in lines[1:] if line)
    scheme = "https" if endpoint.is_tls else "http"
    theirs = botocore_authorization(
        f"{scheme}://{address.authority}{path}", dict(extra), secrets, "eu-west-3"
    )
    assert sent["authorization"] == theirs
    assert sent.get("x-amz-security-token") == token


def test_headers_cannot_be_smuggled_in() -> None:
    with pytest.raises(InvalidName):
        request_bytes(
            "h", "GET", "/b/k", {"if-match": '"a"\r\nx-evil: 1'}, region="r", secrets=None, epoch_s=0
        )  # fmt: skip
