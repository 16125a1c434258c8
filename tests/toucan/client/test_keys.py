"""Keys: never the same twice, and names that the server takes."""

from __future__ import annotations

import pytest

from toucan.client.errors import InvalidRequest
from toucan.client.keys import Keys, check_session_name
from toucan.client.limits import SESSION_NAME_MAX


def test_numbers_count_up_from_the_first_one() -> None:
    keys = Keys("desk", 1_700_000_000_000_000)
    assert [keys.next().number for _ in range(3)] == [1_700_000_000_000_000 + n for n in range(3)]


def test_a_renewed_session_counts_from_one_under_another_name() -> None:
    keys = Keys("desk", 7)
    keys.next()
    keys.renew("other")
    assert str(keys.next()) == "other/1"


def test_longest_session_name_and_one_more() -> None:
    assert check_session_name("x" * SESSION_NAME_MAX)
    with pytest.raises(InvalidRequest, match="1 to 64 printable characters"):
        check_session_name("x" * (SESSION_NAME_MAX + 1))


@pytest.mark.parametrize("name", ["", "a\nb", "\x00"])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        Keys(name)
