"""Who asks, and how: Signature Version 4 in headers and in the query, anonymous requests, methods, and HTTP itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from tests.cashy.conformance.case import (
    API,
    GUIDE,
    SIGV4,
    Call,
    Case,
    Credentials,
    delete,
    get,
    head,
    put,
    xml_has,
)

__all__ = ["CASES"]

_HEADER = API + "sigv4-auth-using-authorization-header.html"
_QUERY = API + "sigv4-query-string-auth.html"
_ERRORS = API + "ErrorResponses.html"
_BODY = b"not for everybody"
_object = (put(_BODY),)
_kept = get().gives(200, body=_BODY)


def _without(name: str) -> Callable[[str], str]:
    return lambda text: re.sub(rf"(?im)^{name}:.*\r\n", "", text)


def _with(name: str, pattern: str, text: str) -> Callable[[str], str]:
    """Replaces ``pattern`` in the header's line."""
    return lambda head_text: re.sub(rf"(?im)^({name}:.*?){pattern}", rf"\g<1>{text}", head_text)


def _in_target(pattern: str, text: str) -> Callable[[str], str]:
    def change(head_text: str) -> str:
        line, end, rest = head_text.partition("\r\n")
        return re.sub(pattern, text, line) + end + rest

    return change


#: Where AWS's documents say that a request is refused and not with which code.
_REFUSED = (400, 403)
_OPEN = (
    "AccessDenied",
    "AuthorizationHeaderMalformed",
    "AuthorizationQueryParametersError",
    "InvalidAccessKeyId",
    "InvalidArgument",
    "InvalidRequest",
    "InvalidToken",
    "MissingSecurityHeader",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
)

_Rewrite = Callable[[str], str]
_Statuses = int | tuple[int, ...]
_Codes = str | tuple[str, ...]

#: name, source, credentials, rewrite, statuses, codes
_WRONG: tuple[tuple[str, str, Credentials, _Rewrite | None, _Statuses, _Codes], ...] = (
    ("unknown-key", _ERRORS + " InvalidAccessKeyId", Credentials(key="AKIDUNKNOWN"), None, 403, "InvalidAccessKeyId"),
    ("wrong-secret", _ERRORS + " SignatureDoesNotMatch", Credentials(secret="wrong"), None, 403, "SignatureDoesNotMatch"),
    ("signature-changed", _ERRORS, Credentials(), _with("Authorization", "(?<=Signature=).{4}", "0000"), 403, "SignatureDoesNotMatch"),
    ("signature-cut-off", _ERRORS + " SignatureDoesNotMatch", Credentials(), _with("Authorization", "(?<=Signature=).{10}", ""), _REFUSED, _OPEN),
    ("clock-20-minutes-behind", _ERRORS + " RequestTimeTooSkewed", Credentials(age_s=1200), None, 403, "RequestTimeTooSkewed"),
    ("clock-20-minutes-ahead", _ERRORS + " RequestTimeTooSkewed", Credentials(age_s=-1200), None, 403, "RequestTimeTooSkewed"),
    ("other-service", _ERRORS + " AuthorizationHeaderMalformed", Credentials(service="ec2"), None, _REFUSED, _OPEN),
    ("other-region", _ERRORS + " AuthorizationHeaderMalformed", Credentials(region="eu-nowhere-1"), None, 400, "AuthorizationHeaderMalformed"),
    ("method-changed", _HEADER, Credentials(), lambda text: text.replace("GET ", "DELETE ", 1), 403, "SignatureDoesNotMatch"),
    ("path-changed", _HEADER, Credentials(), _in_target(r"(/[^/ ]+/[^/ ]+) ", r"\1-other "), 403, "SignatureDoesNotMatch"),
    ("query-added", _HEADER, Credentials(), _in_target(r" HTTP", "?acl HTTP"), 403, "SignatureDoesNotMatch"),
    ("date-changed", _HEADER, Credentials(), _with("X-Amz-Date", r"\d\dZ", "61Z"), _REFUSED, _OPEN),
    ("date-missing", _HEADER, Credentials(), _without("X-Amz-Date"), _REFUSED, _OPEN),
    ("hash-missing", _HEADER + " x-amz-content-sha256", Credentials(), _without("X-Amz-Content-SHA256"), _REFUSED, _OPEN),
    ("scope-of-another-day", _HEADER, Credentials(), _with("Authorization", r"/20\d{6}/", "/20000101/"), _REFUSED, _OPEN),
    ("scope-cut-off", _ERRORS + " AuthorizationHeaderMalformed", Credentials(), _with("Authorization", "/aws4_request", ""), _REFUSED, _OPEN),
    ("no-credential", _ERRORS + " AuthorizationHeaderMalformed", Credentials(), _with("Authorization", "Credential=[^,]*, ?", ""), _REFUSED, _OPEN),
    ("no-signature", _ERRORS + " AuthorizationHeaderMalformed", Credentials(), _with("Authorization", r", ?Signature=[^\r\n]*", ""), _REFUSED, _OPEN),
    ("host-not-signed", _HEADER + " SignedHeaders", Credentials(), _with("Authorization", "SignedHeaders=host;", "SignedHeaders="), _REFUSED, _OPEN),
    ("other-algorithm", _HEADER, Credentials(), _with("Authorization", "AWS4-HMAC-SHA256", "AWS4-HMAC-MD5"), _REFUSED, _OPEN),
    ("garbled", _HEADER, Credentials(), _with("Authorization", r"AWS4-HMAC-SHA256 [^\r\n]*", "AWS4-HMAC-SHA256 what"), _REFUSED, _OPEN),
    ("basic", _HEADER, Credentials(), _with("Authorization", r"AWS4[^\r\n]*", "Basic YWRtaW46YWRtaW4="), _REFUSED, _OPEN),
    ("header-added", _HEADER + " every x-amz- header", Credentials(), lambda text: text + "x-amz-meta-added: 1\r\n", 403, _OPEN),
    ("token-added", _ERRORS + " InvalidToken", Credentials(), lambda text: text + "x-amz-security-token: forged\r\n", _REFUSED, _OPEN),
)  # fmt: skip


