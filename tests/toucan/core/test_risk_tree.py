"""The tree of limits: names of nodes, what a limit's value may be, changes at run time, money."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core import risk_tree
from toucan.core.instruments import Instrument
from toucan.core.risk_limits import (
    DECIMALS_MAX,
    DIGITS_MAX,
    LIMITS,
    REQUESTS_KEPT_MAX,
    SYMBOLS_MAX,
    WINDOW_S_MAX,
    InvalidLimit,
    LimitKind,
    scaled,
    spec_of,
    split_name,
    value_from_text,
    value_from_toml,
    value_text,
)
from toucan.core.risk_tree import NAME_CHARACTERS_MAX, LimitTree, UnknownNode

ALICE = "firm/alpha/ACC1/alice"
AAPL = Instrument("AAPL", "USD", "SIM")
DAX = Instrument("DAX", "EUR", "SIM", price_decimals=1, multiplier=25)
COIN = Instrument("BTC-USD", "USD", "SIM", quantity_decimals=8)


def tree() -> LimitTree:
    return LimitTree("USD", {"alpha": ["ACC1", "ACC2"], "beta": ["ACC3"]})


# ---------------------------------------------------------------- nodes


def test_path_leads_from_the_trader_to_the_firm() -> None:
    assert tree().path("ACC1", "alice") == (ALICE, "firm/alpha/ACC1", "firm/alpha", "firm")


def test_unknown_account_counts_for_itself_and_the_firm() -> None:
    assert not tree().knows_account("ACC9")
    assert tree().path("ACC9", "alice") == ("firm//ACC9/alice", "firm//ACC9", "firm")


@pytest.mark.parametrize(
    "node", ["firm", "firm/alpha", "firm/beta/ACC3", ALICE, "firm/alpha/ACC1/never.seen@desk"]
)
def test_nodes_there_are(node: str) -> None:
    tree().check_node(node)


@pytest.mark.parametrize(
    ("node", "hint"),
    [
        ("", "write firm"),
        ("company", "write firm"),
        ("firm/alpah", 'did you mean "alpha"?'),
        ("firm/alpha/SPREADS", "known: ACC1, ACC2"),
        ("firm/alpha/ACC3", "has no account"),
        ("firm/alpha/ACC11", 'did you mean "ACC1"?'),
        ("firm//ACC9", "no team"),
        ("firm/alpha/ACC1/", "no blanks"),
        ("firm/alpha/ACC1/a b", "no blanks"),
        (f"{ALICE}/more", "write firm"),
        (f"firm/alpha/ACC1/{'x' * (NAME_CHARACTERS_MAX + 1)}", "no blanks"),
    ],
)
def test_other_nodes_are_refused_with_a_hint(node: str, hint: str) -> None:
    with pytest.raises(UnknownNode, match=r".") as caught:
        tree().check_node(node)
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    "teams",
    [{"a/b": ["ACC1"]}, {"": ["ACC1"]}, {"alpha": ["A B"]}, {"alpha": [""]}, {"alpha": ["A"], "beta": ["A"]}],
)
def test_names_that_cannot_be_are_refused(teams: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"cannot be the name|in two teams"):
        LimitTree("USD", teams)


def test_kept_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_tree, "PATHS_KEPT_MAX", 3)
    limits = tree()
    for number in range(10):
        assert limits.path("ACC1", f"t{number}")[0] == f"firm/alpha/ACC1/t{number}"
    assert len(limits._paths) <= 3


# ---------------------------------------------------------------- values


def test_value_for_a_symbol_takes_the_place_of_the_general_one() -> None:
    limits = tree()
    limits.set("firm/alpha/ACC1", "max_position", "500")
    limits.set("firm/alpha/ACC1", "symbol.AAPL.max_position", "10")
    assert limits.number("firm/alpha/ACC1", "max_position", 0, "AAPL") == 10
    assert limits.number("firm/alpha/ACC1", "max_position", 0, "MSFT") == 500
    assert limits.number("firm/alpha/ACC2", "max_position", 0, "AAPL") is None


def test_symbols_may_have_dots() -> None:
    assert split_name("symbol.BRK.B.max_position") == ("max_position", "BRK.B")
    assert split_name("max_position") == ("max_position", "")


def test_a_limit_can_be_changed_and_taken_away() -> None:
    limits = tree()
    versions = [limits.version]
    for value in ("10", "20", None):
        limits.set(ALICE, "max_order_quantity", value)
        versions.append(limits.version)
    assert limits.value(ALICE, "max_order_quantity") is None
    assert (limits.size, list(limits)) == (0, [])
    assert len(set(versions)) == len(versions)
    limits.set(ALICE, "max_order_quantity", None)  # twice is no mistake


@pytest.mark.parametrize(
    ("node", "limit", "value", "hint"),
    [
        ("firm", "max_order_quantiti", "1", 'did you mean "max_order_quantity"?'),
        ("firm", "", "1", "there is no limit"),
        ("firm", "symbol.max_position", "1", "there is no limit"),
        ("firm", "symbol..max_position", "1", "there is no limit"),
        ("firm", "symbol.AAPL.max_open_orders", "1", "cannot be set for one symbol"),
        ("firm", "max_order_quantity", "many", "a decimal number of units"),
        ("firm", "max_order_quantity", "-1", "a decimal number of units"),
        ("firm", "max_order_quantity", "1e3", "a decimal number of units"),
        ("firm", "max_order_quantity", "\u0661", "a decimal number of units"),
        ("firm", "max_order_quantity", "", "a decimal number of units"),
        ("firm", "max_requests", "1.5", "a whole number"),
        ("firm", "prevent_self_trade", "yes", "true or false"),
        ("firm", "collar_side", "left", '"worse" or "both"'),
        ("firm", "allowed_order_types", "LIMIT,MARKT", 'did you mean "MARKET"?'),
        ("firm", "requests_window_s", "0", "above 0"),
        ("firm", "max_denials", "0", "above 0"),
        ("firm/alpha", "currency.EUR", "1.1", "for all nodes"),
        ("firm", "currency.USD", "1.1", "base currency"),
        ("firm", "currency.euro", "1.1", "no currency"),
        ("firm", "currency.EUR", "0", "above 0"),
        ("firm", "currency.EUR", "one", "above 0"),
    ],
)
def test_what_cannot_be_set_is_refused_and_changes_nothing(
    node: str, limit: str, value: str, hint: str
) -> None:
    limits = tree()
    with pytest.raises(InvalidLimit, match=r".") as caught:
        limits.check(node, limit, value)
    assert hint in str(caught.value)
    with pytest.raises(InvalidLimit):
        limits.set(node, limit, value)
    assert (limits.version, list(limits)) == (0, [])


@pytest.mark.parametrize(
    ("limit", "most", "beyond"),
    [
        ("max_order_quantity", "9" * DIGITS_MAX, "9" * (DIGITS_MAX + 1)),
        ("max_order_quantity", "0." + "1" * DECIMALS_MAX, "0." + "1" * (DECIMALS_MAX + 1)),
        ("requests_window_s", str(WINDOW_S_MAX), f"{WINDOW_S_MAX}.000000001"),
        ("max_requests", str(REQUESTS_KEPT_MAX), str(REQUESTS_KEPT_MAX + 1)),
        ("max_open_orders", "999999999", "1000000000"),
        (
            "restricted_symbols",
            ",".join(map(str, range(SYMBOLS_MAX))),
            ",".join(map(str, range(SYMBOLS_MAX + 1))),
        ),
    ],
)
def test_values_at_their_bounds(limit: str, most: str, beyond: str) -> None:
    value_from_text(spec_of(limit), most)
    with pytest.raises(InvalidLimit):
        value_from_text(spec_of(limit), beyond)


def test_number_of_values_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk_tree, "VALUES_MAX", 2)
    limits = tree()
    limits.set("firm", "max_open_orders", "1")
    limits.set("firm", "symbol.A.max_position", "1")
    limits.set("firm", "symbol.A.max_position", "2")
    with pytest.raises(InvalidLimit, match="remove some"):
        limits.set("firm", "symbol.B.max_position", "1")
    limits.set("firm", "symbol.A.max_position", None)
    limits.set("firm", "symbol.B.max_position", "1")


@pytest.mark.parametrize(
    ("limit", "value", "parsed"),
    [
        ("max_position", "050.500", "50.5"),
        ("max_position", 7, "7"),
        ("max_requests", 7, 7),
        ("max_open_orders", 0, 0),
        ("prevent_self_trade", True, True),
        ("restricted_symbols", ["B", "A", "B"], ("A", "B")),
        ("allowed_order_types", ["LIMIT"], ("LIMIT",)),
        ("collar_side", "both", "both"),
    ],
)
def test_values_of_the_file(limit: str, value: object, parsed: object) -> None:
    found = value_from_toml(spec_of(limit), value)
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.parametrize(
    ("limit", "value", "hint"),
    [
        ("max_position", 1.5, 'write "1.5" in quotes'),
        ("max_position", True, "not True"),
        ("max_position", ["1"], "not ['1']"),
        ("max_position", {"a": 1}, "a decimal number of units"),
        ("max_requests", "7", "without quotes"),
        ("max_requests", -7, "a whole number"),
        ("max_open_orders", 1.0, "a whole number"),
        ("prevent_self_trade", "true", "true or false"),
        ("prevent_self_trade", 1, "true or false"),
        ("restricted_symbols", "A", "a list of symbols"),
        ("restricted_symbols", [1], "a list of symbols"),
        ("collar_side", 5, '"worse" or "both"'),
    ],
)
def test_wrong_types_of_the_file(limit: str, value: object, hint: str) -> None:
    with pytest.raises(InvalidLimit) as caught:
        value_from_toml(spec_of(limit), value)
    assert hint in str(caught.value)


def test_every_limit_says_what_it_is() -> None:
    for spec in LIMITS.values():
        assert spec.help_text.endswith(".")
        assert spec.name.endswith("_s") == (spec.kind is LimitKind.SECONDS)
        assert bool(spec.words) == (spec.kind is LimitKind.WORD)
        if spec.default != "":
            assert value_from_text(spec, str(spec.default)) == spec.default


def test_limits_that_tune_another_have_defaults() -> None:
    assert tree().number("firm", "requests_window_s", 9) == 10**9
    assert tree().number("firm", "denials_window_s", 0) == tree().number("firm", "cooling_off_s", 0) == 60
    assert tree().number("firm", "max_requests", 0) is None


@given(st.decimals(0, 10**15 - 1, places=DECIMALS_MAX), st.integers(0, 12))
def test_scaled_is_exact_and_rounds_down(number: object, decimals: int) -> None:
    text = f"{number:f}"
    whole, _, part = text.partition(".")
    exact = int(whole + part)  # in units of 10^-12
    assert scaled(text, decimals) == exact // 10 ** (DECIMALS_MAX - decimals)


names = st.sampled_from(sorted(LIMITS))
texts = st.sampled_from(
    ["0", "1", "2.50", "007", "true", "false", "A,B", "LIMIT", "both", "allow", "x y", "9" * 30]
)
nodes = st.sampled_from(["firm", "firm/alpha", "firm/alpha/ACC1", ALICE, "firm/gamma", "firm/alpha/ACC1/bob"])
changes = st.lists(
    st.tuples(nodes, names | names.map(lambda name: f"symbol.AAPL.{name}"), texts | st.none()), max_size=30
)


@settings(deadline=None)
@given(changes)
def test_dumped_tree_is_loaded_as_it_was(steps: list[tuple[str, str, str | None]]) -> None:
    limits = tree()
    limits.set("firm", "currency.EUR", "1.08")
    expected: dict[tuple[str, str], str] = {}
    for node, limit, value in steps:
        try:
            limits.set(node, limit, value)
        except (UnknownNode, InvalidLimit):
            continue
        expected.pop((node, limit), None)
        if value is not None:
            expected[node, limit] = value_text(value_from_text(spec_of(limit), value))
    assert list(limits) == [
        *((*key, value) for key, value in sorted(expected.items())),
        ("firm", "currency.EUR", "1.08"),
    ]
    assert limits.size == len(expected)
    loaded = LimitTree.load(msgspec.msgpack.decode(msgspec.msgpack.encode(limits.dump())))
    assert list(loaded) == list(limits)
    assert loaded.dump() == limits.dump()
    assert loaded.teams == limits.teams


# ---------------------------------------------------------------- money


def micros(limits: LimitTree, instrument: Instrument, quantity: int, price: int) -> int | None:
    scale = limits.scale(instrument)
    return None if scale is None else -(-quantity * price * scale[0] // scale[1])


def test_money_is_in_micro_units_of_the_base_currency_rounded_up() -> None:
    limits = tree()
    limits.set("firm", "currency.EUR", "1.08")
    assert micros(limits, AAPL, 100, 18_950) == 18_950_000_000  # 18,950.00 USD
    assert micros(limits, DAX, 2, 180_005) == int(2 * 18_000.5 * 25 * 1.08 * 10**6)
    assert micros(limits, COIN, 1, 1) == 1  # 10^-10 USD


def test_currency_without_a_rate_is_worth_nothing_known() -> None:
    limits = tree()
    assert limits.scale(DAX) is None
    assert limits.missing_rates([AAPL, DAX]) == ["EUR"]
    limits.set("firm", "currency.EUR", "1.08")
    assert limits.missing_rates([AAPL, DAX]) == []
    limits.set("firm", "currency.EUR", None)
    assert limits.scale(DAX) is None
