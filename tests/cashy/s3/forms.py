"""Uploads by HTML form, as boto3's documentation has them sent."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

__all__ = ["form_body", "post_form"]

_BOUNDARY = b"0123456789abcdef"


def form_body(
    fields: Mapping[str, str], file: bytes | None, file_name: str = "name"
) -> tuple[bytes, dict[str, str]]:
    """The body and its headers; without a file if there is none."""
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        % (_BOUNDARY, name.encode(), value.encode())
        for name, value in fields.items()
    ]
    if file is not None:
        head = f'Content-Disposition: form-data; name="file"; filename="{file_name}"\r\n\r\n'
        parts.append(b"--%b\r\n%b%b\r\n" % (_BOUNDARY, head.encode(), file))
    body = b"".join(parts) + b"--%b--\r\n" % _BOUNDARY
    return body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY.decode()}"}


def post_form(
    presigned: Mapping[str, Any], file: bytes | None, file_name: str = "name", **changed: str
) -> tuple[int, bytes]:
    """Sends what ``generate_presigned_post`` gave; an empty text takes a field away. Gives status and body."""
    fields = {name: value for name, value in (presigned["fields"] | changed).items() if value}
    body, headers = form_body(fields, file, file_name)
    request = urllib.request.Request(presigned["url"], data=body, headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
