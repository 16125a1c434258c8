"""How candidates match and in which order they come; and that typing on keeps the order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labshell.core.habits import Use, score, used
from labshell.core.limits import HABITS_TOTAL_MAX
from labshell.core.matching import MatchClass, classify, ranked


@pytest.mark.parametrize(
    ("typed", "text", "match"),
    [
        ("", "cashy", MatchClass.PREFIX),
        ("cashy", "cashy", MatchClass.EXACT),
        ("ca", "cashy", MatchClass.PREFIX),
        ("s3", "cashy-s3", MatchClass.BOUNDARY),
        ("3", "cashy-s3", MatchClass.BOUNDARY),
        ("b", "x@b", MatchClass.BOUNDARY),
        ("s", "cashy-s3", MatchClass.BOUNDARY),
        ("sh", "cashy", MatchClass.SUBSTRING),
        ("csy", "cashy", MatchClass.SUBSEQUENCE),
        ("cc", "cashy", None),
        ("yc", "cashy", None),
    ],
)
def test_class_of_a_match(typed: str, text: str, match: MatchClass | None) -> None:
    assert classify(typed, text) == match


def test_order_is_class_then_score_then_place() -> None:
    items = ["xab", "x-ab", "abz", "aby", "ab", "aXb"]
    scores = {"aby": 1.0}
    assert ranked("ab", items, str, lambda item: scores.get(item, 0.0)) == [
        "ab",
        "aby",
        "abz",
        "x-ab",
        "xab",
        "aXb",
    ]


def test_letters_match_in_either_case() -> None:
    assert ranked("AB", ["xaB"], str, lambda _: 0.0) == ["xaB"]


TEXTS = st.lists(st.text(alphabet="ab-1B", min_size=1, max_size=8), unique=True, max_size=12)


@given(TEXTS, st.text(alphabet="ab-1", max_size=4), st.sampled_from("ab-1"), st.data())
def test_typing_on_removes_candidates_and_keeps_the_order_of_the_rest(
    texts: list[str], typed: str, more: str, data: st.DataObject
) -> None:
    """Two that both stay and keep their class never change places; a class only gets worse, or exact."""
    scores = {text: data.draw(st.sampled_from([0.0, 1.0, 4.0])) for text in texts}
    before = ranked(typed, texts, str, scores.__getitem__)
    after = ranked(typed + more, texts, str, scores.__getitem__)
    assert set(after) <= set(before)
    classes = {text: (classify(typed, text.lower()), classify(typed + more, text.lower())) for text in after}
    for old, new in classes.values():
        assert old is not None
        assert new is not None
        assert new >= old or new is MatchClass.EXACT
    still = [text for text in before if text in classes and classes[text][0] == classes[text][1]]
    kept = [text for text in after if text in still]
    assert kept == still


@given(TEXTS, st.text(alphabet="ab-1", max_size=4))
def test_nothing_that_matches_is_left_out(texts: list[str], typed: str) -> None:
    found = ranked(typed, texts, str, lambda _: 0.0)
    assert sorted(found) == sorted(text for text in texts if classify(typed, text.lower()) is not None)


@pytest.mark.parametrize(
    ("age_s", "factor"),
    [(0, 4), (3_599, 4), (3_600, 2), (86_399, 2), (86_400, 0.5), (604_799, 0.5), (604_800, 0.25)],
)
def test_habit_counts_less_the_older_it_is(age_s: float, factor: float) -> None:
    assert score(Use(8, 1_000.0), 1_000.0 + age_s) == 8 * factor


def test_what_was_never_used_scores_nothing() -> None:
    assert score(None, 0.0) == 0.0


def test_uses_are_counted_and_aged() -> None:
    habits = used(used({}, "host", "a", 1.0), "host", "a", 2.0)
    assert habits == {("host", "a"): Use(2.0, 2.0)}
    full = {("host", "a"): Use(HABITS_TOTAL_MAX - 1, 0.0), ("host", "b"): Use(1.0, 0.0)}
    aged = used(full, "host", "a", 5.0)
    assert ("host", "b") not in aged
    assert sum(use.count for use in aged.values()) < HABITS_TOTAL_MAX
    within = used({("host", "a"): Use(HABITS_TOTAL_MAX - 1, 0.0)}, "host", "a", 5.0)
    assert within["host", "a"].count == HABITS_TOTAL_MAX
