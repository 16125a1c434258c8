"""POST Object: uploads by HTML form, what their policies allow, and what a reader sees afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tests.cashy.conformance.case import (
    API,
    Call,
    Case,
    Credentials,
    Form,
    get,
    post,
    put,
    xml_has,
)

__all__ = ["CASES"]

_POST = API + "RESTObjectPOST.html"
_POLICY = API + "sigv4-HTTPPOSTConstructPolicy.html"
_FORMS = API + "sigv4-HTTPPOSTForms.html"
_ERRORS = API + "ErrorResponses.html"

OLD, NEW = b"old content", b"new content, longer"
_LARGE = b"\r\n----0123456789abcdeF--" * 20_000

_kept = get().gives(200, body=OLD)
_changed = get().gives(200, body=NEW)
_KEY = {"key": "{key}"}


def _form(file: bytes | None = NEW, fields: dict[str, str] | None = None, **more: Any) -> Call:
    form = Form({**_KEY, **(fields or {})}, file, **more)
    return post(b"", "/{bucket}", {"form": form, "signature": "none"})


def _old() -> Call:
    return put(OLD)


def _uploads() -> Iterator[Case]:
    yield Case("post/new", _POST, (_form().gives(204), _changed))
    yield Case("post/over-another", _POST, (_kept, _form().gives(204), _changed), (_old(),))
    over_and_over = (_form().gives(204), _changed, put(OLD), _kept, _form().gives(204), _changed)
    yield Case("post/over-and-over", _POST, over_and_over, (_old(),))
    yield Case("post/zero-bytes", _POST, (_form(b"").gives(204), get().gives(200, body=b"")), (_old(),))
    yield Case(
        "post/several-blocks", _POST, (_form(_LARGE).gives(204), get().gives(200, body=_LARGE)), (_old(),)
    )
    described = (xml_has("Bucket"), xml_has("Key"), xml_has("ETag"), xml_has("Location"))
    created = _form(fields={"success_action_status": "201"}).gives(201, checks=described)
    yield Case("post/status-201-describes", _FORMS + " success_action_status", (created, _changed), (_old(),))
    ok = _form(fields={"success_action_status": "200"}).gives(200)
    yield Case("post/status-200", _FORMS + " success_action_status", (ok, _changed), (_old(),))
    odd = _form(fields={"success_action_status": "404"}).gives(204)
    yield Case("post/status-that-is-none", _FORMS + " success_action_status", (odd, _changed), (_old(),))
    moved = _form(fields={"success_action_redirect": "http://localhost/done"}).gives(303)
    yield Case("post/redirect", _FORMS + " success_action_redirect", (moved, _changed), (_old(),))
    named = _form(fields={"key": "{key}/${filename}"}, conditions=(["starts-with", "$key", ""],))
    at_name = get("/{bucket}/{key}/file%20name").gives(200, body=NEW)
    yield Case("post/named-by-the-file", _FORMS + " ${filename}", (named.gives(204), at_name))
    typed = _form(fields={"Content-Type": "text/x", "Cache-Control": "max-age=5", "x-amz-meta-a": "b"}).gives(
        204
    )
    shown = get().gives(
        200, body=NEW, headers={"Content-Type": "text/x", "Cache-Control": "max-age=5", "x-amz-meta-a": "b"}
    )
    yield Case("post/describes", _FORMS, (typed, shown), (_old(),))
    prefix = _form(
        fields={"Content-Type": "image/x"}, conditions=(["starts-with", "$Content-Type", "image/"],)
    )
    yield Case("post/starts-with", _POLICY, (prefix.gives(204), _changed), (_old(),))
    sized = _form(conditions=(["content-length-range", len(NEW), len(NEW)],)).gives(204)
    yield Case("post/exactly-so-long", _POLICY + " content-length-range", (sized, _changed), (_old(),))
    ignored = _form(changed={"x-ignore-this": "1"}).gives(204)
    yield Case("post/field-to-be-ignored", _POLICY + " x-ignore-", (ignored, _changed), (_old(),))
    after = _form(after={"key": "{key}-other", "submit": "Upload"}).gives(204)
    elsewhere = get("/{bucket}/{key}-other").gives(404)
    yield Case("post/fields-after-the-file", _FORMS + " file", (after, _changed, elsewhere), (_old(),))


#: name, source, call, status, code
_REFUSED: tuple[tuple[str, str, Call, int | tuple[int, ...], str | tuple[str, ...]], ...] = (
    ("expired", _POLICY + " expiration", _form(expires_s=-10), 403, "AccessDenied"),
    ("unknown-key", _ERRORS + " InvalidAccessKeyId", replace(_form(), credentials=Credentials(key="AKIDUNKNOWN")), 403, "InvalidAccessKeyId"),
    ("wrong-secret", _ERRORS + " SignatureDoesNotMatch", replace(_form(), credentials=Credentials(secret="wrong")), 403, "SignatureDoesNotMatch"),
    ("key-changed", _POLICY, _form(changed={"key": "{key}-other"}), 403, "AccessDenied"),
    ("other-start", _POLICY + " starts-with", _form(conditions=(["starts-with", "$key", "other/"],)), 403, "AccessDenied"),
    ("field-left-out", _POLICY, _form(conditions=({"acl": "private"},)), 403, "AccessDenied"),
    ("field-added", _POLICY, _form(changed={"acl": "public-read"}), 403, "AccessDenied"),
    ("other-bucket", _POLICY, _form(conditions=({"bucket": "another"},)), 403, "AccessDenied"),
    ("too-long", _ERRORS + " EntityTooLarge", _form(conditions=(["content-length-range", 0, 3],)), 400, "EntityTooLarge"),
    ("too-short", _ERRORS + " EntityTooSmall", _form(conditions=(["content-length-range", 100, 200],)), 400, "EntityTooSmall"),
    ("without-key", _FORMS + " key", _form(changed={"key": ""}), 400, ("InvalidArgument", "UserKeyMustBeSpecified")),
    ("without-file", _FORMS + " file", _form(None), 400, ("InvalidArgument", "MalformedPOSTRequest")),
    ("without-signature", _FORMS + " x-amz-signature", _form(changed={"x-amz-signature": ""}), (400, 403), ("InvalidArgument", "AccessDenied")),
    ("without-policy", _FORMS + " policy", _form(policy=""), 403, "AccessDenied"),
    ("no-policy-document", _ERRORS + " InvalidPolicyDocument", _form(policy="what"), 400, "InvalidPolicyDocument"),
    ("policy-without-expiration", _POLICY, _form(policy='{"conditions": []}'), 400, "InvalidPolicyDocument"),
    ("policy-without-conditions", _POLICY, _form(policy='{"expiration": "2099-01-01T00:00:00Z"}'), 400, "InvalidPolicyDocument"),
    (
        "signed-by-version-2", _FORMS + " x-amz-algorithm",
        _form(policy="", changed={"AWSAccessKeyId": "A", "signature": "s", "policy": "e30="}), (400, 403), "",
    ),
)  # fmt: skip


def _refusals() -> Iterator[Case]:
    for name, source, call, status, code in _REFUSED:
        yield Case(f"post/{name}", source, (call.gives(status, code), _kept), (_old(),), by_cashy=True)
    cut = _form().gives(400, "MalformedPOSTRequest")
    cut = replace(cut, rewrite_body=lambda body: body[: body.rindex(b"\r\n--")])
    yield Case("post/cut-off", _ERRORS + " MalformedPOSTRequest", (cut, _kept), (_old(),), by_cashy=True)
    other = post(NEW, "/{bucket}", {"signature": "header"}, Content_Type="text/plain").gives(
        412, "PreconditionFailed"
    )
    yield Case("post/other-content-type", _ERRORS + " PreconditionFailed", (other,), by_cashy=True)


CASES: tuple[Case, ...] = (*_uploads(), *_refusals())
