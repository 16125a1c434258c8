"""Answers about buckets that are directories, and the list of buckets: whatever is not a plain read of an object.

Law: the request was admitted and its place was found; here is said what S3 says of such a bucket. Reads of the object itself in another
guise (its only version, an expected owner) are given back as what they are, for the master has the objects. Every write is refused with
MethodNotAllowed, not AccessDenied: nobody can be given the right, and no client should look for it; of its body
nothing is read. The list of buckets shows a caller those that its key's patterns allow, wherever they are.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_to_bytes

from cashy.core.http_head import Request
from cashy.core.s3_errors import S3Error
from cashy.core.s3_listing import MAX_KEYS, integer_of, listing_query, parameters
from cashy.core.s3_listing_buckets import buckets_page, can_be_named, joined
from cashy.core.s3_listing_subresources import bucket_question, object_question, refusal_of_write
from cashy.core.s3_listing_xml import (
    BUCKET_DOCUMENTS,
    OWNER_ID,
    document,
    empty_tagging_document,
    location_document,
    uploads_document,
)
from cashy.core.s3_request import Action, ObjectRead, classify
from cashy.core.s3_response import common_headers
from cashy.s3.directory_place import DirectoryPlace
from cashy.s3.store_questions import buckets_of

if TYPE_CHECKING:
    from cashy.s3.worker import Worker

__all__ = ["PlainRead", "answer_directory", "list_buckets", "whole_answer"]

_SSE_C = b"x-amz-server-side-encryption-customer-"
_MET_HEADERS = (
    b"access-control-request-headers",
    b"access-control-request-method",
    b"origin",  # without rules for other origins, an answer is as without the question
    b"x-amz-expected-bucket-owner",
    b"x-amz-request-payer",
)


class PlainRead(NamedTuple):
    """A request that turned out to be for an object as it is."""

    request: Request
    action: ObjectRead


async def answer_directory(
    worker: Worker, place: DirectoryPlace, request: Request, action: Action
) -> bytes | PlainRead | None:
    """The document that answers, None for a success without one (HeadBucket), or a plain read. Raises :class:`S3Error` or a CashyError."""
    worker.counters["directory_requests_total"] += 1
    if request.method not in (b"GET", b"HEAD"):
        raise refusal_of_write(request.method)
    _check_owner(request)
    if action.key:
        return await _about_object(worker, request, action)
    if request.method == b"HEAD":
        return None
    return await _about_bucket(worker, place, action.bucket, parameters(request.query))


async def list_buckets(worker: Worker, key_id: str | None, query: bytes) -> bytes:
    """The document of ListBuckets over all origins. Raises :class:`S3Error` or a CashyError."""
    worker.counters["directory_requests_total"] += 1
    may_see = worker.credentials.authorise
    places = []
    for origin in worker.stores.origins:
        if isinstance(origin, DirectoryPlace):
            places.append(await origin.folders(can_be_named))
        else:
            shown = await buckets_of(worker, origin, key_id)
            places.append({name: at for name, at in shown.items() if origin.spec.answers_for(name)})
    buckets = {name: at for name, at in joined(places).items() if may_see(key_id, name, "read")}
    return buckets_page(buckets, parameters(query))


def whole_answer(
    worker: Worker, body: bytes | None, request_id: str, *, is_head: bool, keep_alive: bool
) -> bytes:
    """The whole answer of success with a document, or without one."""
    common = common_headers(request_id, int(time.time()), keep_alive=keep_alive)
    length = b"" if body is None else b"Content-Length: %d\r\n" % len(body)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\n%bx-amz-bucket-region: %b\r\n%b"
        % (length, _region(worker).encode(), common)
    )  # fmt: skip
    return head if is_head or body is None else head + body


def _region(worker: Worker) -> str:
    return next(iter(worker.options.regions), "us-east-1")


def _check_owner(request: Request) -> None:
    owner = request.headers.get(b"x-amz-expected-bucket-owner")
    if owner is not None and owner != OWNER_ID.encode():
        raise S3Error("AccessDenied")


async def _about_bucket(worker: Worker, place: DirectoryPlace, bucket: str, given: dict[str, str]) -> bytes:
    question, name = bucket_question(given, given.get("list-type"))
    if question == "location":
        return location_document(_region(worker))
    if question == "document":
        return document(*BUCKET_DOCUMENTS[name])
    if question == "uploads":
        count_max = min(MAX_KEYS, integer_of("max-uploads", given, MAX_KEYS))
        query = listing_query("versions", bucket, given)
        return uploads_document(query, given.get("upload-id-marker", ""), count_max)
    return await place.listing(listing_query(question, bucket, given))


async def _about_object(worker: Worker, request: Request, action: Action) -> bytes | PlainRead:
    if any(name.startswith(_SSE_C) for name in request.headers):
        text = "The encryption parameters are not applicable to this object."
        raise S3Error("InvalidRequest", text)
    plain = _as_plain(request)
    if plain is not None:
        return plain
    given = parameters(request.query)
    await worker.session.stat(f"s3://{action.bucket}/{action.key}", revalidate=False)
    object_question(given, given.get("versionId"))
    return empty_tagging_document()


def _as_plain(request: Request) -> PlainRead | None:
    """The same request less what makes no difference for a file, if that leaves a plain read."""
    pairs = [pair for pair in request.query.split(b"&") if not _is_null_version(pair)]
    plain = Request(request.method, request.path + b"?" + b"&".join(pairs), {}, request.keep_alive)
    plain.headers = {name: value for name, value in request.headers.items() if name not in _MET_HEADERS}
    action = classify(plain)
    return PlainRead(plain, action) if isinstance(action, ObjectRead) else None


def _is_null_version(pair: bytes) -> bool:
    name, _, value = pair.partition(b"=")
    return unquote_to_bytes(name) == b"versionId" and unquote_to_bytes(value) == b"null"
