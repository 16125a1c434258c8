"""A set of hosts' names as one short text: ``cache[1-3,7],web1``.

Law: what :func:`fold_hosts` gives, :func:`labshell.core.nodeset.parse_hosts` reads as the same set, whatever the names. Names that differ
in one number are put together; then sets of those that differ in another one (``rack[1-2]-node[1-4]``); the numbers are tried in every order,
and the shortest text is taken. That is not the shortest of all texts (groups and differences are never used: they would hide which hosts are
meant), but it is deterministic, and the order of the names given does not matter.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from labshell.core.limits import SIGNIFICANT_DIGITS_MAX

__all__ = ["fold_hosts", "natural"]

#: Numbers of a name that are folded, from its end: more make too many orders, and no text that can be read.
_AXES_MAX = 3
_DIGITS = re.compile(r"[0-9]+")

#: What a name is without its folded numbers, and how many digits each of those has if it has leading zeros (0: none).
_Shape = tuple[tuple[str, ...], tuple[int, ...]]
#: For each number of a shape, the values that an item stands for.
_Item = tuple[frozenset[int], ...]


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """A key that puts ``cache2`` before ``cache10``."""
    parts = re.split(r"([0-9]+)", name)
    pairs = itertools.zip_longest(parts[::2], parts[1::2], fillvalue="")
    return tuple((text, int(number) if number else -1) for text, number in pairs)


def fold_hosts(names: Iterable[str]) -> str:
    """The set as a short text, empty for no names. Names are those of hosts: letters, digits, dots, dashes and underscores."""
    shapes: defaultdict[_Shape, set[tuple[int, ...]]] = defaultdict(set)
    split = [(name, *_split(name)) for name in sorted(set(names))]
    padded = {
        (texts, axis, len(one))
        for _, texts, numbers in split
        for axis, one in enumerate(numbers)
        if _is_padded(one)
    }
    for _, texts, numbers in split:
        # "10" goes with "08" and "09", which are as long, into [08-10].
        widths = tuple(
            len(one) if (texts, axis, len(one)) in padded else 0 for axis, one in enumerate(numbers)
        )
        shapes[texts, widths].add(tuple(int(one) for one in numbers))
    texts_of = [text for shape, values in shapes.items() for text in _shortest(shape, values)]
    return ",".join(sorted(texts_of, key=lambda text: natural(text.replace("[", ""))))


def _is_padded(number: str) -> bool:
    return len(number) > 1 and number.startswith("0")


def _split(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The texts around its last numbers, and those numbers."""
    spans = [one for one in _DIGITS.finditer(name) if len(one.group()) <= SIGNIFICANT_DIGITS_MAX][-_AXES_MAX:]
    texts, at = [], 0
    for one in spans:
        texts.append(name[at : one.start()])
        at = one.end()
    return (*texts, name[at:]), tuple(one.group() for one in spans)


def _shortest(shape: _Shape, values: set[tuple[int, ...]]) -> list[str]:
    """The texts of all names of a shape, in the order of numbers that makes them shortest."""
    axes = len(shape[1])
    tries = []
    for order in itertools.permutations(range(axes)):
        items = _merged({tuple(frozenset((one,)) for one in value) for value in values}, order)
        texts = [text for item in items for text in _texts(shape, item)]
        tries.append((sum(map(len, texts)) + len(texts), texts))
    return min(tries)[1]


def _merged(items: set[_Item], order: Sequence[int]) -> list[_Item]:
    """Joins items that differ in one number only, number by number."""
    for axis in order:
        joined: defaultdict[_Item, set[int]] = defaultdict(set)
        for item in items:
            joined[(*item[:axis], frozenset(), *item[axis + 1 :])] |= item[axis]
        items = {(*rest[:axis], frozenset(numbers), *rest[axis + 1 :]) for rest, numbers in joined.items()}
    return sorted(items, key=lambda item: [sorted(numbers) for numbers in item])


def _texts(shape: _Shape, item: _Item) -> list[str]:
    """With brackets, or name by name where that is shorter."""
    texts, widths = shape
    bracketed = [_bracket(numbers, width) for numbers, width in zip(item, widths, strict=True)]
    folded = _joined(texts, bracketed)
    names = []
    for values in itertools.product(*map(sorted, item)):
        plain = [str(number).zfill(width) for number, width in zip(values, widths, strict=True)]
        names.append(_joined(texts, plain))
        if len(names) * len(names[0]) > len(folded) + len(names[0]):
            return [folded]
    return names if len(",".join(names)) < len(folded) else [folded]


def _joined(texts: Sequence[str], numbers: Sequence[str]) -> str:
    return "".join(map("".join, itertools.zip_longest(texts, numbers, fillvalue="")))


def _bracket(numbers: frozenset[int], width: int) -> str:
    """``7``, or ``[1-3,7]``."""
    ordered = sorted(numbers)
    runs: list[list[int]] = []
    for number in ordered:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [_run(run, width) for run in runs]
    return parts[0] if len(ordered) == 1 else f"[{','.join(parts)}]"


def _run(run: Sequence[int], width: int) -> str:
    ends = (run[0],) if len(run) == 1 else (run[0], run[-1])
    return "-".join(str(number).zfill(width) for number in ends)
