"""Pages that are made from code: what is missing or old is named, and written."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostkit.generated_pages import run, stale_pages

PAGES = {"states.md": "one\n", "codes.md": "two\n"}


def test_a_page_that_is_missing_or_old_is_stale(tmp_path: Path) -> None:
    assert stale_pages(PAGES, tmp_path) == ["states.md", "codes.md"]
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert stale_pages(PAGES, tmp_path) == []
    (tmp_path / "codes.md").write_text("old", encoding="utf-8")
    assert stale_pages(PAGES, tmp_path) == ["codes.md"]


def test_a_look_writes_nothing_and_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(PAGES, "some.reference", [str(tmp_path), "--check"]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path}/codes.md is stale: run `python -m some.reference {tmp_path}`" in said
    assert list(tmp_path.iterdir()) == []


def test_what_is_stale_is_written(tmp_path: Path) -> None:
    assert run(PAGES, "some.reference", [str(tmp_path)]) == 0
    assert {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()} == PAGES
    assert run(PAGES, "some.reference", [str(tmp_path), "--check"]) == 0
