"""Rules that every shipped module keeps: a complete ``__all__``, a stated law in cores, small functions and files."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700


def _sources(*roots: str) -> list[Path]:
    found = sorted(path for root in roots for path in (REPOSITORY / root).rglob("*.py"))
    generated = REPOSITORY / "ipc" / "aviary"
    return [path for path in found if generated not in path.parents and path.stat().st_size]


def _id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _module_name(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SHIPPED = _sources("daemons", "ipc", "shell")
ALL = _sources("daemons", "ipc", "shell", "tests", "protos")
LAWFUL = [
    path
    for path in SHIPPED
    if path.name != "__init__.py" and ("core" in path.parts or "shmipc" in path.relative_to(REPOSITORY).parts)
]


def test_sources_are_found() -> None:
    assert len(SHIPPED) > 10
    assert LAWFUL


@pytest.mark.parametrize("path", SHIPPED, ids=_id)
def test_all_is_complete_and_has_no_dead_names(path: Path) -> None:
    module = importlib.import_module(_module_name(path))
    declared = getattr(module, "__all__", None)
    assert isinstance(declared, list), "a module lists what is public in __all__"
    assert len(declared) == len(set(declared)), "a name is listed once"
    assert [name for name in declared if not hasattr(module, name)] == []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    public = {
        node.name
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and not node.name.startswith("_")
    }
    assert public - set(declared) == set()


@pytest.mark.parametrize("path", LAWFUL, ids=_id)
def test_core_module_states_its_law(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert re.search(r"^\*{0,2}Law\b", docstring, re.MULTILINE), "a paragraph that begins with 'Law:'"


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_functions_and_files_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= FILE_LINES_MAX
    if path.name.startswith("cases_"):
        return  # tables: their functions have one line for each case and nothing else
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_source_roots_are_not_importable() -> None:
    """``import daemons.cashy`` would make every class a second time."""
    for root in ("daemons", "ipc", "shell"):
        assert importlib.util.find_spec(root) is None
