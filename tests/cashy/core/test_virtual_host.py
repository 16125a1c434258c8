"""Buckets named by hosts: which host is what, and that nothing else of a request changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.http_head import split_path
from cashy.core.s3_errors import S3Error
from cashy.core.virtual_host import VirtualHosts, is_authority

HOSTS = VirtualHosts(["example.com", "s3.example.com", "LOCALHOST"])


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (b"data.s3.example.com", b"/k", b"/data/k"),
        (b"data.s3.example.com:9000", b"/k", b"/data/k"),
        (b"Data.S3.Example.COM", b"/k", b"/data/k"),
        (b"data.s3.example.com.", b"/k", b"/data/k"),
        (b"www.my.data.s3.example.com", b"/k", b"/www.my.data/k"),
        (b"data.example.com", b"/k", b"/data/k"),
        (b"a_b.localhost:1", b"/k", b"/a_b/k"),
        (b"data.s3.example.com", b"/", b"/data/"),
        (b"data.s3.example.com", b"//k", b"/data//k"),
        (b"data.s3.example.com", b"/%2Fk/../x", b"/data/%2Fk/../x"),
        (b"s3.example.com", b"/b/k", b"/b/k"),
        (b"s3.example.com:80", b"/b/k", b"/b/k"),
        (b"localhost", b"/b/k", b"/b/k"),
        (b"127.0.0.1:9000", b"/b/k", b"/b/k"),
        (b"[::1]:9000", b"/b/k", b"/b/k"),
        (b"datas3.example.org", b"/b/k", b"/b/k"),
        (b"xs3.example.com.org", b"/b/k", b"/b/k"),
        (b"notlocalhost", b"/b/k", b"/b/k"),
        (None, b"/b/k", b"/b/k"),
    ],
)
def test_which_bucket(host: bytes | None, path: bytes, expected: bytes) -> None:
    assert HOSTS.path_style(path, host) == expected


@pytest.mark.parametrize("host", [b".s3.example.com", b"a..s3.example.com", b"..localhost", b".a.localhost"])
def test_what_can_be_no_bucket_is_refused(host: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        HOSTS.path_style(b"/k", host)
    assert caught.value.code == "InvalidBucketName"


def test_without_domains_no_host_is_a_bucket() -> None:
    assert VirtualHosts().path_style(b"/k", b"data.localhost") == b"/k"


@given(
    st.from_regex(rb"[a-z0-9_-]{1,10}(\.[a-z0-9_-]{1,10}){0,3}", fullmatch=True),
    st.binary(max_size=30).map(lambda rest: b"/" + rest),
    st.sampled_from([b"", b":80", b"."]),
)
def test_bucket_and_key_come_back(bucket: bytes, path: bytes, end: bytes) -> None:
    hosts = VirtualHosts(["s3.test"])
    style = hosts.path_style(path, bucket + b".s3.test" + end)
    assert style == b"/" + bucket + path
    if path.isascii() and b"%" not in path:
        assert split_path(style) == (bucket.decode(), path[1:].decode())


@pytest.mark.parametrize(
    "host", [b"h", b"a.b", b"a.b:", b"a.b:80", b"[::1]", b"[::ffff:1.2.3.4]:65535", b"a" * 254]
)
def test_hosts(host: bytes) -> None:
    assert is_authority(host)


@pytest.mark.parametrize(
    "host", [b"", b":80", b"a b", b"a/b", b"a,b", b"a@b", b"a%41", b"a:b", b"a:123456", b"::1", b"[::1", b"a\n", b"a" * 255, b"\xc3\xa4"]
)  # fmt: skip
def test_no_hosts(host: bytes) -> None:
    assert not is_authority(host)
