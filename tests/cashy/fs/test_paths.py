"""Paths of the file system and names of cashy: each leads back to the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cashy.core.names import FileName, S3Name, parse_name, parse_prefix
from cashy.fs.paths import name_of, parent_of, prefix_of, strip

PARTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=8)
PATHS = st.lists(PARTS.filter(lambda part: part not in (".", "..")), min_size=2, max_size=4).map("/".join)


@given(PATHS, st.booleans())
def test_a_path_is_one_name(path: str, is_file: bool) -> None:
    path = f"/{path}" if is_file else path
    name = parse_name(name_of(path))
    assert isinstance(name, FileName if is_file else S3Name)
    assert strip(f"cashy://{path}") == strip(name.url) == strip(path + "/") == path
    assert prefix_of(path) == parse_prefix(prefix_of(path)).url == name.url + "/"
    assert path.startswith(parent_of(path))


def test_what_urls_mean() -> None:
    assert name_of(strip("cashy://bucket/a/b")) == "s3://bucket/a/b"
    assert name_of(strip("cashy:///mnt/a/b")) == "file:///mnt/a/b"
    assert strip("cashy://bucket/a//b%20c") == "bucket/a//b%20c"
    assert strip("cashy://bucket/") == "bucket"
    assert strip("cashy:///") == "/"
    assert prefix_of("/") == "file:///"
    assert [parent_of(path) for path in ("b/k", "b", "/mnt", "/mnt/a", "")] == ["b", "", "/", "/mnt", ""]
