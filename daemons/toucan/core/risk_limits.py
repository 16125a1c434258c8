"""The limits that a node of the risk tree may have: their names, what kind of value each takes, and what they mean; from one table.

Law: this module knows words and numbers, no node, no order and no instrument. A limit is declared once, in :data:`LIMITS`; the limits file, changes
at run time, the reference and the checks follow from it. A value is kept as people wrote it (decimals as text), since a quantity becomes an
integer only with an instrument: ``max_order_quantity = "2.5"`` holds for every symbol, whatever its decimals. A limit is rounded down.
"""

from __future__ import annotations

import difflib
import enum
import re
from collections.abc import Iterable

import msgspec

from toucan.core.values import OrderType

__all__ = [
    "DECIMALS_MAX",
    "DIGITS_MAX",
    "LIMITS",
    "REQUESTS_KEPT_MAX",
    "SYMBOLS_MAX",
    "WINDOW_S_MAX",
    "InvalidLimit",
    "LimitKind",
    "LimitSpec",
    "LimitValue",
    "nearest",
    "scaled",
    "spec_of",
    "split_name",
    "value_from_text",
    "value_from_toml",
    "value_text",
]

#: Digits before the point: with the six decimals of money in micro-units still 21 digits, which is no matter to Python and far above any firm.
DIGITS_MAX = 15
#: Decimals of a limit: more than any instrument's prices or quantities have.
DECIMALS_MAX = 12
#: The longest window: what is counted over more than a day is no message rate.
WINDOW_S_MAX = 86_400
#: The largest count of a window: so many times are kept for each node that has one (80 kB).
REQUESTS_KEPT_MAX = 10_000
#: Symbols in one restricted list.
SYMBOLS_MAX = 10_000

#: Names that an error lists; all limits there are.
_KNOWN_SHOWN = 25

_DECIMAL = re.compile(rf"(\d{{1,{DIGITS_MAX}}})(?:\.(\d{{1,{DECIMALS_MAX}}}))?", re.ASCII)
_COUNT = re.compile(r"\d{1,9}", re.ASCII)

#: Decimals as text without useless zeros, counts as integers, flags, names (sorted), or one of some words.
LimitValue = str | int | bool | tuple[str, ...]


class InvalidLimit(ValueError):
    """No such limit, or a value that it cannot have. The message says what it takes."""


class LimitKind(enum.Enum):
    """What a limit's value is."""

    #: In people's units of each instrument.
    QUANTITY = "a decimal number of units"
    #: In the base currency.
    MONEY = "a decimal amount of the base currency"
    PERCENT = "a decimal number of percent"
    SECONDS = f"a decimal number of seconds up to {WINDOW_S_MAX}"
    COUNT = f"a whole number up to {REQUESTS_KEPT_MAX:,}"
    #: A count of what is not kept one by one.
    TOTAL = "a whole number"
    FLAG = "true or false"
    SYMBOLS = "a list of symbols"
    ORDER_TYPES = f"a list of {', '.join(OrderType.__members__)}"
    WORD = "a word"


_DECIMAL_KINDS = (LimitKind.QUANTITY, LimitKind.MONEY, LimitKind.PERCENT, LimitKind.SECONDS)
_LIST_KINDS = (LimitKind.SYMBOLS, LimitKind.ORDER_TYPES)


class LimitSpec(msgspec.Struct, frozen=True):
    """One row of the table."""

    name: str
    kind: LimitKind
    help_text: str
    #: Whether it can be given for one symbol too, where it takes the place of the node's general value.
    per_symbol: bool = False
    words: tuple[str, ...] = ()
    #: What holds when it is not set, for limits that only tune another one.
    default: str | int = ""
    #: Whether 0 would make it meaningless.
    must_be_positive: bool = False


