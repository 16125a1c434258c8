"""DeleteObjects' keys: all of them, or the request is refused."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.delete_request import DELETE_KEYS_MAX, keys_to_delete
from cashy.core.s3_errors import S3Error

NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def document(keys: list[str], namespace: str = NAMESPACE) -> bytes:
    objects = "".join(f"<Object><Key>{escape(key)}</Key><VersionId>v</VersionId></Object>" for key in keys)
    return f"<Delete{namespace}>{objects}<Quiet>true</Quiet></Delete>".encode()


@given(
    st.lists(
        st.text(
            st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"),
            min_size=1,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_keys(keys: list[str]) -> None:
    assert keys_to_delete(document(keys)) == tuple(keys)
    assert keys_to_delete(document(keys, "")) == tuple(keys)


def test_other_ways_to_write_the_same() -> None:
    text = (
        b'<?xml version="1.0"?><!-- c --><s:Delete xmlns:s="urn:x"><s:Object><s:ETag>e</s:ETag><s:Key><![CDATA[a<b]]>&amp;&#99;<!-- x -->d</s:Key>'
        b"</s:Object></s:Delete>"
    )
    assert keys_to_delete(text) == ("a<b&cd",)


def test_the_limit() -> None:
    keys = [f"k{number}" for number in range(DELETE_KEYS_MAX + 1)]
    assert len(keys_to_delete(document(keys[:-1]))) == DELETE_KEYS_MAX
    with pytest.raises(S3Error):
        keys_to_delete(document(keys))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no xml",
        b"<Delete>",
        b"<Delete></Delete>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object><Key>a<b/>c</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key></Object></Delete><Delete/>",
        b'<!DOCTYPE d [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b"<Delete><Object><Key>&unknown;</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="no-such"?><Delete/>',
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b"<Other><Object><Key>a</Key></Object></Other>",
    ],
)
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(S3Error) as caught:
        keys_to_delete(text)
    assert caught.value.code == "MalformedXML"


@given(st.binary(max_size=200))
def test_garbage(data: bytes) -> None:
    with pytest.raises(S3Error):
        keys_to_delete(b"<Delete>" + data)
