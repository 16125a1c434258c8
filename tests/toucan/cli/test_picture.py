"""The bottom line: what it says, and that nobody can miss when it is old."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toucan.cli.support import order

from toucan.cli.limits import STALE_AFTER_S
from toucan.cli.prompt.picture import Picture, bottom_line
from toucan.client.values import Position
from toucan.core.values import TradingLevel

NOW_S = 1000.0
WELL = Picture(server="host:7070", user="ann", is_connected=True, last_heard_s=NOW_S - 0.4)


def text_of(picture: Picture, now_s: float = NOW_S) -> str:
    return "".join(text for _, text in bottom_line(picture, now_s))


def position(
    account: str, realised: str, unrealised: str | None, trader: str = "", currency: str = "USD"
) -> Position:
    return Position(
        account=account, trader=trader, symbol="AAPL", quantity=Decimal(1), average_price=None,
        realised_profit=Decimal(realised), unrealised_profit=None if unrealised is None else Decimal(unrealised),
        mark_price=None, bought_quantity=Decimal(0), sold_quantity=Decimal(0), currency=currency, is_approximate=False,
        updated_seq=1,
    )  # fmt: skip


def test_it_says_who_where_what_and_how_old() -> None:
    assert text_of(WELL) == " ann @ host:7070 | no open orders | no positions | 0.4 s ago "
    picture = replace(WELL, orders=(order(), order(13)))
    assert "| 2 open |" in text_of(picture)


def test_profit_is_of_whole_accounts_by_currency() -> None:
    picture = replace(
        WELL,
        positions=(
            position("ACC1", "10", "-2.50"),
            position("ACC1", "10", "-2.50", trader="ann"),
            position("ACC2", "1000", None),
            position("ACC2", "-1", "0", currency="EUR"),
        ),
    )
    assert "P&L -1.00 EUR (+0.00 open), +1,007.50 USD (-2.50 open)" in text_of(picture)


def test_kill_levels_are_shown_where_they_were_set() -> None:
    levels = {
        "firm": TradingLevel.NORMAL,
        "firm/a": TradingLevel.BLOCK_NEW,
        "firm/a/ACC1": TradingLevel.BLOCK_NEW,
        "firm/a/ACC2": TradingLevel.FREEZE,
        "firm/ab": TradingLevel.CANCEL_ALL,
    }
    fragments = bottom_line(replace(WELL, levels=levels), NOW_S)
    assert [text.strip() for style, text in fragments if style == "class:stopped"] == [
        "BLOCK NEW firm/a",
        "FREEZE firm/a/ACC2",
        "CANCEL ALL firm/ab",
    ]


def test_just_in_time_and_just_too_old() -> None:
    assert "OLD" not in text_of(WELL, WELL.last_heard_s + STALE_AFTER_S)
    assert text_of(WELL, WELL.last_heard_s + STALE_AFTER_S + 1).startswith(
        " OLD: the server has said nothing for 8 s"
    )


@settings(deadline=None)
@given(st.booleans(), st.booleans(), st.floats(0, 100), st.text(max_size=5))
def test_what_may_be_old_is_red_from_end_to_end(
    is_connected: bool, is_stale: bool, age_s: float, trouble: str
) -> None:
    picture = replace(
        WELL,
        is_connected=is_connected,
        is_stale=is_stale,
        last_heard_s=NOW_S - age_s,
        trouble=trouble,
        levels={"firm": TradingLevel.FREEZE},
    )
    fragments = bottom_line(picture, NOW_S)
    is_old = not is_connected or is_stale or picture.age_s(NOW_S) > STALE_AFTER_S
    assert ({style for style, _ in fragments} == {"class:old"}) == is_old
    assert ("OLD" in "".join(text for _, text in fragments)) >= is_old


def test_a_lost_connection_says_why() -> None:
    picture = replace(WELL, is_connected=False, trouble="Connection refused", last_heard_s=NOW_S - 12)
    assert text_of(picture).startswith(" NOT CONNECTED for 12 s: Connection refused | OLD: ann @ host:7070")
