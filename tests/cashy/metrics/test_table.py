"""The table of metrics is complete and sound: what a daemon counts is in it, and what is in it is counted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import ProcessCollector

from cashy.metrics.page import metrics_page
from cashy.metrics.table import FAMILIES, INFO, Daemon, Family, Resolver, families_of

CASHY = Path(__file__).resolve().parents[3] / "daemons" / "cashy"

#: Where daemons count, and how the names appear in their snapshots.
PLACES: tuple[tuple[Daemon, str, str], ...] = (
    ("master", "master", "{}"),
    ("master", "origin", "origin.<origin>.{}"),
    ("master", "peer/client.py", "peer.<peer>.{}"),
    ("master", "peer/server.py", "peer_server.{}"),
    ("master", "peer/serving.py", "peer_server.{}"),
    ("master", "disk/disk.py", "disk.<disk>.{}"),
    ("s3", "s3", "{}"),
)
#: Functions whose result is a dictionary of figures by name.
REPORTING = {"counters", "levels", "all_counters"}


def _sources(place: str) -> list[Path]:
    path = CASHY / place
    return [path] if path.suffix else sorted(path.glob("*.py"))


def _text(node: ast.expr) -> str | None:
    """A constant name; a formatted one with ``<word>`` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [part.value if isinstance(part, ast.Constant) else "<word>" for part in node.values]
        return "".join(str(part) for part in parts)
    return None


def _counted(tree: ast.AST) -> Iterator[str]:
    """Names that a module counts under: ``counters.add(name)``, ``counters[name] += …``, ``_COUNTED = (…)``, dictionaries of reporting functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr == "add" and ast.unparse(node.func.value).endswith("counters"):
                yield from filter(None, [_text(node.args[0])])
            elif node.func.attr == "_on_end":  # of a connection: why, and what that counts as
                yield from filter(None, [_text(node.args[-1])])
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Subscript):
            if ast.unparse(node.target.value).endswith(("counters", "counts")):
                yield from filter(None, [_text(node.target.slice)])
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_COUNTED":
            yield from filter(None, (_text(part) for part in _names_in(node.value)))
        elif isinstance(node, ast.FunctionDef) and node.name in REPORTING:
            dicts = [inner for inner in ast.walk(node) if isinstance(inner, ast.Dict)]
            yield from filter(None, (_text(key) for one in dicts for key in one.keys if key is not None))


def _names_in(node: ast.expr) -> Iterator[ast.expr]:
    """Texts of a tuple, those made in a loop too."""
    for part in node.elts if isinstance(node, ast.Tuple) else []:
        if isinstance(part, ast.Starred) and isinstance(part.value, ast.GeneratorExp):
            yield part.value.elt
        else:
            yield part


def _is_of_parts(name: str) -> bool:
    """A name made of others' names (``origin.<name>.<key>``), which are found where they are counted."""
    return name.startswith(("disk.<", "origin.<", "peer.<", "peer_server.<"))


def counters_in_source() -> list[tuple[Daemon, str]]:
    found = {
        (daemon, shape.format(name))
        for daemon, place, shape in PLACES
        for path in _sources(place)
        for name in _counted(ast.parse(path.read_text(encoding="utf-8")))
        if not _is_of_parts(name)
    }
    return sorted(found)


def _stands_for(pattern: str, name: str) -> bool:
    """Whether two names with placeholders can mean the same counter."""
    parts = [re.escape(part) for part in re.split(r"<\w+>", pattern)]
    return re.fullmatch("(?:.+)".join(parts), name) is not None


def test_counters_are_found() -> None:
    found = counters_in_source()
    for expected in (
        ("master", "blocks_filled"),
        ("master", "hits_memory"),
        ("master", "clients"),
        ("master", "origin.<origin>.reads_total"),
        ("s3", "requests_total"),
        ("s3", "errors_<word>"),
        ("s3", "connections"),
    ):
        assert expected in found
    assert len(found) > 60


@pytest.mark.parametrize(("daemon", "counter"), counters_in_source(), ids=lambda value: str(value))
def test_every_counter_is_in_the_table(daemon: Daemon, counter: str) -> None:
    rows = [source.counter for family in families_of(daemon) for source in family.sources]
    assert any(_stands_for(counter, row) or _stands_for(row, counter) for row in rows), (
        f"{counter} is counted and not in cashy.metrics.table"
    )


