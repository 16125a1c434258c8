"""Requests are signed as botocore signs them, and keys are encoded once."""

from __future__ import annotations

import datetime
import urllib.parse
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.errors import ConfigError, InvalidName
from cashy.origin.s3_sign import KEY_BYTES_MAX, Endpoint, Secrets, object_path, parse_endpoint, request_bytes

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
)
def test_signature_is_botocores(key: str, token: str | None, extra: dict[str, str], base: str) -> None:
    endpoint = parse_endpoint(base)
    path = object_path(endpoint, "bucket", key)
    secrets = Secrets("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token)
    data = request_bytes(
        endpoint, "GET", path, extra, region="eu-west-3", secrets=secrets, epoch_s=MOMENT.timestamp()
    )
    lines = data.decode().split("\r\n")
    assert lines[0] == f"GET {path} HTTP/1.1"
    sent = dict(line.split(": ", 1) for line in lines[1:] if line)
    scheme = "https" if endpoint.is_tls else "http"
    theirs = botocore_authorization(
        f"{scheme}://{endpoint.authority}{path}", dict(extra), secrets, "eu-west-3"
    )
    assert sent["authorization"] == theirs
    assert sent.get("x-amz-security-token") == token


@given(KEYS)
def test_keys_come_back_from_their_encoding(key: str) -> None:
    endpoint = Endpoint("h", 80, False, "h", "")
    path = object_path(endpoint, "bucket", key)
    assert path.isascii()
    assert urllib.parse.unquote(path.removeprefix("/bucket/"), errors="strict") == key


def test_key_at_its_limit_and_beyond() -> None:
    endpoint = parse_endpoint("http://h")
    object_path(endpoint, "b", "k" * KEY_BYTES_MAX)
    object_path(endpoint, "b", "ü" * (KEY_BYTES_MAX // 2))
    for key in ("k" * (KEY_BYTES_MAX + 1), "ü" * (KEY_BYTES_MAX // 2) + "k", "", "\ud800"):
        with pytest.raises(InvalidName):
            object_path(endpoint, "b", key)


@pytest.mark.parametrize("bucket", ["", ".", "..", "a/b", "a?b", "a b", "ü", "a\r\nx: y", "b" * 256])
def test_bad_buckets(bucket: str) -> None:
    with pytest.raises(InvalidName):
        object_path(parse_endpoint("http://h"), bucket, "key")


@pytest.mark.parametrize(
    "url", ["", "h:80", "ftp://h", "http://", "http://h:x", "http://u:p@h", "http://h?q", "http://ü"]
)
def test_bad_endpoints(url: str) -> None:
    with pytest.raises(ConfigError):
        parse_endpoint(url)


def test_authority_leaves_out_the_schemes_own_port() -> None:
    assert parse_endpoint("https://s3.example.com:443").authority == "s3.example.com"
    assert parse_endpoint("http://s3.example.com:443").authority == "s3.example.com:443"
    assert parse_endpoint("http://[::1]:80/").authority == "[::1]"


def test_headers_cannot_be_smuggled_in() -> None:
    with pytest.raises(InvalidName):
        request_bytes(
            parse_endpoint("http://h"), "GET", "/b/k", {"if-match": '"a"\r\nx-evil: 1'}, region="r", secrets=None, epoch_s=0
        )  # fmt: skip
