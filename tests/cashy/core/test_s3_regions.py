"""What answers tell of a bucket's region, and how much of it is remembered."""

from __future__ import annotations

import pytest

from cashy.core.s3_address import parse_endpoint
from cashy.core.s3_regions import BUCKETS_REMEMBERED_MAX, BucketPlaces

AWS = parse_endpoint("https://s3.us-east-1.amazonaws.com")


def error(code: str, extra: str = "") -> str:
    return f"<Error><Code>{code}</Code>{extra}</Error>"


@pytest.mark.parametrize(
    ("status", "headers", "body", "region"),
    [
        (301, {"x-amz-bucket-region": "eu-west-3"}, "", "eu-west-3"),
        (301, {}, error("PermanentRedirect", "<Endpoint>b.s3.eu-west-3.amazonaws.com</Endpoint>"), "eu-west-3"),
        (307, {"location": "https://b.s3.eu-west-3.amazonaws.com/k"}, "", "eu-west-3"),
        (400, {}, error("AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"), "eu-west-3"),
        (400, {"x-amz-bucket-region": "eu-west-3"}, "", "eu-west-3"),  # HEAD has no body
        (400, {"x-amz-bucket-region": "eu-west-3"}, error("InvalidArgument"), None),
        (400, {}, error("AuthorizationHeaderMalformed"), None),
        (403, {"x-amz-bucket-region": "eu-west-3"}, "", None),
        (200, {"x-amz-bucket-region": "eu-west-3"}, "", None),
        (301, {"x-amz-bucket-region": "us-east-1"}, "", None),  # that is where it was asked
        (301, {"x-amz-bucket-region": "../evil"}, "", None),
        (301, {"x-amz-bucket-region": "a.b"}, "", None),
        (307, {"location": "https://evil.example.com/k"}, "", None),
        (307, {"location": "http://[broken"}, "", None),
        (301, {}, "no XML at all <Region", None),
    ],
)  # fmt: skip
def test_answers(status: int, headers: dict[str, str], body: str, region: str | None) -> None:
    places = BucketPlaces(AWS, "path", "us-east-1")
    asked = places.of("bucket")
    assert places.moved("bucket", asked, status, headers, body) == (region is not None)
    place = places.of("bucket")
    assert place.region == (region or "us-east-1")
    assert place.address.host == f"s3.{place.region}.amazonaws.com"
    assert places.of("other").region == "us-east-1"


def test_request_that_was_under_way_learns_it_too() -> None:
    places = BucketPlaces(AWS, "path", "us-east-1")
    asked = places.of("bucket")
    told = {"x-amz-bucket-region": "eu-west-3"}
    assert places.moved("bucket", asked, 301, told, "")
    assert places.moved("bucket", asked, 301, told, "")
    assert not places.moved("bucket", places.of("bucket"), 301, told, "")


def test_memory_has_a_limit_and_the_least_used_goes() -> None:
    places = BucketPlaces(AWS, "virtual-host", "us-east-1")
    for bucket in ("first", "second"):
        places.moved(bucket, places.of(bucket), 301, {"x-amz-bucket-region": "eu-west-3"}, "")
    for number in range(BUCKETS_REMEMBERED_MAX - 2):
        places.of(f"bucket-{number}")
    places.of("first")
    places.of("one-more")
    assert places.of("first").region == "eu-west-3"
    assert places.of("second").region == "us-east-1"  # forgotten: one redirect more
    assert places.of("first").has_bucket
