"""Forms, read up to their file and written anew: whatever the pieces in which they come."""

from __future__ import annotations

from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cashy.core.post_form import (
    FIELDS_BYTES_MAX,
    FIELDS_MAX,
    Form,
    FormFile,
    FormReader,
    form_body_start,
    form_content_type,
    is_form,
)
from cashy.core.s3_errors import S3Error

BOUNDARY = b"xBx"
TYPE = b"multipart/form-data; boundary=xBx"


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--xBx\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def body_of(fields: dict[str, str], file: bytes, after: bytes = b"--xBx--\r\n") -> bytes:
    parts = [part(name, value.encode()) for name, value in fields.items()]
    return b"".join(parts) + part("file", file, '; filename="a.txt"') + after


def read(
    body: bytes, step: int, content_type: bytes = TYPE, size: tuple[int, int] = (0, 1 << 30)
) -> tuple[Form, bytes]:
    """The form, and the rest of the body as it goes on."""
    reader = FormReader(content_type)
    for at in range(0, len(body), step):
        form = reader.feed(body[at : at + step])
        if form is not None:
            file = FormFile(form.boundary, reader.rest(), *size)
            sent = [file.feed(body[more : more + step]) for more in range(at + step, len(body), step)]
            return form, b"".join(b"".join(pieces) for pieces in [*sent, file.finish()])
    raise S3Error("MalformedPOSTRequest")


def code_of(body: bytes, **more: Any) -> str:
    codes = set()
    for step in (1, 7, len(body)):
        with pytest.raises(S3Error) as caught:
            read(body, step, **more)
        codes.add(caught.value.code)
    (code,) = codes
    return code


_NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}", fullmatch=True).filter(lambda name: name != "file")
_VALUES = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=50)


@given(
    fields=st.dictionaries(_NAMES, _VALUES, max_size=5),
    file=st.binary(max_size=300) | st.lists(st.sampled_from([b"\r\n", b"--", b"xB", b"x", b"-", b"a"])).map(b"".join),
    step=st.integers(1, 400),
    after=st.sampled_from([b"--xBx--", b"--xBx--\r\n", part("submit", b"Upload") + b"--xBx--\r\n"]),
)  # fmt: skip
def test_what_goes_on_is_the_fields_and_the_file_and_as_long_as_was_said(
    fields: dict[str, str], file: bytes, step: int, after: bytes
) -> None:
    assume(b"--xBx" not in file)
    body = body_of(fields, file, after)
    form, rest = read(body, step)
    assert form.fields == fields
    assert form.file_name == "a.txt"
    assert len(rest) == len(body) - form.consumed_bytes
    start = form_body_start(form.boundary, form.fields.items(), "text/x")
    # Read back by a reader that is not ours.
    head = b"Content-Type: " + form_content_type(form.boundary) + b"\r\n\r\n"
    message = message_from_bytes(head + start + rest)
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == len(fields) + 1
    for (name, value), one in zip(fields.items(), parts, strict=False):
        assert one.get_param("name", header="content-disposition") == name
        assert one.get_payload(decode=True) == value.encode()
    assert (
        (start + rest)
        .split(b'filename="file"\r\nContent-Type: text/x\r\n\r\n', 1)[1]
        .startswith(file + b"\r\n--xBx--")
    )


@given(file=st.binary(max_size=50), cut=st.integers(0, 200), step=st.integers(1, 100))
def test_a_form_that_is_cut_off_is_none(file: bytes, cut: int, step: int) -> None:
    assume(b"--xBx" not in file)
    body = body_of({"key": "k"}, file, b"--xBx--")
    with pytest.raises(S3Error):
        read(body[: min(cut, len(body) - 1)], step)


