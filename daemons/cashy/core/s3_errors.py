"""Errors of the S3 protocol: codes, statuses, XML bodies.

Law. This is the one table of S3 error codes that the endpoint can answer with, and the one place where an error of cashy becomes one
of S3's. Clients decide by the code (boto3 retries ``SlowDown``, pyarrow maps ``NoSuchKey``), so codes are S3's own, never invented.
It knows no connection: a head and a body are made of an error elsewhere (:mod:`cashy.core.s3_response`).

What an origin or the daemon says about itself stays inside: messages of :class:`~cashy.errors.CashyError` name paths, endpoints and
socket files, and the S3 endpoint separates users who may not know these. So a translated error has S3's wording, and the original goes
to the log together with the request id.

Source: "Error responses", Amazon S3 API Reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.sax.saxutils import escape

from cashy.errors import (
    AccessDenied,
    ArenaFull,
    CashyError,
    DeadlineExceeded,
    InternalError,
    InvalidName,
    InvalidRequest,
    NoSuchBucket,
    NoSuchObject,
    NotConnected,
    OriginTimeout,
    OriginUnavailable,
    PinQuotaExceeded,
    SlowDown,
    VersionChanged,
)

__all__ = ["S3_ERRORS", "S3Error", "error_document", "s3_error_of"]

#: Code -> HTTP status and the sentence that goes with it unless the error has its own.
S3_ERRORS: dict[str, tuple[int, str]] = {
    "AccessDenied": (403, "Access Denied"),
    "AuthorizationHeaderMalformed": (400, "The authorization header is malformed."),
    "AuthorizationQueryParametersError": (400, "Error parsing the X-Amz-* query parameters."),
    "BadDigest": (
        400,
        "The Content-MD5 or checksum value that you specified did not match what the server received.",
    ),
    "BadRequest": (400, "An error occurred when parsing the HTTP request."),
    "EntityTooSmall": (400, "Your proposed upload is smaller than the minimum allowed size"),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed object size."),
    "IncompleteBody": (
        400,
        "You did not provide the number of bytes specified by the Content-Length HTTP header",
    ),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidAccessKeyId": (403, "The AWS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidDigest": (400, "The Content-MD5 that you specified is not valid."),
    "InvalidChunkSizeError": (400, "The size of a chunk of the body is not valid."),
    "InvalidPolicyDocument": (
        400,
        "The content of the form does not meet the conditions specified in the policy document.",
    ),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "InvalidRequest": (400, "Invalid Request"),
    "InvalidToken": (400, "The provided token is malformed or otherwise invalid."),
    "InvalidURI": (400, "Couldn't parse the specified URI."),
    "KeyTooLongError": (400, "Your key is too long"),
    "MalformedPOSTRequest": (400, "The body of your POST request is not well-formed multipart/form-data."),
    "MalformedTrailerError": (
        400,
        "The request contained trailing data that was not well-formed or did not conform to our published schema.",
    ),
    "MalformedXML": (
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    ),
    "MaxPostPreDataLengthExceededError": (
        400,
        "Your POST request fields preceding the upload file were too large.",
    ),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "MissingSecurityHeader": (400, "Your request was missing a required header."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchBucketPolicy": (404, "The bucket policy does not exist"),
    "NoSuchCORSConfiguration": (404, "The CORS configuration does not exist"),
    "NoSuchConfiguration": (404, "The specified configuration does not exist."),
    "NoSuchLifecycleConfiguration": (404, "The lifecycle configuration does not exist"),
    "NoSuchPublicAccessBlockConfiguration": (404, "The public access block configuration was not found"),
    "NoSuchTagSet": (404, "The TagSet does not exist"),
    "NoSuchUpload": (
        404,
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
    ),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NoSuchWebsiteConfiguration": (404, "The specified bucket does not have a website configuration"),
    "NotImplemented": (501, "A header or query you provided implies functionality that is not implemented."),
    "ObjectLockConfigurationNotFoundError": (404, "Object Lock configuration does not exist for this bucket"),
    "OwnershipControlsNotFoundError": (404, "The bucket ownership controls were not found"),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold"),
    "ReplicationConfigurationNotFoundError": (404, "The replication configuration was not found"),
    "RequestHeaderSectionTooLarge": (
        400,
        "Your request header section exceeds the maximum allowed request header section size.",
    ),
    "RequestTimeout": (
        400,
        "Your socket connection to the server was not read from or written to within the timeout period.",
    ),
    "RequestTimeTooSkewed": (
        403,
        "The difference between the request time and the server's time is too large.",
    ),
    "ServerSideEncryptionConfigurationNotFoundError": (
        404,
        "The server side encryption configuration was not found",
    ),
    "ServiceUnavailable": (503, "Service is unable to handle request."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
    ),
    "SlowDown": (503, "Please reduce your request rate."),
    "XAmzContentSHA256Mismatch": (
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
    ),
}

#: Whose error becomes which code; the first class that fits counts. Whatever is not here is an InternalError.
_TRANSLATIONS: tuple[tuple[type[CashyError], str], ...] = (
    (NoSuchObject, "NoSuchKey"),
    (NoSuchBucket, "NoSuchBucket"),
    # Well-formed for S3, but no origin can have it, such as a key with ".." in a directory.
    (InvalidName, "NoSuchKey"),
    (AccessDenied, "AccessDenied"),
    (SlowDown, "SlowDown"),
    (DeadlineExceeded, "ServiceUnavailable"),
    (ArenaFull, "SlowDown"),
    (PinQuotaExceeded, "SlowDown"),
    # Clients retry a 503; the next attempt sees the new version, or the origin again.
    (VersionChanged, "ServiceUnavailable"),
    (OriginUnavailable, "ServiceUnavailable"),
    (OriginTimeout, "ServiceUnavailable"),
    (NotConnected, "ServiceUnavailable"),
    (InvalidRequest, "InternalError"),  # between worker and master: nothing the S3 client did
    (InternalError, "InternalError"),
)

# Characters that XML 1.0 cannot carry even as references (section 2.2); keys may have them.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class S3Error(Exception):
    """An answer of the S3 protocol that is an error.

    ``details`` are further elements of the XML body. ``status`` is an HTTP status.
    """

    def __init__(self, code: str, message: str = "", details: Iterable[tuple[str, str]] = ()) -> None:
        self.status, default_message = S3_ERRORS[code]
        self.code = code
        self.message = message or default_message
        self.details = tuple(details)
        super().__init__(f"{code}: {self.message}")


def s3_error_of(error: CashyError) -> S3Error:
    """The S3 error that an error of cashy means to an S3 client; its message tells nothing of the inside."""
    for cause, code in _TRANSLATIONS:
        if isinstance(error, cause):
            return S3Error(code)
    return S3Error("InternalError")


def error_document(error: S3Error, resource: str, request_id: str) -> bytes:
    """The XML body of an error answer, UTF-8. ``resource`` is the decoded path, ``/bucket/key``."""
    elements = (
        ("Code", error.code),
        ("Message", error.message),
        *error.details,
        ("Resource", resource),
        ("RequestId", request_id),
    )
    body = "".join(f"<{name}>{_text(value)}</{name}>" for name, value in elements)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{body}</Error>'.encode()


def _text(value: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", value))
