"""Policies of upload forms: what they allow, and the one that goes on to the store."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.post_policy import FILE_BYTES_MAX, Allowed, allowed_by, fields_for_store, with_file_name
from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import StoreKey
from cashy.core.sigv4 import authenticate_policy, prepared_key

NOW_S = 1_795_000_000.0  # 2026-11-18T11:06:40Z
LATER, EARLIER = "2026-11-18T12:00:00.000Z", "2026-11-18T11:06:40Z"


def encoded(policy: Any) -> str:
    text = policy if isinstance(policy, str) else json.dumps(policy)
    return base64.b64encode(text.encode()).decode()


def verdict(fields: dict[str, str], conditions: Any, policy: dict[str, Any] | None = None) -> tuple[Any, ...]:
    document = {"expiration": LATER, "conditions": conditions} | (policy or {})
    document = {name: value for name, value in document.items() if value is not ...}
    try:
        return tuple(allowed_by({**fields, "policy": encoded(document)}, "b", NOW_S))
    except S3Error as error:
        return error.code, error.message


ANY = (0, FILE_BYTES_MAX)
KEY = {"key": "user/x.jpg"}


@pytest.mark.parametrize(
    ("fields", "conditions", "expected"),
    [
        (KEY, [{"key": "user/x.jpg"}], ANY),
        (KEY, [["eq", "$key", "user/x.jpg"], {"bucket": "b"}], ANY),
        (KEY, [["starts-with", "$key", "user/"]], ANY),
        (KEY, [["starts-with", "$KEY", ""]], ANY),
        (KEY, [["Starts-With", "$key", ""]], ANY),
        (KEY, [{"key": "user/x.jpg", "bucket": "b"}], ANY),
        (KEY, [["starts-with", "$key", "user/"], ["content-length-range", 1, 10]], (1, 10)),
        (KEY, [["starts-with", "$key", "user/"], ["content-length-range", "1", "10"], ["content-length-range", 0, 5]], (1, 5)),
        (KEY | {"x-ignore-a": "b", "x-amz-signature": "s"}, [["starts-with", "$key", ""]], ANY),
        (KEY | {"content-type": "image/a, image/b"}, [["starts-with", "$key", ""], ["starts-with", "$Content-Type", "image/"]], ANY),
        (KEY | {"content-type": "image/a, text/b"}, [["starts-with", "$key", ""], ["starts-with", "$Content-Type", "image/"]], "AccessDenied"),
        (KEY, [["starts-with", "$key", "other/"]], "AccessDenied"),
        (KEY, [{"key": "user/X.jpg"}], "AccessDenied"),
        (KEY, [{"bucket": "other"}, {"key": "user/x.jpg"}], "AccessDenied"),
        (KEY, [["starts-with", "$key", ""], ["eq", "$acl", "private"]], "AccessDenied"),
        (KEY, [["starts-with", "$key", ""], ["starts-with", "$acl", ""]], "AccessDenied"),
        (KEY, [], "AccessDenied"),
        (KEY | {"acl": "public-read"}, [["starts-with", "$key", ""]], "AccessDenied"),
        (KEY, {"key": "user/x.jpg"}, "InvalidPolicyDocument"),
        (KEY, ["key"], "InvalidPolicyDocument"),
        (KEY, [{}], "InvalidPolicyDocument"),
        (KEY, [["eq", "key", "user/x.jpg"]], "InvalidPolicyDocument"),
        (KEY, [["ends-with", "$key", "jpg"]], "InvalidPolicyDocument"),
        (KEY, [{"key": 1}], "InvalidPolicyDocument"),
        (KEY, [["content-length-range", 1]], "InvalidPolicyDocument"),
        (KEY, [["content-length-range", -1, 5]], "InvalidPolicyDocument"),
        (KEY, [["content-length-range", 6, 5]], "InvalidPolicyDocument"),
        (KEY, [["content-length-range", "a", 5]], "InvalidPolicyDocument"),
    ],
)  # fmt: skip
def test_conditions(fields: dict[str, str], conditions: Any, expected: Any) -> None:
    found = verdict(fields, conditions)
    assert (found[0] if isinstance(expected, str) else found) == expected


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"expiration": EARLIER}, "Invalid according to Policy: Policy expired."),
        ({"expiration": ...}, "Invalid Policy: Policy missing expiration."),
        ({"expiration": "tomorrow"}, "Invalid Policy: Invalid 'expiration' value: 'tomorrow'"),
        ({"expiration": "2026-13-18T12:00:00Z"}, "Invalid Policy: Invalid 'expiration' value: '2026-13-18T12:00:00Z'"),
        ({"expiration": 5}, "Invalid Policy: Invalid 'expiration' value: '5'"),
        ({"conditions": ...}, "Invalid Policy: Policy missing conditions."),
        ({"CONDITIONS": [], "conditions": ...}, "Invalid Policy: Unexpected: 'CONDITIONS'."),
        ({"version": "x"}, "Invalid Policy: Unexpected: 'version'."),
    ],
)  # fmt: skip
def test_documents(policy: dict[str, Any], message: str) -> None:
    found = verdict(KEY, [["starts-with", "$key", ""]], policy)
    assert found == ("AccessDenied" if "expired" in message else "InvalidPolicyDocument", message)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", '"x"', "[" * 100_000])
def test_what_is_no_document(text: str) -> None:
    with pytest.raises(S3Error, match="Invalid JSON"):
        allowed_by({**KEY, "policy": encoded(text)}, "b", NOW_S)
    with pytest.raises(S3Error, match="Invalid JSON"):
        allowed_by({**KEY, "policy": "%%%"}, "b", NOW_S)


def test_the_files_name_is_filled_in_before_anything_is_checked() -> None:
    fields = with_file_name({"key": "user/${filename}", "policy": "${filename}"}, "a.txt")
    assert fields == {"key": "user/a.txt", "policy": "${filename}"}
    for given_fields, name in (
        ({"acl": "private"}, "a"),
        ({"key": ""}, "a"),
        ({"key": "${filename}"}, "x${filename}"),
        ({"key": "${filename}"}, ""),
    ):
        with pytest.raises(S3Error, match="InvalidArgument"):
            with_file_name(given_fields, name)


_FIELDS = st.dictionaries(
    st.sampled_from(["acl", "content-type", "x-amz-meta-a", "success_action_status", "tagging", "submit", "x-ignore-a", "bucket", "x-amz-date"]),
    st.text(max_size=20),
)  # fmt: skip


@given(fields=_FIELDS, key=st.text(min_size=1, max_size=20))
def test_what_the_store_gets_is_signed_for_it_and_allowed_by_its_policy(
    fields: dict[str, str], key: str
) -> None:
    store_key = StoreKey("AT-STORE", "store-secret")
    sent = dict(
        fields_for_store(
            {**fields, "key": key, "policy": "old"},
            "b",
            Allowed(1, 9),
            key=store_key,
            region="eu-west-3",
            now_s=NOW_S,
        )
    )
    assert sent["key"] == key
    assert not sent.keys() & {"submit", "x-ignore-a", "bucket"}
    signed_by = authenticate_policy(
        sent, now_s=NOW_S, secret_of={"AT-STORE": "store-secret"}.get, regions=("eu-west-3",)
    )
    assert signed_by == "AT-STORE"
    assert allowed_by(sent, "b", NOW_S) == Allowed(1, 9)
    with pytest.raises(S3Error, match="Policy Condition failed"):
        allowed_by({**sent, "key": key + "x"}, "b", NOW_S)
    unsigned = fields_for_store({**fields, "key": key}, "b", Allowed(1, 9), key=None, region="", now_s=NOW_S)
    assert not {name for name, _ in unsigned} & {"policy", "x-amz-signature", "x-amz-date"}


def signed_form(**changed: str) -> dict[str, str]:
    policy = encoded({"expiration": LATER, "conditions": []})
    fields = {
        "policy": policy, "x-amz-algorithm": "AWS4-HMAC-SHA256", "x-amz-date": "20261118T110000Z",
        "x-amz-credential": "KEY/20261118/us-east-1/s3/aws4_request",
        "x-amz-signature": prepared_key("secret", b"20261118", "us-east-1").sign(policy.encode()).decode(),
    }  # fmt: skip
    return {
        name: value
        for name, value in (fields | {name.replace("_", "-"): v for name, v in changed.items()}).items()
        if value
    }


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"x_amz_signature": "0" * 64}, "SignatureDoesNotMatch"),
        ({"policy": encoded({"expiration": LATER})}, "SignatureDoesNotMatch"),
        ({"x_amz_date": "20261118T110001Z"}, ""),  # AWS signs the day only
        ({"x_amz_date": "20261117T110000Z"}, "AuthorizationQueryParametersError"),
        ({"x_amz_credential": "OTHER/20261118/us-east-1/s3/aws4_request"}, "InvalidAccessKeyId"),
        ({"x_amz_credential": "KEY/20261118/eu-west-3/s3/aws4_request"}, "AuthorizationQueryParametersError"),
        ({"x_amz_credential": "KEY/20261118/us-east-1/sts/aws4_request"}, "AuthorizationQueryParametersError"),
        ({"x_amz_credential": "KEY"}, "AuthorizationQueryParametersError"),
        ({"x_amz_algorithm": "AWS4-HMAC-SHA1"}, "AuthorizationQueryParametersError"),
        ({"x_amz_signature": "x"}, "AuthorizationQueryParametersError"),
        ({"x_amz_signature": ""}, "InvalidArgument"),
        ({"x_amz_date": ""}, "InvalidArgument"),
        ({"x_amz_credential": "KEY/20261110/us-east-1/s3/aws4_request", "x_amz_date": "20261110T110000Z"}, "AccessDenied"),
        ({"x_amz_credential": "KEY/20261119/us-east-1/s3/aws4_request", "x_amz_date": "20261119T110000Z"}, "AccessDenied"),
    ],
)  # fmt: skip
def test_who_signed_a_policy(changed: dict[str, str], code: str) -> None:
    def ask() -> str:
        return authenticate_policy(
            signed_form(**changed), now_s=NOW_S, secret_of={"KEY": "secret"}.get, regions=("us-east-1",)
        )

    if not code:
        assert ask() == "KEY"
        return
    with pytest.raises(S3Error) as caught:
        ask()
    assert caught.value.code == code