_ROWS = (
    LimitSpec("allowed_order_types", LimitKind.ORDER_TYPES, "Orders of other types are denied."),
    LimitSpec("restricted_symbols", LimitKind.SYMBOLS, "Orders in these symbols are denied."),
    LimitSpec(
        "max_requests",
        LimitKind.COUNT,
        "New orders and replacements are denied once so many requests were sent within requests_window_s. Cancels are counted, never denied.",
    ),
    LimitSpec(
        "requests_window_s", LimitKind.SECONDS, "Window of max_requests.", default="1", must_be_positive=True
    ),
    LimitSpec(
        "duplicate_window_s",
        LimitKind.SECONDS,
        "An order like another one of the account (symbol, side, type, prices, quantity) is denied for so long after it.",
    ),
    LimitSpec(
        "max_order_quantity", LimitKind.QUANTITY, "The largest quantity of one order.", per_symbol=True
    ),
    LimitSpec(
        "max_order_notional",
        LimitKind.MONEY,
        "The most that one order may be worth, at its price or, if that is more for a sale, at the market's.",
        per_symbol=True,
    ),
    LimitSpec(
        "price_collar_percent",
        LimitKind.PERCENT,
        "How much worse than the reference price an order's prices may be.",
        per_symbol=True,
    ),
    LimitSpec(
        "collar_without_reference",
        LimitKind.WORD,
        "What happens to an order when there is no reference price for price_collar_percent.",
        words=("deny", "allow"),
        default="deny",
    ),
    LimitSpec(
        "collar_side",
        LimitKind.WORD,
        "Whether price_collar_percent also denies prices that are too good to be meant (a purchase far below the market).",
        words=("worse", "both"),
        default="worse",
    ),
    LimitSpec(
        "prevent_self_trade",
        LimitKind.FLAG,
        "An order is denied that would be executed against another one from below the same node.",
    ),
    LimitSpec(
        "max_position",
        LimitKind.QUANTITY,
        "The largest position, long or short, per symbol, if all open orders that lead there are executed.",
        per_symbol=True,
    ),
    LimitSpec("max_open_orders", LimitKind.TOTAL, "Orders that are open at a time."),
    LimitSpec("max_open_notional", LimitKind.MONEY, "What all open orders together are worth at their worst."),
    LimitSpec(
        "max_gross_notional",
        LimitKind.MONEY,
        "What all positions, long and short, are worth at the market and all open orders at their worst. An order that only reduces passes.",
    ),
    LimitSpec(
        "max_denials", LimitKind.COUNT, "So many denials within denials_window_s block new orders.", must_be_positive=True
    ),
    LimitSpec("denials_window_s", LimitKind.SECONDS, "Window of max_denials.", default="60", must_be_positive=True),
    LimitSpec(
        "cooling_off_s",
        LimitKind.SECONDS,
        "How long after max_denials nobody can enable new orders again; after that somebody must.",
        default="60",
    ),
    LimitSpec(
        "soft_max_order_quantity",
        LimitKind.QUANTITY,
        "Larger orders must be confirmed by whoever sends them.",
        per_symbol=True,
    ),
    LimitSpec(
        "soft_max_order_notional", LimitKind.MONEY, "Orders worth more must be confirmed.", per_symbol=True
    ),
    LimitSpec(
        "soft_collar_percent",
        LimitKind.PERCENT,
        "Orders with prices worse than the reference by more must be confirmed.",
        per_symbol=True,
    ),
)  # fmt: skip

#: All limits by name, in the order of the reference.
LIMITS: dict[str, LimitSpec] = {spec.name: spec for spec in _ROWS}

_SYMBOL_PREFIX = "symbol."


def split_name(limit: str) -> tuple[str, str]:
    """A limit's own name and the symbol that it is for: ``symbol.BRK.B.max_position`` is ``max_position`` for ``BRK.B``; mostly there is none."""
    if not limit.startswith(_SYMBOL_PREFIX):
        return limit, ""
    symbol, _, name = limit[len(_SYMBOL_PREFIX) :].rpartition(".")
    return name, symbol


