"""The reference pages are what the tables and enums say, and each code says what it means."""

from __future__ import annotations

import enum
import re
from pathlib import Path

import pytest

from hostkit.generated_pages import stale_pages
from toucan.core.life_cycle import TRANSITIONS, diagram
from toucan.core.order import PRECEDENCE, OrderState
from toucan.core.outcomes import Anomaly, Refusal
from toucan.core.risk_checks import DenialCode
from toucan.core.values import ExecType, OrdStatus
from toucan.reference import meanings, order_states_page, pages

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_pages_are_fresh() -> None:
    assert stale_pages(pages(), DOCS) == [], "run `python -m toucan.reference docs`"


@pytest.mark.parametrize("codes", [Refusal, Anomaly, DenialCode])
def test_every_code_says_what_it_means(codes: type[enum.Enum]) -> None:
    page = pages()["toucan-codes.md"]
    found = meanings(codes)
    assert list(found) == list(codes.__members__)
    for name, text in found.items():
        assert text.endswith("."), name
        assert ":data:" not in text
        assert f"| `{name}` | {text} |" in page


def test_a_code_without_a_comment_is_noticed() -> None:
    class Codes(enum.Enum):
        """For this test."""

        #: It says
        #: something.
        SAID = 1
        UNSAID = 2

    assert meanings(Codes) == {"SAID": "It says something.", "UNSAID": ""}


def test_the_diagram_is_the_table() -> None:
    drawn: dict[OrderState, dict[ExecType, OrderState]] = {state: {} for state in OrderState}
    for line in diagram().splitlines():
        edge = re.fullmatch(r" +(\w+) --> (\w+): (.+)", line)
        row = re.fullmatch(r"\| ([A-Z_]+) \| (.+) \|", line)
        state, following, kinds = edge.groups() if edge else (row[1], row[1], row[2]) if row else ("", "", "")
        for kind in filter(None, kinds.split(", ")):
            drawn[OrderState[state]][ExecType[kind]] = OrderState[following]
    assert drawn == TRANSITIONS
    assert diagram() in order_states_page()


def test_every_status_has_its_rank() -> None:
    assert set(PRECEDENCE) == set(OrdStatus)
    listed = order_states_page().split("## Status")[1]
    assert (
        listed.index("PENDING_CANCEL")
        < listed.index("FILLED")
        < listed.index("CANCELED`")
        < listed.index("REJECTED")
    )
