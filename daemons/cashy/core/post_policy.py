"""What a form's policy allows, and the policy that goes on to the store.

Law. Pure: a form's fields in, a verdict out; time and keys are parameters. That the policy was signed, and by whom, is found out by
:func:`cashy.core.sigv4.authenticate_policy`; this module says what the signed text permits. It is strict where S3 is: every field but the
signature, the policy and ``x-ignore-…`` must be covered by a condition, names of fields do not depend on case, and conditions hold for the
fields *after* ``${filename}`` has been filled in.

The store gets a policy of its own, signed with what the caller is there, that says "equal" of every field that goes on: the caller's was made for
other keys. Fields pass by the list of what S3 has, as headers do (:mod:`cashy.core.s3_forward`); S3 ignores others, and a store may not.

Source: Amazon S3 API Reference, "POST Policy", "POST Object", "Creating an HTML form (using AWS Signature Version 4)".
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import StoreKey
from cashy.core.sigv4 import prepared_key

__all__ = ["FILE_BYTES_MAX", "Allowed", "allowed_by", "fields_for_store", "with_file_name"]

#: S3's limit for one POST, 5 GiB.
FILE_BYTES_MAX = 5 << 30

#: Long enough for any upload, which the store lets begin until then.
_STORE_POLICY_VALID = timedelta(hours=1)

_FILE_NAME = "${filename}"
_EXPIRATION = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")
_NEED_NO_CONDITION = frozenset(("x-amz-signature", "policy", "file"))
_PASSED = frozenset(
    (
        "acl", "cache-control", "content-disposition", "content-encoding", "content-language", "content-md5", "content-type", "expires",
        "redirect", "success_action_redirect", "success_action_status", "tagging",
    )
)  # fmt: skip
# Of x-amz-*, what belongs to the form's own signature.
_OWN_AMZ = frozenset(
    ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-security-token", "x-amz-signature")
)


class Allowed(NamedTuple):
    """What remains to be seen when the file comes: its least and greatest size, in bytes."""

    size_min: int
    size_max: int


def with_file_name(fields: Mapping[str, str], file_name: str) -> dict[str, str]:
    """The fields with ``${filename}`` filled in. Raises :class:`S3Error` without a key, or where a store could fill it in again."""
    if "key" not in fields:
        raise S3Error(
            "InvalidArgument",
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
            (("ArgumentName", "key"),),
        )
    filled = {
        name: value if name == "policy" else value.replace(_FILE_NAME, file_name)
        for name, value in fields.items()
    }
    if any(_FILE_NAME in value for name, value in filled.items() if name != "policy"):
        raise S3Error("InvalidArgument", "The file's name cannot be filled in.")
    if not filled["key"]:
        raise S3Error(
            "InvalidArgument", "User key must have a length greater than 0.", (("ArgumentName", "key"),)
        )
    return filled


def allowed_by(fields: Mapping[str, str], bucket: str, now_s: float) -> Allowed:
    """Checks a form (:func:`with_file_name`) by its own policy, which is signed. Raises :class:`S3Error`."""
    policy = _parsed(fields["policy"])
    if _expiry_s(policy) <= now_s:
        raise _denied("Policy expired.")
    conditions = policy.get("conditions")
    if not isinstance(conditions, list):
        raise _invalid("Policy missing conditions." if conditions is None else "Invalid 'conditions' value.")
    given = {**{name: value for name, value in fields.items() if name != "policy"}, "bucket": bucket}
    covered = set(_NEED_NO_CONDITION) | {"bucket"}
    size_min, size_max = 0, FILE_BYTES_MAX
    for condition in conditions:
        if isinstance(condition, list) and condition[:1] == ["content-length-range"]:
            least, greatest = _length_range(condition)
            size_min, size_max = max(size_min, least), min(size_max, greatest)
            continue
        for name, operator, value in _matches(condition):
            covered.add(name)
            if not _holds(operator, name, given.get(name), value):
                raise _denied(f"Policy Condition failed: {json.dumps([operator, '$' + name, value])}")
    extra = [name for name in fields if name not in covered and not name.startswith("x-ignore-")]
    if extra:
        raise _denied(f"Extra input fields: {', '.join(extra)}")
    return Allowed(size_min, size_max)


# ---------------------------------------------------------------- the document


def _parsed(encoded: str) -> dict[str, Any]:
    try:
        document = json.loads(base64.b64decode("".join(encoded.split()), validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    unknown = document.keys() - {"expiration", "conditions"}
    if unknown:
        raise _invalid(f"Unexpected: '{min(unknown)[:80]}'.")
    return document


def _expiry_s(policy: Mapping[str, Any]) -> float:
    text = policy.get("expiration")
    if text is None:
        raise _invalid("Policy missing expiration.")
    if not isinstance(text, str) or _EXPIRATION.fullmatch(text) is None:
        raise _invalid(f"Invalid 'expiration' value: '{str(text)[:80]}'")
    try:
        return datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        raise _invalid(f"Invalid 'expiration' value: '{text}'") from None


def _length_range(condition: list[Any]) -> tuple[int, int]:
    try:
        _, least, greatest = condition
        least, greatest = int(least), int(greatest)  # S3 takes numbers in quotes, too
    except (ValueError, TypeError):
        raise _invalid("Invalid content-length-range: it has two numbers.") from None
    if least < 0 or greatest < least:
        raise _invalid("Invalid content-length-range: it has two numbers in order.")
    return least, greatest


def _matches(condition: object) -> Iterable[tuple[str, str, str]]:
    """``(field, operator, value)``: one, or one for each member of an object."""
    if isinstance(condition, dict):
        pairs: list[tuple[object, object, object]] = [
            ("eq", f"${name}", value) for name, value in condition.items()
        ]
    elif isinstance(condition, list) and len(condition) == 3:
        pairs = [(condition[0], condition[1], condition[2])]
    else:
        raise _invalid("Invalid condition: it is an object, or a list of three.")
    if not pairs:
        raise _invalid("Invalid condition: it is empty.")
    for operator, name, value in pairs:
        if not isinstance(operator, str) or operator.lower() not in ("eq", "starts-with"):
            raise _invalid("Invalid condition: its operator is eq, starts-with or content-length-range.")
        if not isinstance(name, str) or not name.startswith("$") or not isinstance(value, str):
            raise _invalid("Invalid condition: it has the name of a field, with $, and a text.")
        yield name[1:].lower(), operator.lower(), value


def _holds(operator: str, name: str, found: str | None, value: str) -> bool:
    if operator == "eq":
        return found == value
    if found is None:
        return False
    # "Content-Types values for a starts-with condition that include commas are interpreted as lists."
    values = [part.strip() for part in found.split(",")] if name == "content-type" else [found]
    return all(part.startswith(value) for part in values)


def _invalid(problem: str) -> S3Error:
    return S3Error("InvalidPolicyDocument", f"Invalid Policy: {problem}")


def _denied(reason: str) -> S3Error:
    return S3Error("AccessDenied", f"Invalid according to Policy: {reason}")


# ---------------------------------------------------------------- for the store


def fields_for_store(
    fields: Mapping[str, str],
    bucket: str,
    allowed: Allowed,
    *,
    key: StoreKey | None,
    region: str,
    now_s: float,
) -> list[tuple[str, str]]:
    """The fields that the store gets, in order, with a policy signed by ``key`` (None: unsigned) for them. ``fields`` are allowed ones."""
    sent = {
        name: value
        for name, value in fields.items()
        if name == "key" or name in _PASSED or (name.startswith("x-amz-") and name not in _OWN_AMZ)
    }
    if key is None:
        return list(sent.items())
    now = datetime.fromtimestamp(int(now_s), UTC)
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    sent["x-amz-algorithm"] = "AWS4-HMAC-SHA256"
    sent["x-amz-credential"] = f"{key.access_key}/{stamp[:8]}/{region}/s3/aws4_request"
    sent["x-amz-date"] = stamp
    conditions: list[object] = [{"bucket": bucket}, *({name: value} for name, value in sent.items())]
    conditions.append(["content-length-range", allowed.size_min, allowed.size_max])
    expiration = (now + _STORE_POLICY_VALID).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    document = json.dumps({"expiration": expiration, "conditions": conditions})
    sent["policy"] = base64.b64encode(document.encode()).decode()
    signing_key = prepared_key(key.secret, stamp[:8].encode(), region)
    sent["x-amz-signature"] = signing_key.sign(sent["policy"].encode()).decode()
    return list(sent.items())