def spec_of(limit: str) -> LimitSpec:
    """The table's row for a limit, or one for a symbol. Raises :class:`InvalidLimit`, naming what was probably meant."""
    name, symbol = split_name(limit)
    spec = LIMITS.get(name)
    if spec is None or (limit.startswith(_SYMBOL_PREFIX) and not symbol):
        raise InvalidLimit(f'there is no limit "{limit[:64]}"; {nearest(name, LIMITS)}')
    if symbol and not spec.per_symbol:
        raise InvalidLimit(f'"{name}" cannot be set for one symbol; set it for the node')
    return spec


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean "…"?``, or what there is."""
    known = list(known)
    near = difflib.get_close_matches(word[:64], known, n=1, cutoff=0.5)
    if near:
        return f'did you mean "{near[0]}"?'
    rest = ", …" if len(known) > _KNOWN_SHOWN else ""
    return f"known: {', '.join(known[:_KNOWN_SHOWN])}{rest}"


# ---------------------------------------------------------------- values


def value_from_toml(spec: LimitSpec, value: object) -> LimitValue:
    """A value of the limits file. Raises :class:`InvalidLimit`."""
    match value:
        case bool():
            if spec.kind is LimitKind.FLAG:
                return value
        case float() if spec.kind in _DECIMAL_KINDS:
            raise InvalidLimit(
                f'expected {spec.kind.value}, not a float, which is inexact; write "{value}" in quotes'
            )
        case int() | str():
            if isinstance(value, str) and spec.kind in (LimitKind.COUNT, LimitKind.TOTAL):
                raise InvalidLimit(f"expected {spec.kind.value}, without quotes")
            if spec.kind is not LimitKind.FLAG and spec.kind not in _LIST_KINDS:
                return value_from_text(spec, str(value))
        case list() if spec.kind in _LIST_KINDS and all(isinstance(item, str) for item in value):
            return _names(spec, value)
        case _:
            pass
    raise InvalidLimit(f"expected {_wanted(spec)}, not {_shown(value)}")


def value_from_text(spec: LimitSpec, text: str) -> LimitValue:
    """A value as a command gives it; a list is separated by commas. Raises :class:`InvalidLimit`."""
    kind = spec.kind
    if kind is LimitKind.FLAG:
        if text in ("true", "false"):
            return text == "true"
    elif kind in _LIST_KINDS:
        return _names(spec, [item.strip() for item in text.split(",") if item.strip()])
    elif kind is LimitKind.WORD:
        if text in spec.words:
            return text
    elif kind in _DECIMAL_KINDS:
        if match := _DECIMAL.fullmatch(text):
            return _decimal(spec, match)
    elif _COUNT.fullmatch(text):
        return _count(spec, int(text))
    raise InvalidLimit(f"expected {_wanted(spec)}, not {_shown(text)}")


def value_text(value: LimitValue) -> str:
    """A value as :func:`value_from_text` takes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _wanted(spec: LimitSpec) -> str:
    return " or ".join(f'"{word}"' for word in spec.words) if spec.words else spec.kind.value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _decimal(spec: LimitSpec, match: re.Match[str]) -> str:
    whole, part = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    text = f"{whole}.{part}" if part else whole
    if text == "0" and spec.must_be_positive:
        raise InvalidLimit(f"expected {spec.kind.value} above 0")
    if spec.kind is LimitKind.SECONDS and scaled(text, 9) > WINDOW_S_MAX * 10**9:
        raise InvalidLimit(f"expected {spec.kind.value}, not {text}")
    return text


def _count(spec: LimitSpec, count: int) -> int:
    if spec.kind is LimitKind.COUNT and count > REQUESTS_KEPT_MAX:
        raise InvalidLimit(f"expected {spec.kind.value}, not {count:,}")
    if count == 0 and spec.must_be_positive:
        raise InvalidLimit(f"expected {spec.kind.value} above 0")
    return count


def _names(spec: LimitSpec, names: list[str]) -> tuple[str, ...]:
    if len(names) > SYMBOLS_MAX:
        raise InvalidLimit(f"{len(names):,} names are too many for one list; {SYMBOLS_MAX:,} are the limit")
    if spec.kind is LimitKind.ORDER_TYPES:
        for name in names:
            if name not in OrderType.__members__:
                raise InvalidLimit(
                    f"there is no order type {_shown(name)}; {nearest(name, OrderType.__members__)}"
                )
    return tuple(sorted(set(names)))


def scaled(text: str, decimals: int) -> int:
    """A decimal text times 10^``decimals``, rounded down; exact, and whatever the thread's decimal context is."""
    whole, _, part = text.partition(".")
    return int(whole + part[:decimals].ljust(decimals, "0"))
