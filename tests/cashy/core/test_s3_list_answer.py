"""Pages of listings: what a store's answer says, and what is no such answer."""

from __future__ import annotations

from urllib.parse import parse_qs, quote_plus
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.core.s3_list_answer import ListAnswer, ListedKey, NotAListing, list_query, read_list_answer

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
OPEN = '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'


def document(keys: list[str], prefixes: list[str], *, token: str = "", is_encoded: bool = True) -> bytes:
    def shown(text: str) -> str:
        return quote_plus(text, safe="/") if is_encoded else escape(text)

    parts = [OPEN, "<Name>b</Name>", "<EncodingType>url</EncodingType>" * is_encoded]
    parts.append(f"<IsTruncated>{'true' if token else 'false'}</IsTruncated>")
    parts.append(f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else "")
    for key in keys:
        parts.append(
            f"<Contents><Key>{shown(key)}</Key><LastModified>2024-01-02T03:04:05.678Z</LastModified>"
            "<ETag>&quot;abc&quot;</ETag><Size>12</Size><Owner><ID>x</ID></Owner></Contents>"
        )
    parts += [f"<CommonPrefixes><Prefix>{shown(prefix)}</Prefix></CommonPrefixes>" for prefix in prefixes]
    return "".join([*parts, "</ListBucketResult>"]).encode()


@given(
    st.lists(KEYS, max_size=5, unique=True),
    st.lists(KEYS, max_size=3, unique=True),
    st.text("abc=/+&<", max_size=9),
)
def test_reads_what_was_written(keys: list[str], prefixes: list[str], token: str) -> None:
    answer = read_list_answer(document(keys, prefixes, token=token), keys_max=8)
    told = [ListedKey(key, False, 12, 1704164645.678, '"abc"') for key in keys]
    assert answer == ListAnswer(tuple(sorted(told + [ListedKey(prefix, True) for prefix in prefixes])), token)


def test_keys_that_a_store_did_not_encode_are_literal() -> None:
    answer = read_list_answer(document(["a+b%2Fc &"], [], is_encoded=False), keys_max=1)
    assert [key.key for key in answer.keys] == ["a+b%2Fc &"]


def test_at_the_limit_of_entries_and_past_it() -> None:
    whole = document(["a", "b"], ["c/"])
    assert len(read_list_answer(whole, keys_max=3).keys) == 3
    with pytest.raises(NotAListing, match="3 entries where at most 2"):
        read_list_answer(whole, keys_max=2)


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"not xml", document(["a"], [])[:-5], b"<Error><Code>x</Code></Error>",
        b'<!DOCTYPE x [<!ENTITY e "y">]>' + document([], []).partition(b"?>")[2],
        document(["a"], []).replace(b"<Size>12</Size>", b""), document(["a"], []).replace(b"12", b"a dozen"),
        document(["a"], []).replace(b"2024-01", b"2024-99"), document(["a"], []).replace(b">a<", b">%ff<"),
        document([], []).replace(b">false<", b">true<"),
    ],
)  # fmt: skip
def test_what_is_no_page_is_refused(bad: bytes) -> None:
    with pytest.raises(NotAListing):
        read_list_answer(bad, keys_max=10)


@given(st.binary(max_size=100).map(lambda data: OPEN.encode() + data))
def test_any_bytes_are_a_page_or_refused(data: bytes) -> None:
    with pytest.raises(NotAListing):
        read_list_answer(data, keys_max=10)


@given(KEYS, st.booleans(), st.text(max_size=10))
def test_a_query_says_what_is_wanted_in_the_order_of_a_signature(
    prefix: str, folds: bool, token: str
) -> None:
    query = list_query(prefix, folds=folds, token=token, keys_max=7)
    told = {name: values[0] for name, values in parse_qs(query, strict_parsing=True).items()}
    assert (told["prefix"], told["max-keys"], told["list-type"]) == (prefix, "7", "2")
    assert told.get("delimiter", "") == ("/" if folds else "")
    assert told.get("continuation-token", "") == token
    names = [pair.partition("=")[0] for pair in query.split("&")]
    assert names == sorted(names)
