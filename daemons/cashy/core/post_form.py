"""Uploads by HTML form (POST Object): a ``multipart/form-data`` body, read up to its file, which then goes on in a body of our own.

Law. Bytes in, fields and bytes out: no socket, no clock, no key; what a form allows is said by :mod:`cashy.core.post_policy`. What we read and what
the store reads must be one thing, so the form is read strictly, and what the store gets is written anew: the fields that were checked, then
the file, then nothing. Only the file's own bytes pass as they came, and the boundary with them.

* *What comes after the file is ignored*, as S3 ignores it, and does not go on: a store that read a second ``key`` there would write another
  object than the one that was allowed and marked. Its bytes are replaced by as many that mean nothing (an epilogue, RFC 2046 5.1.1), for the
  length in the head has been sent before anybody knows where the file ends.
* *What two readers could take for different boundaries is refused*: blanks after one, text that only begins like one, a file that begins
  with one.
* *All that follows the file is held back* until the form has come to its end and the file's length is one that the policy allows.

Source: Amazon S3 API Reference, "POST Object", "Creating an HTML form (using AWS Signature Version 4)"; RFC 7578; RFC 2046 5.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cashy.core.s3_errors import S3Error

__all__ = [
    "FIELDS_BYTES_MAX",
    "FIELDS_MAX",
    "Form",
    "FormFile",
    "FormReader",
    "form_body_start",
    "form_content_type",
    "is_form",
]

#: S3's own limit of what stands before the file.
FIELDS_BYTES_MAX = 20 << 10

#: boto3 makes six; each must be named by the policy, which is one of them.
FIELDS_MAX = 100

_BOUNDARY = re.compile(
    rb"multipart/form-data[ \t]*;(?:[^\"]*;)?[ \t]*boundary=(?:\"([0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-])\"|"
    rb"([0-9A-Za-z'+_.-]{1,70}))[ \t]*(?:;.*)?",
    re.IGNORECASE,
)
_PARAMETER = re.compile(r';[ \t]*([A-Za-z*]+)=("(?:[^"\\\r\n]|\\.)*"|[^\s";]+)')
_DISPOSITION = re.compile(rf"form-data((?:{_PARAMETER.pattern}[ \t]*)*)", re.IGNORECASE)
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

# A boundary has a line end before it everywhere but at the very beginning of a body, where it is thought to be.
_BEFORE = b"\r\n"

# Fields whose values are documents and may have lines.
_DOCUMENTS = ("policy", "tagging")


def is_form(method: bytes, key: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether it is, by any reading, an upload by form: any multipart POST to a bucket. Raises :class:`S3Error` for one to a key."""
    if method != b"POST" or not headers.get(b"content-type", b"").strip().lower().startswith(b"multipart/"):
        return False
    if key:
        raise S3Error("MethodNotAllowed")
    return True


class Form(NamedTuple):
    """What stands before the file. ``fields`` by their names in lower case, in order; ``file_name`` is without folders.

    ``boundary`` is that of the body, ``consumed_bytes`` how much of it stands before the file's first byte.
    """

    boundary: bytes
    fields: dict[str, str]
    file_name: str
    file_type: str
    consumed_bytes: int


class FormReader:
    """Reads a form up to its file's first byte. Raises :class:`S3Error` for what is no form."""

    def __init__(self, content_type: bytes) -> None:
        match = _BOUNDARY.fullmatch(content_type.strip())
        if match is None:
            raise S3Error(
                "PreconditionFailed",
                details=(("Condition", "Bucket POST must be of the enclosure-type multipart/form-data"),),
            )
        self._boundary: bytes = match[1] or match[2]
        self._delimiter = b"\r\n--" + self._boundary
        self._data = bytearray(_BEFORE)
        self._at = 0
        self._fields: dict[str, str] = {}

    def feed(self, data: bytes) -> Form | None:
        """Takes bytes; gives the form once its file begins. What is left is :meth:`rest`."""
        self._data += data
        while (part := self._next_part()) is not None:
            name, file_name, content_type, begins_at = part
            if name == "file":
                self._at = begins_at
                self._check_length(begins_at)
                consumed_bytes = begins_at - len(_BEFORE)
                return Form(
                    self._boundary, self._fields, _without_folders(file_name), content_type, consumed_bytes
                )
            if not self._take_field(name, begins_at):
                break
        self._check_length(len(self._data))
        return None

    def rest(self) -> bytes:
        """The bytes that were fed and belong to the file or follow it."""
        return bytes(self._data[self._at :])

    def _check_length(self, length: int) -> None:
        if length - len(_BEFORE) > FIELDS_BYTES_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")

    def _next_part(self) -> tuple[str, str, str, int] | None:
        """Name, file name, type and first byte of the part that begins here; None if its headers are not whole."""
        data, at = self._data, self._at
        delimiter = self._delimiter
        begun = bytes(data[at : at + len(delimiter) + 2])
        if len(begun) == len(delimiter) + 2 and begun == delimiter + b"--":
            raise S3Error("InvalidArgument", "POST requires exactly one file upload per request.")
        if not (delimiter + b"\r\n").startswith(begun):
            if begun == (delimiter + b"--")[: len(begun)]:
                return None
            raise _malformed()
        at += len(delimiter)
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return None
        name, file_name, content_type = _part_headers(bytes(data[at + 2 : end]))
        return name, file_name, content_type, end + 4

    def _take_field(self, name: str, begins_at: int) -> bool:
        """Takes the field's value, if it is whole."""
        end = self._data.find(self._delimiter, begins_at)
        if end < 0:
            return False
        try:
            value = bytes(self._data[begins_at:end]).decode()
        except UnicodeDecodeError:
            raise _malformed() from None
        if name in self._fields:
            raise S3Error("InvalidArgument", f"The form has more than one field {name[:80]!r}.")
        if len(self._fields) == FIELDS_MAX:
            raise S3Error("MaxPostPreDataLengthExceededError")
        if name not in _DOCUMENTS and _CONTROLS.search(value):
            raise S3Error("InvalidArgument", "A field's value has control characters.", _argument(name))
        self._fields[name] = value
        self._at = end
        return True


