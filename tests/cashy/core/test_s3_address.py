"""Where a request goes: host, Host header and path, in path style and virtual-host style, in any region."""

from __future__ import annotations

import urllib.parse
from typing import Any

import botocore.config
import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.s3_address import (
    KEY_BYTES_MAX,
    Addressing,
    aws_endpoint_url,
    bucket_address,
    endpoint_in_region,
    is_region,
    object_target,
    parse_endpoint,
    region_of_host,
)
from cashy.errors import ConfigError, InvalidName

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("url", "addressing", "bucket", "host", "authority", "target"),
    [
        ("http://store:9000", "path", "data", "store", "store:9000", "/data/k"),
        ("http://store:9000", "virtual-host", "data", "data.store", "data.store:9000", "/k"),
        ("https://store", "virtual-host", "data", "data.store", "data.store", "/k"),
        ("https://store/base", "virtual-host", "data", "data.store", "data.store", "/base/k"),
        ("https://store/base/", "path", "data", "store", "store", "/base/data/k"),
        ("http://store", "virtual-host", "a.b.c", "a.b.c.store", "a.b.c.store", "/k"),
        # What cannot stand in a host name, or under a certificate, goes path-style.
        ("https://store", "virtual-host", "a.b.c", "store", "store", "/a.b.c/k"),
        ("http://store", "virtual-host", "Upper", "store", "store", "/Upper/k"),
        ("http://store", "virtual-host", "under_score", "store", "store", "/under_score/k"),
        ("http://store", "virtual-host", "-dash", "store", "store", "/-dash/k"),
        ("http://store", "virtual-host", "dash-", "store", "store", "/dash-/k"),
        ("http://store", "virtual-host", "a..b", "store", "store", "/a..b/k"),
        ("http://store", "virtual-host", "ab", "store", "store", "/ab/k"),
        ("http://store", "virtual-host", "b" * 64, "store", "store", f"/{'b' * 64}/k"),
        ("http://127.0.0.1:9000", "virtual-host", "data", "127.0.0.1", "127.0.0.1:9000", "/data/k"),
        ("http://[::1]:9000", "virtual-host", "data", "::1", "[::1]:9000", "/data/k"),
    ],
)  # fmt: skip
def test_addresses(
    url: str, addressing: Addressing, bucket: str, host: str, authority: str, target: str
) -> None:
    address = bucket_address(parse_endpoint(url), addressing, bucket)
    assert (address.host, address.authority) == (host, authority)
    assert object_target(address, "k") == target
    is_fallback = addressing == "virtual-host" and not host.startswith(f"{bucket}.")
    assert bool(address.why_path_style) == is_fallback


def test_host_name_at_its_limit() -> None:
    bucket = "b" * 63
    longest = ".".join(["d" * 63] * 2 + ["d" * (253 - 64 - 128)])
    assert (
        bucket_address(parse_endpoint(f"http://{longest}"), "virtual-host", bucket).host
        == f"{bucket}.{longest}"
    )
    address = bucket_address(parse_endpoint(f"http://{longest}d"), "virtual-host", bucket)
    assert "longer than 253" in address.why_path_style


@pytest.mark.parametrize(("style", "addressing"), [("path", "path"), ("virtual", "virtual-host")])
@pytest.mark.parametrize("bucket", ["data", "a-b-c", "a.b"])
def test_botocore_addresses_buckets_alike(style: str, addressing: Addressing, bucket: str) -> None:
    config: Any = botocore.config.Config(s3={"addressing_style": style}, signature_version="s3v4")
    client = botocore.session.Session().create_client(
        "s3", region_name="eu-west-3", endpoint_url="https://s3.example.com:8443", config=config,
        aws_access_key_id="A", aws_secret_access_key="S",
    )  # fmt: skip
    url = client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/c+d"})
    client.close()
    address = bucket_address(parse_endpoint("https://s3.example.com:8443"), addressing, bucket)
    if bucket == "a.b" and addressing == "virtual-host":
        assert "dots" in address.why_path_style  # where botocore's request would fail at the certificate
        return
    ours = f"https://{address.authority}{object_target(address, 'a b/c+d')}"
    assert url.partition("?")[0] == ours


@given(KEYS)
def test_keys_come_back_from_their_encoding(key: str) -> None:
    path = object_target(bucket_address(parse_endpoint("http://h"), "path", "bucket"), key)
    assert path.isascii()
    assert urllib.parse.unquote(path.removeprefix("/bucket/"), errors="strict") == key