def _header_signatures() -> Iterator[Case]:
    for name, source, credentials, rewrite, status, code in _WRONG:
        call = replace(get(), credentials=credentials, rewrite=rewrite).gives(status, code)
        # cashy is of any region unless it is told one.
        yield Case(f"auth/{name}", source, (call, _kept), _object, by_cashy=name != "other-region")
    for name, credentials in (
        ("unknown-key", Credentials(key="AKIDUNKNOWN")),
        ("wrong-secret", Credentials(secret="wrong")),
    ):
        for method, body in (("PUT", b"forged"), ("DELETE", b""), ("HEAD", b"")):
            call = Call(method, body=body, credentials=credentials).gives(403)
            yield Case(f"auth/{name}-{method.lower()}", _HEADER, (call, _kept), _object, by_cashy=True)
    late = (
        replace(get(), credentials=Credentials(age_s=600)).gives(200, body=_BODY),
        replace(get(), credentials=Credentials(age_s=-600)).gives(200, body=_BODY),
    )
    yield Case("auth/clock-10-minutes-off", _ERRORS + " RequestTimeTooSkewed", late, _object)
    spaces = Call("GET", headers={"x-amz-meta-odd": "  a   b  "}).gives(200, body=_BODY)
    yield Case("auth/spaces-in-values", SIGV4 + "create-signed-request.html", (spaces,), _object)
    order = get("/{bucket}/{key}?response-content-type=a%2Fb&response-cache-control=no-store").gives(
        200, body=_BODY
    )
    yield Case("auth/query-not-in-order", SIGV4 + "create-signed-request.html", (order,), _object)
    twice = get("/{bucket}?prefix=%C3%BC%20%2B&list-type=2&delimiter=%2F").gives(200)
    yield Case("auth/query-encoded", SIGV4 + "create-signed-request.html", (twice,), _object)
    bare = get("/{bucket}?location=").gives(200)
    yield Case("auth/query-without-value", SIGV4 + "create-signed-request.html", (bare,), _object)
    trailing = Call("GET", payload="UNSIGNED-PAYLOAD").gives(200, body=_BODY)
    yield Case("auth/unsigned-payload", API + "sig-v4-header-based-auth.html", (trailing,), _object)