@pytest.mark.parametrize(
    "body",
    [
        b"preamble" + body_of({"key": "k"}, b"x"),
        body_of({"key": "k"}, b"x").replace(b"--xBx\r\n", b"--xBx \r\n"),  # padding after a boundary
        body_of({"key": "k"}, b"x").replace(b"\r\n", b"\n"),
        body_of({"key": "k"}, b"x\r\n--xBxy\r\n"),  # a line that only begins like a boundary
        body_of({"key": "k"}, b"--xBx--\r\n"),
        body_of({"key": "k"}, b"x") + b"more",
        body_of({"key": "k"}, b"x", b""),
        part("key", b"\xff") + part("file", b"x") + b"--xBx--",
        part("key", b"k", "\r\nContent-Disposition: form-data; name=\"other\"") + part("file", b"x") + b"--xBx--",
        part("key", b"k", "\r\nContent-Transfer-Encoding: base64") + part("file", b"x") + b"--xBx--",
        part("key", b"k").replace(b"form-data", b"attachment") + part("file", b"x") + b"--xBx--",
        part("key", b"k").replace(b'; name="key"', b"") + part("file", b"x") + b"--xBx--",
        b"--xBx\r\n\r\nk\r\n" + part("file", b"x") + b"--xBx--",
        body_of({"key": "k"}, b"x", part("more", b"y" * FIELDS_BYTES_MAX) + b"--xBx--"),
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    assert code_of(body) == "MalformedPOSTRequest"


def test_the_file_is_one_and_there() -> None:
    assert code_of(part("key", b"k") + b"--xBx--\r\n") == "InvalidArgument"
    assert (
        code_of(part("key", b"k") + part("KEY", b"k") + part("file", b"x") + b"--xBx--") == "InvalidArgument"
    )
    assert code_of(part("key", b"k\r\nx: y") + part("file", b"x") + b"--xBx--") == "InvalidArgument"


def test_before_the_file_there_are_so_many_bytes_and_fields() -> None:
    empty = len(body_of({"key": ""}, b"")) - len(b"\r\n--xBx--\r\n")
    fits = body_of({"key": "k" * (FIELDS_BYTES_MAX - empty)}, b"x" * 100)
    for step in (1000, len(fits)):
        assert read(fits, step)[0].consumed_bytes == FIELDS_BYTES_MAX
    assert (
        code_of(body_of({"key": "k" * (FIELDS_BYTES_MAX - empty + 1)}, b"x"))
        == "MaxPostPreDataLengthExceededError"
    )
    many = {f"f{number}": "" for number in range(FIELDS_MAX)}
    assert len(read(body_of(many, b"x"), 999)[0].fields) == FIELDS_MAX
    assert code_of(body_of(many | {"key": "k"}, b"x")) == "MaxPostPreDataLengthExceededError"


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_sizes_that_the_policy_allows(step: int) -> None:
    for size in (3, 5):
        read(body_of({"key": "k"}, b"x" * size), step, size=(3, 5))
    for size, code in ((2, "EntityTooSmall"), (6, "EntityTooLarge"), (600, "EntityTooLarge")):
        with pytest.raises(S3Error, match=code):
            read(body_of({"key": "k"}, b"x" * size), step, size=(3, 5))


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ('; filename="a b.txt"', "a b.txt"), ("; filename=plain", "plain"), ('; filename="C:\\\\folder\\\\x.txt"', "x.txt"),
        ('; filename="/tmp/ü.bin"', "ü.bin"), ('; filename="a\\"b"', 'a"b'), ('; filename=""', ""), ("", ""),
    ],
)  # fmt: skip
def test_the_files_name_is_without_folders(parameters: str, name: str) -> None:
    form, _ = read(part("file", b"x", parameters + "\r\nContent-Type: text/plain") + b"--xBx--", 9)
    assert (form.file_name, form.file_type) == (name, "text/plain")


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b"multipart/form-data; boundary=xBx", b"xBx"), (b'Multipart/Form-Data;charset=utf-8; Boundary="x B/x"', b"x B/x"),
        (b"multipart/form-data; boundary=xBx; charset=utf-8", b"xBx"), (b"multipart/form-data", None), (b"multipart/mixed; boundary=xBx", None),
        (b"multipart/form-data; boundary=", None), (b'multipart/form-data; boundary="x\r\ny"', None),
        (b"multipart/form-data; boundary=" + b"x" * 71, None),
    ],
)  # fmt: skip
def test_boundaries(content_type: bytes, boundary: bytes | None) -> None:
    if boundary is None:
        with pytest.raises(S3Error, match="PreconditionFailed"):
            FormReader(content_type)
    else:
        body = body_of({"key": "k"}, b"x").replace(b"--xBx", b"--" + boundary)
        assert read(body, 11, content_type)[0].boundary == boundary


def test_which_requests_are_forms() -> None:
    assert is_form(b"POST", "", {b"content-type": b" Multipart/mixed"})
    assert not is_form(b"POST", "", {b"content-type": b"text/xml"})
    assert not is_form(b"PUT", "k", {b"content-type": TYPE})
    with pytest.raises(S3Error, match="MethodNotAllowed"):
        is_form(b"POST", "k", {b"content-type": TYPE})
