"""The reference page is what would be generated today, and names every key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hostkit.generated_pages import stale_pages
from labtest.core.contexts import HostView, InstanceView, ProcessView, ReleaseView, World
from labtest.core.environment import Environment, HostSpec, ProcessSpec
from labtest.spec import sections
from labtest.spec.reference import field_comments, pages, spec_page

DOCS = Path(__file__).resolve().parents[3] / "docs"
SECTIONS = [
    section
    for section in vars(sections).values()
    if isinstance(section, type) and issubclass(section, msgspec.Struct) and section is not msgspec.Struct
]


def test_page_is_fresh() -> None:
    assert stale_pages(pages(), DOCS) == [], "run `make docs`"


def test_stale_page_is_noticed_and_written(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labtest.spec.reference", str(tmp_path)]
    (tmp_path / "lab-spec.md").write_text("old", encoding="utf-8")
    check = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False, timeout=60)
    assert check.returncode == 1
    assert "lab-spec.md is stale" in check.stderr
    subprocess.run(command, check=True, timeout=60)
    assert (tmp_path / "lab-spec.md").read_text(encoding="utf-8") == pages()["lab-spec.md"]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.__name__)
def test_every_key_is_explained(section: type[msgspec.Struct]) -> None:
    comments = field_comments(section)
    page = spec_page()
    for name in section.__struct_fields__:
        assert comments[name].endswith(".") or comments[name].endswith("`."), name
        assert f"| `{name}` |" in page


def test_everything_that_templates_see_is_named() -> None:
    environment = Environment(
        name="lab",
        hosts=(HostSpec(name="a"),),
        processes=(ProcessSpec(name="p", hosts=("a",), unit="p.service"),),
    )
    world = World(environment, {})
    names = {*world.of(environment.processes[0], "a"), "release"}
    page = spec_page()
    assert [
        name for name in names if f"| `{name}` |" not in page and f"| `{name}('NAME')` |" not in page
    ] == []
    for view in (HostView, ProcessView, InstanceView, ReleaseView):
        assert [name for name in view.__struct_fields__ if f"`.{name}`" not in page] == []
