"""As much of PromQL as a test needs to see which metrics and labels an expression names, and whether it hangs together.

Not a parser: promtool is one. This one knows the table of metrics: a name that is not in it, a label that a metric has not, a value that a label
never has, a rate of what does not only rise.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from cashy.metrics.table import FAMILIES, Family

__all__ = ["Selector", "problems", "selectors_of"]

_TOKEN = re.compile(
    r"""(?P<space>\s+)|(?P<string>"(?:[^"\\]|\\.)*")|(?P<duration>\d+[smhdwy]\b)|(?P<number>\d+(?:\.\d+)?)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)|(?P<operator>=~|!~|!=|==|<=|>=|[-+*/%^<>=])|(?P<bracket>[()\[\]{}])|(?P<comma>,)""",
    re.VERBOSE,
)
_CLOSES = {")": "(", "]": "[", "}": "{"}
_FUNCTIONS = frozenset(
    ("sum", "count", "min", "max", "avg", "rate", "increase", "changes", "delta", "vector", "time", "absent")
)
_RISING_ONLY = frozenset(("rate", "increase"))
_LABEL_LISTS = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_WORDS = frozenset(("and", "or", "unless", "offset", "bool"))

#: Labels that Prometheus adds to everything it scrapes.
_SCRAPED = frozenset(("instance", "job"))
_KNOWN: dict[str, Family] = {family.name: family for family in FAMILIES}
#: Of Prometheus itself.
_OTHERS = frozenset(("up",))


class Selector(NamedTuple):
    """A metric in an expression: its labels with what they are compared to, and the function right around it."""

    metric: str
    matchers: tuple[tuple[str, str, str], ...]
    function: str


class _Token(NamedTuple):
    kind: str
    text: str


def _tokens(expression: str) -> list[_Token]:
    found, at = [], 0
    while at < len(expression):
        match = _TOKEN.match(expression, at)
        if match is None:
            raise ValueError(f"this is no PromQL: {expression[at : at + 20]!r}")
        at = match.end()
        if match.lastgroup != "space":
            found.append(_Token(str(match.lastgroup), match[0]))
    return found


def selectors_of(expression: str) -> tuple[list[Selector], set[str]]:
    """The metrics that an expression names, and the labels of its by(), on() …; ValueError if it does not hang together."""
    tokens = [*_tokens(expression), _Token("end", ""), _Token("end", "")]
    selectors: list[Selector] = []
    listed: set[str] = set()
    opened: list[tuple[str, str]] = []  # bracket, and the word before it
    for number, token in enumerate(tokens[:-2]):
        before, after = tokens[number - 1] if number else _Token("end", ""), tokens[number + 1]
        if token.kind == "bracket" and token.text in "([{":
            opened.append((token.text, before.text if before.kind == "name" else ""))
        elif token.kind == "bracket":
            if not opened or opened.pop()[0] != _CLOSES[token.text]:
                raise ValueError(f"{token.text!r} closes nothing in {expression!r}")
        elif token.kind == "name" and opened and opened[-1][1] in _LABEL_LISTS:
            listed.add(token.text)
        elif token.kind == "name" and not (opened and opened[-1][0] == "{"):
            if token.text in _WORDS | _LABEL_LISTS:
                continue
            if token.text in _FUNCTIONS:
                if after.text not in ("(", "by", "without"):
                    raise ValueError(f"{token.text} is a function, and is not called in {expression!r}")
            elif after.text == "(":
                raise ValueError(f"there is no function {token.text}")
            else:
                function = opened[-1][1] if opened else ""
                selectors.append(Selector(token.text, tuple(_matchers(tokens, number + 1)), function))
    if opened:
        raise ValueError(f"{opened[-1][0]!r} is not closed in {expression!r}")
    return selectors, listed


def _matchers(tokens: list[_Token], at: int) -> Iterable[tuple[str, str, str]]:
    if tokens[at].text != "{":
        return
    at += 1
    while tokens[at].text != "}":
        label, operator, value = tokens[at : at + 3]
        if (label.kind, operator.kind, value.kind) != ("name", "operator", "string"):
            raise ValueError(f"no matcher: {label.text} {operator.text} {value.text}")
        yield label.text, operator.text, value.text[1:-1]
        at += 3
        if tokens[at].text == ",":
            at += 1


def problems(expression: str) -> list[str]:
    """What is wrong with an expression, by the table of metrics."""
    try:
        selectors, listed = selectors_of(expression)
    except ValueError as error:
        return [str(error)]
    found = [] if selectors else [f"no metric in {expression!r}"]
    labels = set(_SCRAPED)
    for selector in selectors:
        family = _KNOWN.get(selector.metric)
        if family is None:
            if selector.metric not in _OTHERS:
                found.append(f"there is no metric {selector.metric}")
            continue
        labels |= set(family.label_names)
        found += _problems_of(selector, family)
    return found + [f"no metric has the label {label}" for label in listed - labels]


def _problems_of(selector: Selector, family: Family) -> Iterable[str]:
    if selector.function in _RISING_ONLY and family.kind != "counter":
        yield f"{selector.function} of {family.name}, which falls as well"
    if selector.function not in _RISING_ONLY and family.kind == "counter":
        yield f"{family.name} only rises: what is meant is its rate"
    for label, operator, value in selector.matchers:
        if label in _SCRAPED:
            continue
        if label not in family.label_names:
            yield f"{family.name} has no label {label}"
            continue
        values = {source.labels[label] for source in family.sources if label in source.labels}
        if values and operator == "=" and value not in values:
            yield f"{label} of {family.name} is never {value!r}"