def _anonymous() -> Iterator[Case]:
    source = GUIDE + "access-control-overview.html"
    for name, call in (
        ("get", get()),
        ("head", head()),
        ("put", put(b"forged")),
        ("delete", delete()),
        ("list", get("/{bucket}?list-type=2")),
        ("range", get(Range="bytes=0-1")),
        ("condition", get(If_None_Match="*")),
    ):
        unsigned = replace(call, signature="none").gives(403, "AccessDenied")
        yield Case(f"anonymous/{name}", source, (unsigned, _kept), _object, by_cashy=True)
    missing = replace(get("/{bucket}/{key}-none"), signature="none").gives(403, "AccessDenied")
    yield Case(
        "anonymous/not-told-what-is-missing",
        API + "API_GetObject.html 403 without s3:ListBucket",
        (missing,),
        _object,
        by_cashy=True,
    )


def _presigned() -> Iterator[Case]:
    def signed(call: Call, *, age_s: float = 0.0, expires_s: int = 300) -> Call:
        given = Credentials(age_s=age_s, expires_s=expires_s)
        return replace(call, signature="query", credentials=given)

    yield Case("presigned/get", _QUERY, (signed(get()).gives(200, body=_BODY).cached,), _object)
    yield Case("presigned/head", _QUERY, (signed(head()).gives(200, body=b"").cached,), _object)
    yield Case(
        "presigned/put", _QUERY, (signed(put(b"new")).gives(200), get().gives(200, body=b"new")), _object
    )
    yield Case("presigned/delete", _QUERY, (signed(delete()).gives(204), get().gives(404)), _object)
    ranged = signed(get(more={"unsigned_headers": {"Range": "bytes=0-2"}})).gives(206, body=_BODY[:3])
    yield Case("presigned/range", _QUERY, (ranged.cached,), _object)
    condition = signed(get(more={"unsigned_headers": {"If-None-Match": "*"}})).gives(304)
    yield Case("presigned/condition", _QUERY, (condition,), _object)
    typed = signed(get("/{bucket}/{key}?response-content-type=a%2Fb")).gives(
        200, headers={"Content-Type": "a/b"}
    )
    yield Case("presigned/response-content-type", _QUERY, (typed.cached,), _object)
    listed = signed(get("/{bucket}?list-type=2&prefix={key}")).gives(200, checks=xml_has("Contents/Key"))
    yield Case("presigned/list", _QUERY, (listed,), _object)
    longest = signed(get(), expires_s=604_800).gives(200, body=_BODY)
    yield Case("presigned/for-seven-days", _QUERY + " X-Amz-Expires", (longest,), _object)
    old = signed(get(), age_s=3600, expires_s=7200).gives(200, body=_BODY)
    yield Case("presigned/an-hour-old", _QUERY + " X-Amz-Expires", (old,), _object)
    for name, call, status, code in (
        ("expired", signed(get(), age_s=120, expires_s=60), 403, "AccessDenied"),
        (
            "over-seven-days",
            signed(get(), expires_s=604_801),
            (400, 403),
            ("AuthorizationQueryParametersError", "AccessDenied"),
        ),
        (
            "negative-time",
            signed(get(), expires_s=-7),
            (400, 403),
            ("AuthorizationQueryParametersError", "AccessDenied"),
        ),
        ("from-the-future", signed(get(), age_s=-3600), 403, ("AccessDenied", "RequestTimeTooSkewed")),
    ):
        yield Case(
            f"presigned/{name}",
            _QUERY + " X-Amz-Expires",
            (call.gives(status, code), _kept),
            _object,
            by_cashy=True,
        )
    changes: tuple[tuple[str, str, str, _Statuses, _Codes], ...] = (
        ("signature-changed", "(?<=X-Amz-Signature=).{4}", "0000", 403, "SignatureDoesNotMatch"),
        ("time-prolonged", "X-Amz-Expires=300", "X-Amz-Expires=3000", 403, "SignatureDoesNotMatch"),
        ("parameter-added", " HTTP", "&versionId=null HTTP", 403, "SignatureDoesNotMatch"),
        ("other-key", r"(/[^/ ]+/[^/ ?]+)\?", r"\1-other?", 403, "SignatureDoesNotMatch"),
        ("without-date", "&X-Amz-Date=[^& ]*", "", _REFUSED, _OPEN),
        ("without-expiry", "&X-Amz-Expires=[^& ]*", "", _REFUSED, _OPEN),
        ("without-signature", "&X-Amz-Signature=[^& ]*", "", _REFUSED, _OPEN),
        ("other-algorithm", "AWS4-HMAC-SHA256", "AWS4-HMAC-MD5", _REFUSED, _OPEN),
        ("other-method", "^GET", "DELETE", 403, "SignatureDoesNotMatch"),
        ("expiry-no-number", "X-Amz-Expires=300", "X-Amz-Expires=soon", _REFUSED, _OPEN),
    )
    for name, pattern, text, wrong_status, wrong_code in changes:
        call = replace(signed(get()), rewrite=_in_target(pattern, text)).gives(wrong_status, wrong_code)
        yield Case(f"presigned/{name}", _QUERY, (call, _kept), _object, by_cashy=True)
    both = replace(
        get(), rewrite=_in_target(" HTTP", "?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00 HTTP")
    )
    yield Case(
        "presigned/and-signed-header",
        _ERRORS + " InvalidArgument",
        (both.gives((400, 403)), _kept),
        _object,
        by_cashy=True,
    )