def test_every_row_is_counted_somewhere() -> None:
    found = counters_in_source()
    for family in FAMILIES:
        for source in family.sources:
            assert any(
                daemon == family.daemon
                and (_stands_for(name, source.counter) or _stands_for(source.counter, name))
                for daemon, name in found
            ), f"{source.counter} ({family.name}) is in the table and nobody counts it"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_named_as_prometheus_has_it(family: Family) -> None:
    assert re.fullmatch(r"(cashy|process)_[a-z0-9_]+", family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert family.help_text.endswith(".")
    assert "\n" not in family.help_text
    assert "|" not in family.help_text
    if family.daemon != "both":
        assert family.sources
    for source in family.sources:
        assert source.label_names == family.label_names, "all samples of a family have the same labels"
        assert not {"le", "quantile", "instance", "job"} & set(source.label_names), (
            "Prometheus uses these itself"
        )


def test_no_name_and_no_counter_is_there_twice() -> None:
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for daemon in ("master", "s3"):
        counters = [source.counter for family in families_of(daemon) for source in family.sources]
        assert len(set(counters)) == len(counters)
        labelled = [
            (family.name, *source.labels.values())
            for family in families_of(daemon)
            for source in family.sources
        ]
        assert len(set(labelled)) == len(labelled)


def test_the_processes_own_figures_are_those_of_the_library() -> None:
    # The library writes a counter's family without its suffix.
    made = {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in ProcessCollector(registry=None).collect()
    }
    assert made == {family.name for family in FAMILIES if family.daemon == "both"} - {INFO.name}


@pytest.mark.parametrize(
    ("daemon", "counter", "name", "labels", "scale"),
    [
        ("master", "blocks_from_peer", "cashy_blocks_total", ("peer",), 1),
        ("master", "origin.s3.reads_total", "cashy_origin_reads_total", ("s3",), 1),
        ("master", "origin.a.b.reads_total", "cashy_origin_reads_total", ("a.b",), 1),
        ("master", "origin.reads_total.queued", "cashy_origin_queued", ("reads_total",), 1),
        ("master", "origin.a.cancels_total", "cashy_origin_cancels_total", ("a",), 1),
        ("master", "origin.a.cancels_closed_total", "cashy_origin_cancelled_transfers_total", ("a", "closed"), 1),
        ("master", "loop_stall_max_us", "cashy_loop_stall_max_seconds", (), 1e-6),
        ("s3", "errors_NoSuchKey", "cashy_s3_errors_total", ("NoSuchKey",), 1),
        ("s3", "timeouts_idle_total", "cashy_s3_timeouts_total", ("idle",), 1),
    ],
)  # fmt: skip
def test_counters_go_where_they_belong(
    daemon: Daemon, counter: str, name: str, labels: tuple[str, ...], scale: float
) -> None:
    resolver = Resolver(daemon)
    for _ in range(2):  # and the second time from memory
        sample = resolver.find(counter)
        assert sample is not None
        assert (sample.family.name, sample.labels, sample.scale) == (name, labels, scale)


@pytest.mark.parametrize(
    "counter", ["", "blocks", "origin..reads_total", "origin.a.unheard_of", "requests_total"]
)
def test_a_counter_that_is_not_in_the_table_goes_nowhere(counter: str) -> None:
    assert Resolver("master").find(counter) is None


@given(name=st.text(min_size=1, max_size=64))
def test_any_origins_name_becomes_its_label(name: str) -> None:
    sample = Resolver("master").find(f"origin.{name}.threads_busy")
    if "\n" in name:
        assert sample is None or sample.labels == (name,)
    else:
        assert sample is not None
        assert sample.labels == (name,)


def test_the_page_has_every_metric_with_its_labels() -> None:
    page = metrics_page()
    for family in FAMILIES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{family.name}` |")]
        assert family.help_text in row
        assert all(f"`{label}`" in row for label in family.label_names)
        assert all(value in row for source in family.sources for value in source.labels.values())
