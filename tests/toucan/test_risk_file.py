"""The limits file: what it may say, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toucan.core.instruments import Instrument
from toucan.core.risk_document import DocumentError, tree_of
from toucan.core.risk_limits import LIMITS, LimitKind
from toucan.errors import InvalidSettings
from toucan.risk_file import LIMITS_FILE_BYTES_MAX, LimitsFileError, parse_limits, read_limits

INSTRUMENTS = {
    one.symbol: one for one in (Instrument("AAPL", "USD", "SIM"), Instrument("BRK.B", "USD", "SIM"))
}
WITH_EURO = {**INSTRUMENTS, "DAX": Instrument("DAX", "EUR", "SIM")}

WHOLE = """\
base_currency = "USD"
[currency]
EUR = "1.08"
[firm]
max_open_notional = "50000000"
restricted_symbols = ["GME", "AMC"]
[team.alpha]
accounts = ["ACC1", "ACC2"]
max_order_notional = 1000000
[team.beta]
accounts = ["ACC3"]
[account.ACC1]
max_order_quantity = "10000"
max_position = "50000"
max_requests = 10
requests_window_s = "0.5"
prevent_self_trade = true
[account.ACC1.symbol.AAPL]
max_position = "1000"
[account.ACC1.symbol."BRK.B"]
max_position = "10"
[trader."ACC1/alice"]
soft_max_order_quantity = "100"
allowed_order_types = ["LIMIT", "STOP_LIMIT"]
collar_without_reference = "allow"
price_collar_percent = "2.5"
"""


def error_of(document: str, instruments: dict[str, Instrument] = INSTRUMENTS) -> str:
    with pytest.raises(LimitsFileError) as caught:
        parse_limits(document, instruments)
    return str(caught.value)


def test_whole_file_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(WHOLE, encoding="utf-8")
    document = read_limits(path, WITH_EURO)
    assert document == WHOLE
    tree = tree_of(document)
    assert tree.base_currency == "USD"
    assert tree.teams == {"alpha": ["ACC1", "ACC2"], "beta": ["ACC3"]}
    assert list(tree) == [
        ("firm", "max_open_notional", "50000000"),
        ("firm", "restricted_symbols", "AMC,GME"),
        ("firm/alpha", "max_order_notional", "1000000"),
        ("firm/alpha/ACC1", "max_order_quantity", "10000"),
        ("firm/alpha/ACC1", "max_position", "50000"),
        ("firm/alpha/ACC1", "max_requests", "10"),
        ("firm/alpha/ACC1", "prevent_self_trade", "true"),
        ("firm/alpha/ACC1", "requests_window_s", "0.5"),
        ("firm/alpha/ACC1", "symbol.AAPL.max_position", "1000"),
        ("firm/alpha/ACC1", "symbol.BRK.B.max_position", "10"),
        ("firm/alpha/ACC1/alice", "allowed_order_types", "LIMIT,STOP_LIMIT"),
        ("firm/alpha/ACC1/alice", "collar_without_reference", "allow"),
        ("firm/alpha/ACC1/alice", "price_collar_percent", "2.5"),
        ("firm/alpha/ACC1/alice", "soft_max_order_quantity", "100"),
        ("firm", "currency.EUR", "1.08"),
    ]
    assert tree.number("firm/alpha/ACC1", "max_position", 0, "BRK.B") == 10


def test_smallest_file_has_a_currency_only() -> None:
    assert tree_of(parse_limits('base_currency = "USD"', INSTRUMENTS)).teams == {}


@pytest.mark.parametrize(
    ("line", "before", "after", "hint"),
    [
        (1, 'base_currency = "USD"', 'base_curency = "USD"', 'unknown section "base_curency"; did you mean "base_currency"?'),
        (1, 'base_currency = "USD"', "base_currency = 5", "expected the code of a currency"),
        (1, 'base_currency = "USD"', 'base_currency = "dollars"', "is no currency"),
        (3, 'EUR = "1.08"', "EUR = 1.08", "in quotes"),
        (3, 'EUR = "1.08"', 'EUR = "-1"', "above 0"),
        (3, 'EUR = "1.08"', 'USD = "1"', "base currency"),
        (4, "[firm]", "[company]", "unknown section"),
        (5, "max_open_notional =", "max_open_notionall =", 'unknown key "max_open_notionall" in [firm]; did you mean "max_open_notional"?'),
        (5, '"50000000"', '"fifty"', "firm.max_open_notional: expected a decimal amount"),
        (5, '"50000000"', "5.5", 'write "5.5" in quotes'),
        (5, '"50000000"', "-1", "expected a decimal amount"),
        (6, '["GME", "AMC"]', '"GME"', "expected a list of symbols"),
        (8, '["ACC1", "ACC2"]', '"ACC1"', "expected a list of accounts"),
        (8, '"ACC2"]', '"A C"]', "cannot be the name of an account"),
        (9, "max_order_notional", "account", 'did you mean "accounts"?'),
        (11, '["ACC3"]', '["ACC1"]', "in two teams"),
        (12, "[account.ACC1]", "[account.ACC9]", 'no team has the account "ACC9"'),
        (15, "max_requests = 10", 'max_requests = "10"', "without quotes"),
        (16, '"0.5"', '"0"', "above 0"),
        (17, "true", '"true"', "true or false"),
        (18, "symbol.AAPL", "symbol.APPL", 'there is no instrument APPL; did you mean "AAPL"?'),
        (19, 'max_position = "1000"', "max_open_orders = 5", "cannot be set for one symbol"),
        (19, 'max_position = "1000"', "accounts = []", 'unknown key "accounts" in [account.ACC1.symbol.AAPL]'),
        (22, 'trader."ACC1/alice"', "trader.alice", 'such as [trader."ACC1/alice"]'),
        (22, "ACC1/alice", "ACC9/alice", 'no team has the account "ACC9"'),
        (22, "ACC1/alice", "ACC1/a b", 'such as [trader."ACC1/alice"]'),
        (24, '"STOP_LIMIT"', '"STOPLIMIT"', 'did you mean "STOP_LIMIT"?'),
        (25, '"allow"', '"maybe"', 'expected "deny" or "allow"'),
        (25, "collar_without_reference", "[", "not valid TOML"),
    ],
)  # fmt: skip
def test_mistake_is_told_with_its_line(line: int, before: str, after: str, hint: str) -> None:
    assert before in WHOLE
    text = error_of(WHOLE.replace(before, after, 1))
    assert hint in text
    told = int(text.split(":")[1])
    # What is reported for a table may be told at the table's own line.
    assert text.startswith("limits.toml:")
    assert told in (line, line + 1), text


@pytest.mark.parametrize(
    ("line", "needed"),
    [
        ('requests_window_s = "1"', "max_requests"),
        ('denials_window_s = "1"', "max_denials"),
        ('cooling_off_s = "1"', "max_denials"),
        ('collar_side = "both"', "price_collar_percent"),
        ('collar_without_reference = "allow"', "price_collar_percent"),
    ],
)
def test_limit_that_only_tunes_a_missing_one_is_a_mistake(line: str, needed: str) -> None:
    text = error_of(f'base_currency = "USD"\n[firm]\n{line}\n')
    assert text.startswith("limits.toml:3:")
    assert f"without {needed}" in text


def test_collar_of_one_symbol_can_be_tuned() -> None:
    document = 'base_currency = "USD"\n[firm]\ncollar_side = "both"\n[firm.symbol.AAPL]\nprice_collar_percent = "5"\n'
    assert parse_limits(document, INSTRUMENTS) == document


def test_currency_without_a_rate_is_a_mistake_where_there_is_a_limit_on_money() -> None:
    text = error_of(WHOLE.replace('EUR = "1.08"', 'GBP = "1.27"'), WITH_EURO)
    assert text.startswith("limits.toml:2:")
    assert 'EUR = "1.08"' in text
    parse_limits('base_currency = "USD"\n[firm]\nmax_position = "5"\n', WITH_EURO)


@pytest.mark.parametrize("section", ["firm", "team", "account", "trader", "currency"])
def test_section_that_is_no_table_is_a_mistake(section: str) -> None:
    text = error_of(f'base_currency = "USD"\n{section} = 5\n')
    assert text.startswith("limits.toml:2:")
    assert "expected a table" in text


def test_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(LimitsFileError, match="No such file"):
        read_limits(tmp_path / "none.toml", INSTRUMENTS)
    path = tmp_path / "limits.toml"
    path.write_bytes(b'base_currency = "\xff"')
    with pytest.raises(InvalidSettings, match="not UTF-8"):
        read_limits(path, INSTRUMENTS)


def test_size_of_the_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    head = 'base_currency = "USD"\n#'
    path.write_text(head + "x" * (LIMITS_FILE_BYTES_MAX - len(head)))
    read_limits(path, INSTRUMENTS)
    path.write_text(head + "x" * (LIMITS_FILE_BYTES_MAX - len(head) + 1))
    with pytest.raises(LimitsFileError, match="262,144 bytes"):
        read_limits(path, INSTRUMENTS)


def test_every_limit_can_be_written_in_the_file() -> None:
    samples = {
        LimitKind.QUANTITY: '"1"', LimitKind.MONEY: '"1"', LimitKind.PERCENT: '"1"', LimitKind.SECONDS: '"1"',
        LimitKind.COUNT: "1", LimitKind.TOTAL: "1", LimitKind.FLAG: "true", LimitKind.SYMBOLS: '["A"]',
        LimitKind.ORDER_TYPES: '["LIMIT"]',
    }  # fmt: skip
    lines = [f"{name} = {samples.get(spec.kind) or repr(spec.words[0])}" for name, spec in LIMITS.items()]
    tree = tree_of("\n".join(['base_currency = "USD"', "[firm]", *lines]))
    assert {limit for _, limit, _ in tree} == set(LIMITS)


@pytest.mark.parametrize("value", ["9" * 10_000, "[" * 100_000 + "]" * 100_000])
def test_hostile_values_are_mistakes(value: str) -> None:
    assert "not valid TOML" in error_of(f'base_currency = "USD"\n[firm]\nmax_open_orders = {value}')


@settings(deadline=None)
@given(st.integers(0, len(WHOLE)), st.integers(0, 8), st.text(alphabet='[]"=.#\n Aa1', max_size=6))
def test_a_damaged_file_is_understood_or_told_never_worse(at: int, cut: int, put: str) -> None:
    document = WHOLE[:at] + put + WHOLE[at + cut :]
    try:
        tree = tree_of(document)
    except DocumentError:
        text = error_of(document, WITH_EURO)
        assert 1 <= int(text.split(":")[1]) <= document.count("\n") + 1
    else:
        assert tree.base_currency