def _http() -> Iterator[Case]:
    old = replace(get(), rewrite=lambda text: text.replace("HTTP/1.1", "HTTP/1.0", 1)).gives(200, body=_BODY)
    yield Case("http/version-1.0", "RFC 9112 2.3", (old.cached,), _object)
    closing = get(Connection="close").gives(200, body=_BODY)
    yield Case("http/connection-close", "RFC 9112 9.6", (closing.cached,), _object)
    absolute = replace(
        get(), rewrite=lambda text: re.sub(r"^GET (/.*?) ((?s:.*)Host: (\S+))", r"GET http://\3\1 \2", text)
    )
    yield Case("http/absolute-form", "RFC 9112 3.2.2", (absolute.gives(200, body=_BODY).cached,), _object)
    cased = replace(get(Range="bytes=0-1"), rewrite=lambda text: text.replace("Range:", "rANGE:")).gives(
        206, body=_BODY[:2]
    )
    yield Case("http/header-names-have-no-case", "RFC 9110 5.1", (cased.cached,), _object)
    blank = replace(get(), rewrite=lambda text: "\r\n" + text).gives(200, body=_BODY)
    yield Case("http/empty-line-before", "RFC 9112 2.2", (blank,), _object)
    malformed: tuple[tuple[str, str, str, _Statuses], ...] = (
        ("without-host", r"Host: .*\r\n", "", 400),
        ("two-hosts", r"Host: .*\r\n", "Host: a\r\nHost: b\r\n", 400),
        ("space-before-colon", r"Host: ", "Host : ", 400),
        ("folded-header", r"(X-Amz-Date: .*\r\n)", r"\1 folded\r\n", (400, 403)),
        ("no-version", r" HTTP/1.1\r\n", "\r\n", (400, 505)),
        ("version-9", r"HTTP/1.1", "HTTP/9.9", (400, 505)),
    )
    for name, pattern, text, status in malformed:
        wrong = replace(get(), rewrite=partial(re.sub, pattern, text, count=1))
        yield Case(f"http/{name}", "RFC 9112 3", (wrong.gives(status), _kept), _object, by_cashy=True)
    both = replace(put(b"0\r\n\r\n"), rewrite=lambda text: text + "Transfer-Encoding: chunked\r\n").gives(400)
    yield Case("http/length-and-chunked", "RFC 9112 6.3", (both, _kept), _object, by_cashy=True)
    lengths = replace(put(b"new"), rewrite=lambda text: text + "Content-Length: 2\r\n").gives(400)
    yield Case("http/two-lengths", "RFC 9112 6.3", (lengths, _kept), _object, by_cashy=True)
    for method in ("PATCH", "TRACE"):
        unknown = Call(method).gives((400, 403, 405, 501))
        yield Case(f"http/method-{method.lower()}", _ERRORS + " MethodNotAllowed", (unknown, _kept), _object)
    post_to_key = Call("POST").gives((400, 405, 412, 501))
    yield Case("http/post-to-a-key", _ERRORS + " MethodNotAllowed", (post_to_key, _kept), _object)
    root = put(b"", "/").gives(405, "MethodNotAllowed")
    yield Case("http/put-to-the-root", _ERRORS + " MethodNotAllowed", (root,), by_cashy=True)
    named = get().gives(200, headers={"Transfer-Encoding": None, "Content-Length": str(len(_BODY))})
    yield Case("http/length-and-not-chunked", "RFC 9110 8.6", (named.cached,), _object)


CASES: tuple[Case, ...] = (*_header_signatures(), *_anonymous(), *_presigned(), *_http())