def test_key_at_its_limit_and_beyond() -> None:
    address = bucket_address(parse_endpoint("http://h"), "path", "b")
    object_target(address, "k" * KEY_BYTES_MAX)
    object_target(address, "ü" * (KEY_BYTES_MAX // 2))
    for key in ("k" * (KEY_BYTES_MAX + 1), "ü" * (KEY_BYTES_MAX // 2) + "k", "", "\ud800"):
        with pytest.raises(InvalidName):
            object_target(address, key)


@pytest.mark.parametrize("bucket", ["", ".", "..", "a/b", "a?b", "a b", "ü", "a\r\nx: y", "b" * 256])
def test_bad_buckets(bucket: str) -> None:
    for addressing in ("path", "virtual-host"):
        with pytest.raises(InvalidName):
            bucket_address(parse_endpoint("http://h"), addressing, bucket)


@pytest.mark.parametrize(
    "url", ["", "h:80", "ftp://h", "http://", "http://h:x", "http://u:p@h", "http://h?q", "http://ü"]
)
def test_bad_endpoints(url: str) -> None:
    with pytest.raises(ConfigError):
        parse_endpoint(url)


def test_authority_leaves_out_the_schemes_own_port() -> None:
    assert parse_endpoint("https://s3.example.com:443").authority == "s3.example.com"
    assert parse_endpoint("http://s3.example.com:443").authority == "s3.example.com:443"
    assert parse_endpoint("http://[::1]:80/").authority == "[::1]"


# ---------------------------------------------------------------- regions


def test_amazons_own_endpoints() -> None:
    assert aws_endpoint_url("eu-west-3") == "https://s3.eu-west-3.amazonaws.com"
    assert aws_endpoint_url("cn-north-1") == "https://s3.cn-north-1.amazonaws.com.cn"


@pytest.mark.parametrize(
    ("url", "own", "sibling"),
    [
        ("https://s3.us-east-1.amazonaws.com", "us-east-1", "s3.eu-west-3.amazonaws.com"),
        ("https://s3-us-east-1.amazonaws.com", "us-east-1", "s3-eu-west-3.amazonaws.com"),
        ("https://s3.dualstack.us-east-1.amazonaws.com", "us-east-1", "s3.dualstack.eu-west-3.amazonaws.com"),
        ("https://s3.amazonaws.com", "us-east-1", "s3.eu-west-3.amazonaws.com"),
        ("http://s3.us-east-1.localhost:9000", "us-east-1", "s3.eu-west-3.localhost"),
        # These have no siblings, or none that could be told from a stranger.
        ("https://store.example.com", "us-east-1", "store.example.com"),
        ("https://s3.other.example.com", "us-east-1", "s3.other.example.com"),
        ("https://s3.us-east-1.com", "us-east-1", "s3.us-east-1.com"),
        ("http://127.0.0.1:9000", "us-east-1", "127.0.0.1"),
    ],
)
def test_endpoint_in_another_region(url: str, own: str, sibling: str) -> None:
    endpoint = parse_endpoint(url)
    moved = endpoint_in_region(endpoint, own, "eu-west-3")
    assert moved.host == sibling
    assert (moved.port, moved.is_tls, moved.base_path) == (endpoint.port, endpoint.is_tls, endpoint.base_path)
    assert moved.authority == endpoint.authority.replace(endpoint.host, sibling)


@given(st.text(max_size=50))
def test_no_word_of_a_store_leads_out_of_the_domain(word: str) -> None:
    endpoint = parse_endpoint("https://s3.us-east-1.amazonaws.com")
    moved = endpoint_in_region(endpoint, "us-east-1", word)
    label = moved.host.removeprefix("s3.").removesuffix(".amazonaws.com")
    assert moved.host == f"s3.{label}.amazonaws.com"
    assert is_region(label)
    assert "." not in label


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("s3.eu-west-3.amazonaws.com", "eu-west-3"),
        ("bucket.s3.eu-west-3.amazonaws.com", "eu-west-3"),
        ("bucket.s3-eu-west-3.amazonaws.com:443", "eu-west-3"),
        ("bucket.s3.dualstack.eu-west-3.amazonaws.com", "eu-west-3"),
        ("s3.eu-west-3.amazonaws.com.evil.com", ""),
        ("s3.eu-west-3.evil.com", ""),
        ("evils3.eu-west-3.amazonaws.com", ""),
        ("x.execute-api.eu-west-3.amazonaws.com", ""),
        ("", ""),
    ],
)
def test_region_of_a_redirects_host(host: str, region: str) -> None:
    assert region_of_host(parse_endpoint("https://s3.us-east-1.amazonaws.com"), "us-east-1", host) == region
