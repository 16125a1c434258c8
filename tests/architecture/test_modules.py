"""Rules that every shipped module keeps: a complete ``__all__``, a stated law in cores, small functions and files."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700


def _sources(*roots: str) -> list[Path]:
    found = sorted(path for root in roots for path in (REPOSITORY / root).rglob("*.py"))
    generated = REPOSITORY / "ipc" / "aviary"
    return [path for path in found if generated not in path.parents and path.stat().st_size]


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


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _faults(paths: Iterable[Path], faults_of: Callable[[Path], list[str]]) -> dict[str, list[str]]:
    """By file; thousands of files are one test, which takes a tenth of the time of a test each."""
    return {str(path.relative_to(REPOSITORY)): faults for path in paths if (faults := faults_of(path))}


def test_all_is_complete_and_has_no_dead_names() -> None:
    def faults_of(path: Path) -> list[str]:
        module = importlib.import_module(_module_name(path))
        declared = getattr(module, "__all__", None)
        if not isinstance(declared, list):
            return ["a module lists what is public in __all__"]
        public = {
            node.name
            for node in _tree(path).body
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and not node.name.startswith("_")
        }
        return [
            *(f"{name} is listed twice" for name in set(declared) if declared.count(name) > 1),
            *(f"{name} is listed and is not there" for name in declared if not hasattr(module, name)),
            *(f"{name} is not listed" for name in public - set(declared)),
        ]

    assert _faults(SHIPPED, faults_of) == {}


def test_core_modules_state_their_law() -> None:
    def faults_of(path: Path) -> list[str]:
        docstring = ast.get_docstring(_tree(path)) or ""
        is_stated = re.search(r"^\*{0,2}Law\b", docstring, re.MULTILINE)
        return [] if is_stated else ["it has no paragraph that begins with 'Law:'"]

    assert _faults(LAWFUL, faults_of) == {}


def test_functions_and_files_are_small() -> None:
    def faults_of(path: Path) -> list[str]:
        lines = path.read_text(encoding="utf-8").count("\n")
        faults = [f"{lines} lines"] if lines > FILE_LINES_MAX else []
        if path.name.startswith("cases_"):
            return faults  # tables: their functions have one line for each case and nothing else
        return faults + [
            f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(_tree(path))
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            and node.end_lineno is not None
            and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
        ]

    assert _faults(ALL, faults_of) == {}


def test_source_roots_are_not_importable() -> None:
    """``import daemons.cashy`` would make every class a second time."""
    for root in ("daemons", "ipc", "shell"):
        assert importlib.util.find_spec(root) is None
