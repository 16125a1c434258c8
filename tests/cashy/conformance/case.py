"""What a case of the S3 conformance suite is: calls as they go over the wire, and what a conforming store answers.

Law. A case says what AWS's documentation or an RFC says, and where; it knows neither stores nor cashy nor how often it is run. Texts may have
placeholders in braces: ``{bucket}`` and ``{key}``, which are different for every run, and whatever an earlier call of the same run has
saved (:attr:`Call.saves`). Whether a store fails a case is no matter of the case but of :mod:`tests.cashy.conformance.known`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

__all__ = [
    "API",
    "GUIDE",
    "SIGV4",
    "Call",
    "Case",
    "Check",
    "Credentials",
    "Expected",
    "Form",
    "Payload",
    "Response",
    "Signature",
    "delete",
    "found_texts",
    "get",
    "head",
    "header_has",
    "options",
    "post",
    "put",
    "xml_count",
    "xml_has",
    "xml_lacks",
    "xml_texts",
]

API = "docs.aws.amazon.com/AmazonS3/latest/API/"
GUIDE = "docs.aws.amazon.com/AmazonS3/latest/userguide/"
SIGV4 = "docs.aws.amazon.com/IAM/latest/UserGuide/"

#: How ``x-amz-content-sha256`` speaks of the body: its hash, nothing, or one of the three ways of chunks; ``"…"`` is sent as it is.
Payload = str
Signature = Literal["header", "query", "none"]


@dataclass(frozen=True)
class Response:
    """One answer; names of headers in lower case, of equal ones the values joined as RFC 9110 5.3 has it."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    was_told_to_continue: bool = False

    @property
    def code(self) -> str:
        """S3's error code; empty without a body that says one."""
        try:
            root = ElementTree.fromstring(self.body)
        except ElementTree.ParseError:
            return ""
        return root.findtext("Code") or "" if root.tag == "Error" else ""

    @property
    def summary(self) -> tuple[int, str]:
        """What two stores' answers are compared by."""
        return self.status, self.code


#: Looks at an answer and says what is wrong with it, or "".
Check = Callable[[Response], str]


@dataclass(frozen=True)
class Expected:
    """What an answer must be. ``headers``: a value, None for "must not be there", or a pattern that the whole value must match.

    A tuple of statuses or codes means any of them, where the documents leave it open. ``body`` None: anything.
    """

    status: int | tuple[int, ...] = (200, 204)
    code: str | tuple[str, ...] = ""
    headers: Mapping[str, str | re.Pattern[str] | None] = field(default_factory=dict)
    body: bytes | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Credentials:
    """With what a request is signed, for the wrong ones as well; ``age_s`` is how old its date is."""

    key: str = "{access_key}"
    secret: str = "{secret}"
    region: str = "us-east-1"
    service: str = "s3"
    age_s: float = 0.0
    expires_s: int = 300


