"""Uploads by HTML form (POST Object), on their way through :class:`cashy.s3.proxy.Proxying`.

Law: nothing of a form is believed before its policy's signature is verified, and nothing but its fields is read before that; who signed it, and
what its key and bucket are, is then admitted as any write is. A form is signed by its fields only: one that comes in a request that is signed
itself is refused, since it would say twice who it is. Without a policy it is nobody's, and nobody may write.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from cashy.core.http_head import Request
from cashy.core.names import S3_KEY_BYTES_MAX
from cashy.core.post_form import (
    FIELDS_BYTES_MAX,
    Form,
    FormFile,
    FormReader,
    form_body_start,
    form_content_type,
)
from cashy.core.post_policy import FILE_BYTES_MAX, Allowed, allowed_by, fields_for_store, with_file_name
from cashy.core.s3_errors import S3Error
from cashy.core.s3_forward import StoreAddress, StoreKey, check_target, forwarded_headers, request_head
from cashy.core.sigv4 import authenticate_policy
from cashy.core.upload_body import UNSIGNED_PAYLOAD, UploadPlan

if TYPE_CHECKING:
    from cashy.s3.connection import S3Connection
    from cashy.s3.worker import Worker

__all__ = ["PostedForm", "admit_form", "read_form"]

# What passes of a form's own headers; its content is described by its fields.
_PASSED = frozenset((b"origin", b"user-agent"))


class PostedForm(NamedTuple):
    """A form that may be done: whose it is, what it writes, and what has come of it. ``left_bytes`` of its body are the file and what follows."""

    key_id: str
    bucket: str
    key: str
    form: Form
    fields: dict[str, str]
    allowed: Allowed
    begun: bytes
    left_bytes: int

    def plan(self) -> UploadPlan:
        """How the rest of the body goes on."""
        file = FormFile(self.form.boundary, self.begun, *self.allowed)
        return UploadPlan(file, self.left_bytes, UNSIGNED_PAYLOAD, {})

    def head(self, request: Request, address: StoreAddress, store_key: StoreKey | None) -> bytes:
        """Head and beginning of the request to the store, up to the file's first byte."""
        now_s = time.time()
        fields = fields_for_store(
            self.fields, self.bucket, self.allowed, key=store_key, region=address.region, now_s=now_s
        )
        start = form_body_start(self.form.boundary, fields, self.form.file_type)
        headers = {
            name: value for name, value in forwarded_headers(request.headers).items() if name in _PASSED
        } | {b"content-type": form_content_type(self.form.boundary)}
        return _start_head(headers, self.bucket, address, len(start) + self.left_bytes, now_s) + start


def _start_head(
    headers: dict[bytes, bytes], bucket: str, address: StoreAddress, length: int, now_s: float
) -> bytes:
    """The head: unsigned, since the form is."""
    return request_head(
        b"POST", b"/" + bucket.encode(), b"", headers,
        address=address, key=None, payload=UNSIGNED_PAYLOAD, length=length, epoch_s=now_s,
    )  # fmt: skip


async def read_form(connection: S3Connection, request: Request) -> tuple[Form, bytes, int]:
    """The form, what has come of its file, and how many bytes of the body are the file and what follows. Raises :class:`S3Error`."""
    body, text = request.body, request.headers.get(b"content-length")
    if text is None:
        raise S3Error("MissingContentLength")
    length = int(text)  # digits: the parser has checked
    if length > FILE_BYTES_MAX + 2 * FIELDS_BYTES_MAX:
        raise S3Error("EntityTooLarge")
    if body is None:
        raise S3Error("MalformedPOSTRequest")
    reader = FormReader(request.headers[b"content-type"])
    connection.tell_to_continue(request)
    while data := await connection.read_body(body):
        connection.worker.counters["proxied_bytes_received_total"] += len(data)
        form = reader.feed(data)
        if form is not None:
            return form, reader.rest(), length - form.consumed_bytes
    raise S3Error("MalformedPOSTRequest")


def admit_form(
    worker: Worker, path: bytes, bucket: str, form: Form, begun: bytes, left_bytes: int
) -> PostedForm:
    """Who uploads by this form, and may they? Raises :class:`S3Error`."""
    signed = form.fields
    if "x-amz-security-token" in signed:
        raise S3Error("InvalidToken")
    if "awsaccesskeyid" in signed or "signature" in signed:
        raise S3Error(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
        )
    if "policy" not in signed:
        raise S3Error("AccessDenied")
    now_s = time.time()
    credentials = worker.credentials
    key_id = authenticate_policy(
        signed, now_s=now_s, secret_of=credentials.secret_of, regions=worker.options.regions
    )
    fields = with_file_name(signed, form.file_name)
    key = fields["key"]
    if len(key.encode()) > S3_KEY_BYTES_MAX:
        raise S3Error("KeyTooLongError")
    allowed = allowed_by(fields, bucket, now_s)
    if not credentials.authorise(key_id, bucket, "write"):
        raise S3Error("AccessDenied")
    check_target(b"PUT", path, b"", bucket, key)
    return PostedForm(key_id, bucket, key, form, fields, allowed, begun, left_bytes)
