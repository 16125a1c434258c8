"""Cases that a store fails when it is asked directly, with the reason. A case that is listed and passes fails the suite."""

from __future__ import annotations

from collections.abc import Mapping

from tests.cashy.conformance.ways import StoreName

__all__ = ["KNOWN"]

#: Reason -> names of cases.
_MOTO = {
    "it verifies no signatures, dates or expiries": """
        headers/response-anonymous-refused put/expect-refused put/signed-hash-of-something-else
        put/chunks-byte-changed put/chunks-signature-changed put/chunks-last-signature-changed
        put/chunks-decoded-length-forged put/trailer-signature-changed auth/unknown-key auth/wrong-secret
        auth/signature-changed auth/signature-cut-off auth/clock-20-minutes-behind
        auth/clock-20-minutes-ahead auth/other-service auth/other-region auth/method-changed
        auth/path-changed auth/query-added auth/date-changed auth/date-missing auth/hash-missing
        auth/scope-of-another-day auth/scope-cut-off auth/no-credential auth/no-signature
        auth/host-not-signed auth/other-algorithm auth/garbled auth/basic auth/header-added auth/token-added
        auth/unknown-key-put auth/unknown-key-delete auth/unknown-key-head auth/wrong-secret-put
        auth/wrong-secret-delete auth/wrong-secret-head presigned/expired presigned/over-seven-days
        presigned/negative-time presigned/from-the-future presigned/signature-changed
        presigned/time-prolonged presigned/parameter-added presigned/other-key presigned/without-date
        presigned/without-expiry presigned/without-signature presigned/other-algorithm
        presigned/other-method presigned/expiry-no-number presigned/and-signed-header
    """,
    "its own rules for unsigned requests: it looks at canned ACLs only, and refuses without S3's error code": """
        anonymous/get anonymous/put anonymous/delete anonymous/list anonymous/range anonymous/condition
        anonymous/not-told-what-is-missing
    """,
    "it does not know the list, *, and weak forms of entity tags, and compares them unquoted only in GET": """
        condition/match-any condition/head-match-any condition/match-list condition/head-match-list
        condition/head-match-unquoted condition/none-match-any condition/head-none-match-any
        condition/none-match-list condition/head-none-match-list condition/none-match-weak
        condition/head-none-match-weak condition/head-none-match-unquoted condition/if-range-weak
        presigned/condition
    """,
    "a date that is none is a server error": """
        condition/modified-since-no-date condition/head-modified-since-no-date
        condition/unmodified-since-no-date condition/head-unmodified-since-no-date
    """,
    "it evaluates all conditions, where RFC 9110 13.2.2 gives some precedence over others": """
        condition/match-beats-unmodified-since condition/head-match-beats-unmodified-since
        condition/none-match-other-beats-modified-since condition/head-none-match-other-beats-modified-since
    """,
    "it does not know If-Range": """
        condition/if-range-other condition/if-range-other-date condition/if-range-other-no-range
    """,
    "its 304 has no Cache-Control": """
        condition/not-modified-repeats-cache-control
    """,
    "it ignores the unit of a range, and one without any is a server error": """
        range/other-unit range/head-other-unit range/no-unit range/head-no-unit
    """,
    "a suffix of an empty object is its zero bytes": """
        range/empty-object-suffix
    """,
    "its 416 does not say the size": """
        range/unsatisfiable-says-the-size
    """,
    "it replaces headers in answers to GET only": """
        headers/response-cache-control-head headers/response-content-disposition-head
        headers/response-content-encoding-head headers/response-content-language-head
        headers/response-content-type-head headers/response-expires-head
    """,
    "it has no request ids in headers": """
        headers/common error/request-id-in-both
    """,
    "its errors name no resource": """
        error/resource
    """,
    "it ignores the number of a part where there is one part, or puts 200 on all of them": """
        part/second-of-plain-object part/and-range part/zero multipart/read-second-part
        multipart/head-first-part multipart/read-no-such-part
    """,
    "HeadObject does not know versionId=null": """
        version/null-head
    """,
    "it does not say x-amz-delete-marker": """
        version/delete-marker
    """,
    "it forgets that an object is encrypted with its customer's key": """
        encryption/without-key encryption/without-key-after-it
    """,
    "its routes take no line ends in keys": """
        key/newline
    """,
    "it has no limit on the length of keys": """
        key/over-1024-bytes-put key/over-1024-bytes-get
    """,
    "it cleans paths above the bucket": """
        key/climbs-above-bucket
    """,
    "it has no limit on user metadata": """
        put/metadata-over-2-kb
    """,
    "it takes a missing Content-Length for 0": """
        put/without-length
    """,
    "it verifies no checksums of uploads, and reads no trailers": """
        put/md5-of-something-else put/md5-no-base64 put/md5-too-short put/md5-empty
        put/crc32-of-something-else put/trailer-signed-crc32-of-something-else
        put/trailer-unsigned-crc32-of-something-else put/crc32c-of-something-else
        put/trailer-signed-crc32c-of-something-else put/trailer-unsigned-crc32c-of-something-else
        put/sha1-of-something-else put/trailer-signed-sha1-of-something-else
        put/trailer-unsigned-sha1-of-something-else put/sha256-of-something-else
        put/trailer-signed-sha256-of-something-else put/trailer-unsigned-sha256-of-something-else
        put/sha256-too-short put/two-checksums put/trailer-missing delete/many-md5-of-something-else
        multipart/part-md5-of-something-else multipart/part-crc32-of-something-else
    """,
    "it does not look at a form's policy and signature, and needs its fields": """
        post/expired post/unknown-key post/wrong-secret post/key-changed post/other-start
        post/field-left-out post/field-added post/other-bucket post/too-long post/too-short
        post/without-key post/without-file post/without-signature post/without-policy
        post/no-policy-document post/policy-without-expiration post/policy-without-conditions
        post/signed-by-version-2 post/cut-off post/other-content-type
    """,
    "its answer to a form is of its own form, and with any status that it is told": """
        post/status-201-describes post/status-that-is-none
    """,
    "it takes any directive": """
        copy/unknown-directive
    """,
    "a copy source without a key is a server error or an empty key": """
        copy/source-without-key copy/source-empty-key
    """,
    "it knows two of the four conditions on a copy's source, and compares dates with fractions of seconds": """
        copy/if-match-other copy/if-modified-since-its-date copy/if-unmodified-since-past
        multipart/copied-part-if-match-other
    """,
    "its answer to a quiet DeleteObjects is not quiet": """
        delete/many-quietly
    """,
    "XML that is malformed or empty is a server error": """
        delete/many-malformed delete/many-of-none multipart/malformed bucket/create-malformed
        tags/object-malformed tags/bucket-malformed
    """,
    "it has no limit on the keys of DeleteObjects": """
        delete/many-over-1000
    """,
    "it looks at sizes before it looks at the order": """
        multipart/completed-out-of-order
    """,
    "an unknown upload is a server error, or no such upload is said of a wrong part number or source": """
        multipart/no-such-upload-upload-part multipart/no-such-upload-complete multipart/part-number-0
        multipart/copied-part-of-nothing
    """,
    "it cuts ranges of copies to what there is, whatever their form": """
        multipart/copied-range-beyond-end multipart/copied-range-suffix multipart/copied-range-open
        multipart/copied-range-no-unit multipart/copied-range-turned
    """,
    "it does not check max-keys and encoding-type": """
        list/v2-max-keys-x list/v2-max-keys-1 list/v2-encoding-unknown list/v1-max-keys-x list/v1-max-keys-1
        list/v1-encoding-unknown
    """,
    "ListObjects with a delimiter and max-keys repeats common prefixes, and does not repeat the marker": """
        list/v1-pages-with-delimiter list/v1-parameters-are-repeated
    """,
    "it takes most names of buckets": """
        bucket/name-upper-case bucket/name-underscore bucket/name-address bucket/name-two-dots
        bucket/name-dash-at-end bucket/name-dash-at-start
    """,
    "it answers preflights without S3's rules or code": """
        bucket/cors-preflight bucket/cors-preflight-without-rules
    """,
    "its HTTP server, of Python's library, is lenient, and its routes have no MethodNotAllowed": """
        http/empty-line-before http/without-host http/two-hosts http/space-before-colon http/folded-header
        http/no-version http/version-9 http/length-and-chunked http/two-lengths http/method-patch
        http/post-to-a-key http/put-to-the-root
    """,
}
_SEAWEEDFS = {
    "HeadObject ignores Range": """
        range/head-first-byte range/head-middle range/head-to-the-end range/head-all range/head-all-named
        range/head-last-byte range/head-suffix range/head-suffix-one range/head-suffix-longer-than-object
        range/head-end-beyond-object range/head-end-huge range/head-start-at-end range/head-start-beyond-end
        range/head-suffix-zero range/head-unit-in-upper-case
    """,
    "a range that cannot be parsed is unsatisfiable, or a whole one": """
        range/end-before-start range/no-number range/dash-only
    """,
    "it compares the range unit with its case": """
        range/unit-in-upper-case
    """,
    "it does not compare entity tags weakly": """
        condition/none-match-weak condition/head-none-match-weak
    """,
    "it refuses a date that is none": """
        condition/modified-since-no-date condition/head-modified-since-no-date
        condition/unmodified-since-no-date condition/head-unmodified-since-no-date
    """,
    "it does not know If-Range": """
        condition/if-range-other condition/if-range-weak condition/if-range-other-date
        condition/if-range-other-no-range
    """,
    "its 304 has no Cache-Control": """
        condition/not-modified-repeats-cache-control
    """,
    "its default is text/plain or what the bytes look like": """
        headers/default-content-type
    """,
    "it stores aws-chunked as an encoding of the object": """
        headers/aws-chunked-is-not-stored put/trailer-keeps-the-encoding
    """,
    "it takes a part number with a range, and 0": """
        part/and-range part/zero
    """,
    "it ignores versionId in a bucket without versions": """
        version/unknown
    """,
    "it does not say x-amz-delete-marker": """
        version/delete-marker
    """,
    "its code for a missing customer key is InvalidArgument": """
        encryption/without-key encryption/without-key-after-it
    """,
    "its keys are paths of files: no dot segments or empty ones, and a name is a file or a folder": """
        key/dot-segment key/dot-dot-segment key/ends-in-dot-dot key/trailing-slash key/apart-slashes
        key/apart-dot key/apart-dot-dot key/apart-trailing-slash key/leading-slash
    """,
    "a key that is too long is not found": """
        key/over-1024-bytes-get
    """,
    "it has no limit on user metadata": """
        put/metadata-over-2-kb
    """,
    "a write makes the bucket": """
        put/no-such-bucket multipart/in-no-bucket bucket/object-of-deleted-bucket
    """,
    "it has a server error of its own for it": """
        copy/into-no-bucket
    """,
    "it takes a missing Content-Length for 0": """
        put/without-length
    """,
    "it does not store the redirect": """
        put/website-redirect
    """,
    "any decodable Content-MD5 is valid": """
        put/md5-too-short
    """,
    "a wrong trailing checksum is IncompleteBody": """
        put/trailer-signed-crc32-of-something-else put/trailer-unsigned-crc32-of-something-else
        put/trailer-signed-crc32c-of-something-else put/trailer-unsigned-crc32c-of-something-else
        put/trailer-signed-sha1-of-something-else put/trailer-unsigned-sha1-of-something-else
        put/trailer-signed-sha256-of-something-else put/trailer-unsigned-sha256-of-something-else
    """,
    "it takes several checksums": """
        put/two-checksums
    """,
    "it does not compare the signed hash with the body": """
        put/signed-hash-of-something-else
    """,
    "a wrong signature of a chunk is a server error, and that of a trailer is not looked at": """
        put/chunks-byte-changed put/chunks-signature-changed put/chunks-last-signature-changed
        put/trailer-signature-changed
    """,
    "its answer to a form does not say where the object is": """
        post/status-201-describes
    """,
    "it takes forms without a file, and with fields that its policy does not name": """
        post/without-file post/field-added
    """,
    "its own codes for forms and policies that are incomplete or of the wrong form": """
        post/without-key post/without-signature post/without-policy post/no-policy-document
        post/policy-without-expiration post/policy-without-conditions post/other-content-type
    """,
    "a condition on nothing is a failed one": """
        put/if-match-nothing
    """,
    "a copy source without a key is an empty folder": """
        copy/source-without-key
    """,
    "it takes an empty list, has another code for a long one, and does not verify Content-MD5": """
        delete/many-of-none delete/many-over-1000 delete/many-md5-of-something-else
    """,
    "it looks for uploads before it looks at the list of parts": """
        multipart/completed-without-parts
    """,
    "its code for a wrong part number is InvalidPart": """
        multipart/part-number-0 multipart/part-number-10001
    """,
    "its own rules for ranges of copies": """
        multipart/copied-range-suffix multipart/copied-range-open multipart/copied-range-no-unit
        multipart/copied-range-turned
    """,
    "it has an upper limit for max-keys where S3 cuts it to 1000": """
        list/v2-max-keys-huge list/v1-max-keys-huge
    """,
    "it sorts as its folders do": """
        list/v2-order-is-of-bytes list/v1-order-is-of-bytes
    """,
    "it does not check encoding-type and tokens": """
        list/v2-encoding-unknown list/v1-encoding-unknown list/v2-token-empty
    """,
    "it deletes buckets that are not empty": """
        bucket/delete-not-empty
    """,
    "it does not read the configuration": """
        bucket/create-malformed
    """,
    "it has no such configuration": """
        bucket/no-publicaccessblock
    """,
    "a preflight without rules is allowed nothing, with 200": """
        bucket/cors-preflight-without-rules
    """,
    "it does not look at service and region of a signature": """
        auth/other-service auth/other-region
    """,
    "its own codes for headers and parameters that are incomplete or of the wrong form": """
        auth/date-changed auth/no-credential auth/no-signature auth/garbled presigned/without-signature
        presigned/expiry-no-number
    """,
    "it takes URLs of the next hour": """
        presigned/from-the-future
    """,
    "its HTTP server, of Go's library, decides so": """
        http/empty-line-before http/length-and-chunked
    """,
    "its refusal has no S3 error code": """
        http/put-to-the-root
    """,
}


def _by_name(reasons: Mapping[str, str]) -> Mapping[str, str]:
    return {name: reason for reason, names in reasons.items() for name in names.split()}


#: For each store, name of a case -> reason.
KNOWN: Mapping[StoreName, Mapping[str, str]] = {"moto": _by_name(_MOTO), "seaweedfs": _by_name(_SEAWEEDFS)}
