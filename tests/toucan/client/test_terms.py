"""What a caller asks for, and the message that it becomes."""

from __future__ import annotations

import datetime

import pytest
from tests.toucan.client.mini_engine import instruments

from aviary.toucan.v1 import types_pb2 as pb
from toucan.client import MARKET
from toucan.client.errors import InvalidRequest, UnknownInstrument
from toucan.client.instruments import Instrument, InstrumentTable
from toucan.client.terms import OrderOptions, level_of, ns_of, side_of, terms_to_wire
from toucan.core.values import Side, TradingLevel

TABLE = InstrumentTable(map(Instrument.from_wire, instruments()))


def wire(**options: object) -> pb.OrderTerms:
    made: OrderOptions = options  # type: ignore[assignment]
    return terms_to_wire(TABLE.find("AAPL"), "ACC1", Side.BUY, 100, made)


@pytest.mark.parametrize(
    ("options", "kind", "price", "stop_price"),
    [
        ({"price": "189.50"}, pb.ORDER_TYPE_LIMIT, 18950, None),
        ({"price": MARKET}, pb.ORDER_TYPE_MARKET, None, None),
        ({"price": "Market"}, pb.ORDER_TYPE_MARKET, None, None),
        ({"stop_price": "185"}, pb.ORDER_TYPE_STOP, None, 18500),
        ({"stop_price": "185", "price": "market"}, pb.ORDER_TYPE_STOP, None, 18500),
        ({"stop_price": "185", "price": "184.99"}, pb.ORDER_TYPE_STOP_LIMIT, 18499, 18500),
    ],
)
def test_type_follows_from_the_prices(
    options: dict[str, object], kind: int, price: int | None, stop_price: int | None
) -> None:
    terms = wire(**options)
    assert terms.type == kind
    assert (terms.price if terms.HasField("price") else None) == price
    assert (terms.stop_price if terms.HasField("stop_price") else None) == stop_price


def test_a_forgotten_price_is_no_market_order() -> None:
    with pytest.raises(InvalidRequest, match='price="market" for a market order'):
        wire()


def test_day_is_the_default_and_names_are_taken_in_any_case() -> None:
    assert wire(price="1").time_in_force == pb.TIME_IN_FORCE_DAY
    assert wire(price="1", tif="IOC").time_in_force == pb.TIME_IN_FORCE_IOC
    assert side_of("Sell") is Side.SELL
    assert level_of("cancel-all") is TradingLevel.CANCEL_ALL


def test_unknown_words_list_the_known_ones() -> None:
    with pytest.raises(
        InvalidRequest, match="'gtx' is no time in force; it is one of: day, gtc, ioc, fok, gtd"
    ):
        wire(price="1", tif="gtx")


def test_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="an order has no prise; it can have price, stop_price"):
        wire(prise="1")


def test_off_the_grid_is_said_in_the_fields_words() -> None:
    with pytest.raises(InvalidRequest, match="MSFT: quantity 15 is not a multiple of the lot, 10"):
        terms_to_wire(TABLE.find("MSFT"), "ACC1", "buy", 15, {"price": "400"})
    with pytest.raises(
        InvalidRequest, match=r"MSFT: stop price '400.01' is not a multiple of the tick, 0.05"
    ):
        terms_to_wire(TABLE.find("MSFT"), "ACC1", "buy", 10, {"stop_price": "400.01"})


def test_unknown_symbol_names_what_looks_alike() -> None:
    with pytest.raises(UnknownInstrument, match=r"no instrument 'APPL'; did you mean AAPL\?"):
        TABLE.find("APPL")


def test_expiry_needs_a_zone() -> None:
    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.UTC)
    assert ns_of(at) == 1_767_323_045_000_006_000
    assert wire(price="1", tif="gtd", expire_at=at).expire_at_ns == 1_767_323_045_000_006_000
    with pytest.raises(InvalidRequest, match="has no zone"):
        ns_of(at.replace(tzinfo=None))