def _part_headers(lines: bytes) -> tuple[str, str, str]:
    """``(name, file name, content type)`` of a part's headers (RFC 7578 4.2)."""
    try:
        text = lines.decode()
    except UnicodeDecodeError:
        raise _malformed() from None
    headers: dict[str, str] = {}
    for line in text.split("\r\n"):
        name, colon, value = line.partition(":")
        if not colon or name.lower() in headers or _CONTROLS.search(line):
            raise _malformed()
        headers[name.lower()] = value.strip()
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "7bit", "8bit"):
        raise _malformed()
    match = _DISPOSITION.fullmatch(headers.get("content-disposition", ""))
    if match is None:
        raise _malformed()
    parameters = {name.lower(): _unquoted(value) for name, value in _PARAMETER.findall(match[1])}
    if "name" not in parameters:
        raise _malformed()
    return parameters["name"].lower(), parameters.get("filename", ""), headers.get("content-type", "")


def _unquoted(value: str) -> str:
    return re.sub(r'\\(["\\])', r"\1", value[1:-1]) if value.startswith('"') else value


def _without_folders(file_name: str) -> str:
    """Some browsers send the whole path; S3 takes what stands after the last slash, of either kind."""
    return re.split(r"[/\\]", file_name)[-1]


def _argument(name: str) -> tuple[tuple[str, str], ...]:
    return (("ArgumentName", name),)


def _malformed() -> S3Error:
    return S3Error("MalformedPOSTRequest")


# ---------------------------------------------------------------- on to the store


def form_content_type(boundary: bytes) -> bytes:
    """The header that goes with the body."""
    return b'multipart/form-data; boundary="%b"' % boundary


def form_body_start(boundary: bytes, fields: Iterable[tuple[str, str]], file_type: str) -> bytes:
    """The body that the store gets, up to the file's first byte."""
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (boundary, name.encode(), value.encode())
        for name, value in fields
    ]
    # A part is a file to a store only if it has a name; the key stands among the fields.
    head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="file"\r\n' % boundary
    if file_type:
        head += b"Content-Type: %b\r\n" % file_type.encode()
    return b"".join(parts) + head + b"\r\n"


class FormFile:
    """The file and all that follows it, an :class:`~cashy.core.upload_body.Upload`: as many bytes go as come.

    ``begun`` is what has come of it with the fields; ``size_min`` and ``size_max`` are the policy's ``content-length-range``, in bytes.
    """

    def __init__(self, boundary: bytes, begun: bytes, size_min: int, size_max: int) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._begun = begun
        self._size_min, self._size_max = size_min, size_max
        self._size = 0
        self._tail = b""  # of the file, what may be the beginning of the boundary
        self._after: bytearray | None = None  # what follows the boundary

    def feed(self, data: bytes) -> list[bytes]:
        """Takes bytes as the client sent them, gives the file's. Raises :class:`S3Error`."""
        data, self._begun = self._begun + data, b""
        if self._after is not None:
            self._take_after(data)
            return []
        known = self._tail + data
        if self._size == 0 and known.startswith(self._delimiter[2:]):
            raise _malformed()  # some readers see a boundary here
        at = known.find(self._delimiter)
        if at < 0:
            at = max(0, len(known) - len(self._delimiter) + 1)
            content, self._tail = known[:at], known[at:]
        else:
            content, self._tail = known[:at], b""
            self._after = bytearray()
            self._take_after(known[at + len(self._delimiter) :])
        self._size += len(content)
        if self._size > self._size_max:
            raise S3Error("EntityTooLarge", details=self._sizes("MaxSizeAllowed", self._size_max))
        return [content] if content else []

    def finish(self) -> list[bytes]:
        """The body has ended; gives the end of ours. Raises :class:`S3Error` if it was no form, or the file is too small."""
        content = self.feed(b"") if self._begun else []
        after = None if self._after is None else bytes(self._after)
        end = self._delimiter + b"--"
        if after is None or not (
            after in (b"--", b"--\r\n")
            or (after.startswith(b"\r\n") and after.endswith((end, end + b"\r\n")))
        ):
            raise _malformed()
        if self._size < self._size_min:
            raise S3Error("EntityTooSmall", details=self._sizes("MinSizeAllowed", self._size_min))
        return [*content, self._delimiter + b"--" + (b"\r\n" + b" " * (len(after) - 4))[: len(after) - 2]]

    def _take_after(self, data: bytes) -> None:
        after = self._after
        assert after is not None
        after += data
        if len(after) > FIELDS_BYTES_MAX:
            raise _malformed()
        if not any(whole.startswith(after[:2]) for whole in (b"\r\n", b"--")):
            raise _malformed()  # a text that begins like a boundary, which not all readers take for one

    def _sizes(self, limit: str, bytes_allowed: int) -> tuple[tuple[str, str], ...]:
        return ("ProposedSize", str(self._size)), (limit, str(bytes_allowed))