@dataclass(frozen=True)
class Form:
    """An upload by HTML form. Its policy demands exactly ``fields``, then the ``conditions``; ``changed`` fields are others than were signed, empty
    ones are left out. ``policy`` takes the place of the document; None: there is one, ``""``: there is none, and no signature.
    """

    fields: Mapping[str, str] = field(default_factory=lambda: {"key": "{key}"})
    file: bytes | None = b""
    file_name: str = "file name"
    conditions: tuple[Any, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    policy: str | None = None
    expires_s: int = 300
    after: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request, to the byte. ``target`` is sent as it stands; it is signed in the canonical form that AWS documents.

    ``unsigned_headers`` are added after the signature, an empty value takes the header away. ``rewrite`` changes the finished head
    (request line and headers, without the empty line). ``adds_md5``: Content-MD5 of the finished body. ``saves``: placeholder ->
    ``header:NAME``, ``xml:PATH``, or ``query:PATH``, which is the element's text encoded for a query.
    """

    method: str
    target: str = "/{bucket}/{key}"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    payload: Payload = "signed"
    signature: Signature = "header"
    credentials: Credentials = field(default_factory=Credentials)
    form: Form | None = None
    trailer: tuple[str, str] | None = None
    unsigned_headers: Mapping[str, str] = field(default_factory=dict)
    rewrite: Callable[[str], str] | None = None
    rewrite_body: Callable[[bytes], bytes] | None = None
    adds_md5: bool = False
    waits_for_continue: bool = False
    saves: Mapping[str, str] = field(default_factory=dict)
    is_cached: bool = False
    expected: Expected = field(default_factory=Expected)

    def gives(
        self,
        status: int | tuple[int, ...] = (200, 204),
        code: str | tuple[str, ...] = "",
        *,
        body: bytes | None = None,
        headers: Mapping[str, str | re.Pattern[str] | None] | None = None,
        checks: tuple[Check, ...] | Check = (),
    ) -> Self:
        """The same call with what it must be answered."""
        checks = checks if isinstance(checks, tuple) else (checks,)
        return replace(self, expected=Expected(status, code, headers or {}, body, checks))

    def saving(self, **places: str) -> Self:
        """The same call, remembering parts of its answer."""
        return replace(self, saves=places)

    @property
    def cached(self) -> Self:
        """The same call, of which the repetition must be answered without asking the store."""
        return replace(self, is_cached=True)

    @property
    def is_read(self) -> bool:
        """Whether it may be repeated without changing anything (RFC 9110 9.2.1)."""
        return self.method in ("GET", "HEAD", "OPTIONS")

    @property
    def is_harmless(self) -> bool:
        """Whether it reads, also for a store that believes whatever it is told."""
        return self.is_read and self.rewrite is None


@dataclass(frozen=True)
class Case:
    """One statement of a document. ``prepared`` calls must succeed; ``calls`` are the test.

    ``by_cashy``: cashy decides it without the store, so it must be right even where the store behind is wrong; ``by_cashy_warm``: once the
    object is in memory.
    ``own_bucket``: nothing else is in its bucket. ``read_only``: nor do its calls change anything, so that all cases of the
    same preparation share one.
    """

    name: str
    source: str
    calls: tuple[Call, ...]
    prepared: tuple[Call, ...] = ()
    own_bucket: bool = False
    read_only: bool = False
    by_cashy: bool = False
    by_cashy_warm: bool = False


def _call(method: str, target: str, more: Mapping[str, Any], headers: Mapping[str, str]) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(method, target, headers=named, **more)


def get(target: str = "/{bucket}/{key}", /, more: Any = None, **headers: str) -> Call:
    """GET; headers as keywords (``If_Match``), other fields of :class:`Call` in ``more``."""
    return _call("GET", target, more or {}, headers)


def head(target: str = "/{bucket}/{key}", /, more: Any = None, **headers: str) -> Call:
    """HEAD."""
    return _call("HEAD", target, more or {}, headers)


def put(body: bytes, target: str = "/{bucket}/{key}", /, more: Any = None, **headers: str) -> Call:
    """PUT."""
    return _call("PUT", target, {"body": body, **(more or {})}, headers)


def post(body: bytes, target: str = "/{bucket}/{key}", /, more: Any = None, **headers: str) -> Call:
    """POST."""
    return _call("POST", target, {"body": body, **(more or {})}, headers)


def delete(target: str = "/{bucket}/{key}", /, more: Any = None, **headers: str) -> Call:
    """DELETE."""
    return _call("DELETE", target, more or {}, headers)


def options(target: str = "/{bucket}/{key}", /, **headers: str) -> Call:
    """OPTIONS, unsigned as browsers send it."""
    return _call("OPTIONS", target, {"signature": "none"}, headers)


# ---------------------------------------------------------------- looks at an answer's body


def _tree(response: Response) -> ElementTree.Element:
    root = ElementTree.fromstring(response.body)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]  # stores differ in whether they name S3's namespace
    return root


def found_texts(response: Response, path: str) -> list[str]:
    """Texts of the elements at ``path`` below the root; empty if the body is no XML."""
    try:
        return [element.text or "" for element in _tree(response).iterfind(path)]
    except ElementTree.ParseError:
        return []


def xml_texts(path: str, *wanted: str) -> Check:
    """The elements at ``path`` have exactly these texts, in this order."""

    def check(response: Response) -> str:
        found = found_texts(response, path)
        return "" if found == list(wanted) else f"{path} is {found}, not {list(wanted)}"

    return check


def xml_count(path: str, count: int) -> Check:
    """So many elements at ``path``."""

    def check(response: Response) -> str:
        found = len(found_texts(response, path))
        return "" if found == count else f"{found} of {path}, not {count}"

    return check


def xml_has(path: str, pattern: str = r"(?s).+") -> Check:
    """There is an element at ``path``, and the first one's whole text matches."""

    def check(response: Response) -> str:
        found = found_texts(response, path)
        return "" if found and re.fullmatch(pattern, found[0]) else f"{path} is {found}, not like {pattern}"

    return check


def xml_lacks(path: str) -> Check:
    """There is no element at ``path``, or an empty one."""

    def check(response: Response) -> str:
        found = [text for text in found_texts(response, path) if text]
        return f"{path} is {found}" if found else ""

    return check


def header_has(name: str, path: str) -> Check:
    """The header and the element at ``path`` say the same."""

    def check(response: Response) -> str:
        found = found_texts(response, path)
        value = response.headers.get(name.lower())
        return "" if found == [value] else f"{name} is {value} and {path} {found}"

    return check
