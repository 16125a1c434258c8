"""What else can be asked of a bucket that is a directory, and of its objects: tables of subresources.

Law. Only what S3's operations are called and what they answer where nothing was configured; whether bucket or object exists is looked up
before by whoever asks here. A file has no policy, tags, lock or versions, and S3 has a code or an empty document for
that, by which clients go on. Where S3 has neither (an ACL always exists), it is NotImplemented: an invented ACL would
be believed.

Source: Amazon S3 API Reference, "Actions" and "Error responses".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from cashy.core.s3_errors import S3Error
from cashy.core.s3_listing import ListingKind

__all__ = ["BucketQuestion", "bucket_question", "object_question", "refusal_of_write"]

BucketQuestion = ListingKind | Literal["location", "uploads", "document"]

_LISTINGS: dict[str, BucketQuestion] = {
    "versions": "versions",
    "location": "location",
    "uploads": "uploads",
    "versioning": "document",
    "notification": "document",
    "logging": "document",
    "accelerate": "document",
    "requestPayment": "document",
}

#: Of a bucket: the code that says that there is none.
_NONE_CONFIGURED = {
    "cors": "NoSuchCORSConfiguration",
    "encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "lifecycle": "NoSuchLifecycleConfiguration",
    "object-lock": "ObjectLockConfigurationNotFoundError",
    "ownershipControls": "OwnershipControlsNotFoundError",
    "policy": "NoSuchBucketPolicy",
    "policyStatus": "NoSuchBucketPolicy",
    "publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
    "replication": "ReplicationConfigurationNotFoundError",
    "tagging": "NoSuchTagSet",
    "website": "NoSuchWebsiteConfiguration",
}
#: Also of a bucket, one of several by their ``id``.
_BY_ID = frozenset(("analytics", "intelligent-tiering", "inventory", "metrics"))
_NOT_HERE = frozenset(("abac", "acl", "metadataConfiguration", "metadataTable", "session"))

_WHERE_IT_IS_NOT = "This operation is not implemented for buckets that are directories."


def bucket_question(names: Iterable[str], list_type: str | None) -> tuple[BucketQuestion, str]:
    """What a GET of a bucket asks, from its parameters' names, and the parameter that says so. Raises :class:`S3Error`."""
    given = frozenset(names)
    for name in sorted(given):
        if name in _LISTINGS:
            return _LISTINGS[name], name
        if name in _NONE_CONFIGURED:
            raise S3Error(_NONE_CONFIGURED[name])
        if name in _BY_ID and "id" in given:
            raise S3Error("NoSuchConfiguration")
        if name in _BY_ID or name in _NOT_HERE:
            raise S3Error("NotImplemented", _WHERE_IT_IS_NOT)
    if list_type not in (None, "2"):
        shown = (("ArgumentName", "list-type"), ("ArgumentValue", list_type))
        raise S3Error("InvalidArgument", "Invalid List Type specified in Request", shown)
    return ("objects-v1" if list_type is None else "objects-v2"), ""


def object_question(names: Iterable[str], version: str | None) -> Literal["tagging"]:
    """What else a GET or HEAD of an existing object asks that can be answered of a file. Raises :class:`S3Error`."""
    given = frozenset(names)
    if version not in (None, "null"):
        raise S3Error("NoSuchVersion", details=(("VersionId", version),))
    if "uploadId" in given:
        raise S3Error("NoSuchUpload")
    if not given.isdisjoint(("legal-hold", "retention")):
        raise S3Error("InvalidRequest", "Bucket is missing Object Lock Configuration")
    if "tagging" in given:
        return "tagging"
    raise S3Error("NotImplemented", _WHERE_IT_IS_NOT)


def refusal_of_write(method: bytes) -> S3Error:
    """Why another method than GET and HEAD is refused."""
    if method == b"OPTIONS":
        return S3Error("AccessDenied", "CORSResponse: CORS is not enabled for this bucket.")
    return S3Error("MethodNotAllowed", "This bucket is a directory, which is served for reading only.")
