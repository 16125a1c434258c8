"""Names: what is accepted, literal and canonical; digests; routing to origins."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core import names
from cashy.core.names import (
    FileName,
    OriginSpec,
    Resolved,
    S3Name,
    block_digest,
    content_id,
    meta_digest,
    parse_name,
    resolve,
)
from cashy.errors import ConfigError, InvalidName

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
BUCKETS = TEXT.filter(lambda text: "/" not in text and text not in (".", ".."))
COMPONENTS = BUCKETS
PATHS = st.lists(COMPONENTS, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
NAMES = st.one_of(st.builds(S3Name, BUCKETS, TEXT), st.builds(FileName, PATHS))


@given(NAMES)
def test_the_canonical_text_gives_the_name_back(name: names.ObjectName) -> None:
    assert parse_name(name.url) == name
    assert parse_name(name.url).url == name.url


@pytest.mark.parametrize(
    ("text", "bucket", "key"),
    [
        ("s3://b/a b+c%2Fd/ü", "b", "a b+c%2Fd/ü"),
        ("s3://b//x", "b", "/x"),
        ("s3://b/../x", "b", "../x"),
        ("s3://b/a/./b/", "b", "a/./b/"),
        ("s3://b/a?b#c&d=e", "b", "a?b#c&d=e"),
        ("s3://b/key\twith\ncontrol", "b", "key\twith\ncontrol"),
        ("S3://Bucket.With-Dots_9/K", "Bucket.With-Dots_9", "K"),
        ("s3://b/日本語/😀", "b", "日本語/😀"),
        ("s3://b/e\u0301", "b", "e\u0301"),
    ],
)
def test_s3_names_are_literal(text: str, bucket: str, key: str) -> None:
    assert parse_name(text) == S3Name(bucket, key)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///mnt/nfs/a b+c%2Fd", "/mnt/nfs/a b+c%2Fd"),
        ("FILE:///x", "/x"),
        ("file:///...", "/..."),
        ("file:///a/..b/.c", "/a/..b/.c"),
        ("file:///ü", "/ü"),
    ],
)
def test_file_names_are_literal(text: str, path: str) -> None:
    assert parse_name(text) == FileName(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write s3://bucket/key"),
        ("key", "write s3://bucket/key"),
        ("/mnt/x", "write file:///mnt/x"),
        ("http://host/x", "is not the name of an object"),
        ("s3:/b/k", "is not the name of an object"),
        ("s3://", "names no object"),
        ("s3://b", "names no object"),
        ("s3://b/", "names no object"),
        ("s3:///k", "bucket is empty"),
        ("s3://../k", "may not be '.' or '..'"),
        ("s3://b/a\0b", "key has a NUL"),
        ("s3://b\0/a", "bucket has a NUL"),
        ("s3://b/\ud800", "lone surrogate"),
        ("s3://\udfff/x", "lone surrogate"),
        ("file://host/x", "three slashes"),
        ("file://", "three slashes"),
        ("file:///", "component ''"),
        ("file:///a//b", "component ''"),
        ("file:///a/", "component ''"),
        ("file:///a/../b", "component '..'"),
        ("file:///./b", "component '.'"),
        ("file:///a\0", "NUL"),
        ("file:///\udc80", "lone surrogate"),
    ],
)
def test_what_is_no_name_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(InvalidName) as caught:
        parse_name(text)
    assert says in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("letter", ["x", "ü", "😀"])
def test_lengths_at_the_limit_and_one_above(letter: str) -> None:
    size = len(letter.encode())

    def filled(bytes_max: int) -> str:
        return letter * (bytes_max // size) + "." * (bytes_max % size)

    for prefix, text, limit in [
        ("s3://b/", filled(names.S3_KEY_BYTES_MAX), "1024 are allowed"),
        ("file:///", filled(names.FILE_COMPONENT_BYTES_MAX), "longer than 255"),
    ]:
        parse_name(prefix + text)
        with pytest.raises(InvalidName, match=limit):
            parse_name(prefix + text + "+")
    parse_name(f"s3://{filled(names.BUCKET_BYTES_MAX)}/k")
    with pytest.raises(InvalidName, match="255 are allowed"):
        parse_name(f"s3://{filled(names.BUCKET_BYTES_MAX)}+/k")
    deep = "/" + "/".join([filled(200)] * 20)
    deep += "/" + "p" * (names.FILE_PATH_BYTES_MAX - len(deep.encode()) - 1)
    assert parse_name(f"file://{deep}") == FileName(deep)
    with pytest.raises(InvalidName, match="4095 are allowed"):
        parse_name(f"file://{deep}+")


def test_the_message_about_a_megabyte_is_short() -> None:
    for text in (
        "x" * 1_000_000,
        "/" * 1_000_000,
        "s3://b/" + "k" * 1_000_000,
        "file:///" + "\0" * 1_000_000,
    ):
        with pytest.raises(InvalidName) as caught:
            parse_name(text)
        assert len(caught.value.message) < 1000


@given(NAMES, NAMES)
def test_names_have_the_same_digest_only_if_they_are_the_same(
    one: names.ObjectName, other: names.ObjectName
) -> None:
    assert (meta_digest(one) == meta_digest(other)) == (one == other)
    assert len(meta_digest(one)) == names.DIGEST_BYTES


CONTENTS = st.tuples(
    st.text(max_size=3), st.text(max_size=3), st.text(max_size=3), st.sampled_from([65536, 4194304])
)


@given(CONTENTS, CONTENTS)
def test_contents_have_the_same_id_only_if_every_field_is_the_same(
    one: tuple[str, str, str, int], other: tuple[str, str, str, int]
) -> None:
    assert (content_id(*one) == content_id(*other)) == (one == other)


def test_fields_of_a_content_cannot_run_into_each_other() -> None:
    assert content_id("a", "bc", "d", 65536) != content_id("ab", "c", "d", 65536)
    assert content_id("a", "b", "\udc80", 65536) != content_id("a", "b", "\udc81", 65536)


def test_digests_of_different_kinds_and_blocks_differ() -> None:
    content = content_id("o", "k", "v", 65536)
    digests = {
        content,
        meta_digest(S3Name("b", "k")),
        *(block_digest(content, index) for index in (0, 1, 2**40)),
    }
    assert len(digests) == 5
    assert {len(digest) for digest in digests} == {names.DIGEST_BYTES}


def test_digests_stay_what_they_are_since_arenas_outlive_the_program() -> None:
    assert meta_digest(S3Name("b", "k")).hex()[:16] == "4216d18c920fe508"
    assert content_id("o", "k", "v", 65536).hex()[:16] == "5adfcdba9fb51dcd"
    assert block_digest(bytes(32), 7).hex()[:16] == "a64b759bdae06a17"


STORE = OriginSpec("store", "s3")
LOGS = OriginSpec("logs", "s3", buckets=("logs-*", "audit"))
NFS = OriginSpec("nfs", "directory", root="/mnt/nfs/")
DEEP = OriginSpec("deep", "directory", root="/mnt/nfs/deep", buckets=("never",))
ALL = (LOGS, NFS, DEEP, STORE)


@pytest.mark.parametrize(
    ("path", "origin", "key"),
    [
        ("/mnt/nfs/a/b", "nfs", "a/b"),
        ("/mnt/nfs/deep/b", "deep", "b"),
        ("/mnt/nfs/deeper/b", "nfs", "deeper/b"),
        ("/mnt/nfs/deep", "nfs", "deep"),
    ],
)
def test_files_go_to_the_longest_root_by_components(path: str, origin: str, key: str) -> None:
    assert resolve(FileName(path), ALL) == (Resolved(origin, "", key),)
    assert resolve(FileName(path), ALL[::-1]) == (Resolved(origin, "", key),)


def test_the_whole_file_system_can_be_an_origin() -> None:
    assert resolve(FileName("/a/b"), [OriginSpec("root", "directory", root="/")]) == (
        Resolved("root", "", "a/b"),
    )


@pytest.mark.parametrize("path", ["/mnt/other/x", "/mnt/nf", "/mnt/nfs", "/mnt/nfsx/y"])
def test_files_outside_every_root_are_refused(path: str) -> None:
    with pytest.raises(
        InvalidName, match=r"in no directory that this daemon serves \(/mnt/nfs/, /mnt/nfs/deep\)"
    ):
        resolve(FileName(path), ALL)
    with pytest.raises(InvalidName, match="none is configured"):
        resolve(FileName(path), [STORE])


def test_buckets_go_to_every_origin_whose_patterns_match_in_order() -> None:
    assert [found.origin for found in resolve(S3Name("logs-1", "k"), ALL)] == ["logs", "nfs", "store"]
    assert [found.origin for found in resolve(S3Name("never", "k"), ALL)] == ["nfs", "deep", "store"]
    assert resolve(S3Name("Audit", "k"), (LOGS, STORE)) == (Resolved("store", "Audit", "k"),)


@pytest.mark.parametrize("key", ["../x", "a/../../x", "a//b", "/x", "x/", ".", "y" * 256])
def test_a_key_that_is_no_clean_path_goes_to_stores_only(key: str) -> None:
    assert resolve(S3Name("b", key), ALL) == (Resolved("store", "b", key),)
    with pytest.raises(InvalidName, match="as a path in directory origin 'nfs' it has"):
        resolve(S3Name("b", key), [NFS])


def test_a_bucket_that_nobody_has_is_refused_with_the_patterns() -> None:
    with pytest.raises(InvalidName, match=r"bucket patterns: logs: logs-\* audit"):
        resolve(S3Name("b", "k"), [LOGS])
    with pytest.raises(InvalidName, match="no origin is configured"):
        resolve(S3Name("b", "k"), [])


@pytest.mark.parametrize("root", ["relative", "/a/../b", "/a//b", "/a\0", "./a", "/\ud800"])
def test_a_root_that_is_no_clean_absolute_path_is_a_configuration_error(root: str) -> None:
    with pytest.raises(ConfigError, match="origin 'x': the directory"):
        OriginSpec("x", "directory", root=root)


ORIGINS = st.lists(
    st.one_of(
        st.builds(
            OriginSpec,
            TEXT,
            st.just("s3"),
            buckets=st.lists(st.sampled_from(["a*", "?", "b"]), max_size=2).map(tuple),
        ),
        st.builds(OriginSpec, TEXT, st.just("directory"), root=PATHS),
    ),
    max_size=4,
)


@given(name=NAMES, origins=ORIGINS, inside=st.booleans())
def test_whatever_is_resolved_lies_inside_its_origin(
    name: names.ObjectName, origins: list[OriginSpec], inside: bool
) -> None:
    roots = [spec.root for spec in origins if spec.kind == "directory"]
    if inside and isinstance(name, FileName) and roots:
        name = FileName(roots[0] + name.path)
    try:
        found = resolve(name, origins)
    except InvalidName:
        assert not (inside and isinstance(name, FileName) and roots)
        return
    assert found
    for each in found:
        spec = next(spec for spec in origins if spec.name == each.origin)
        if isinstance(name, FileName):
            assert any(f"{root}/{each.key}" == name.path for root in roots)
        else:
            assert (each.bucket, each.key) == (name.bucket, name.key)
        if spec.kind == "directory" or isinstance(name, FileName):
            assert not {"", ".", ".."} & set(each.key.split("/"))
        elif spec.buckets and len({spec.name for spec in origins}) == len(origins):
            assert any(fnmatch.fnmatchcase(each.bucket, pattern) for pattern in spec.buckets)
