"""What is generated and checked in is what its source would generate today, and it is all there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cashy.cli import cashy_group
from cashy.cli.reference import pages
from cashy.settings import setting_fields
from hostkit.generated_pages import stale_pages

REPOSITORY = Path(__file__).resolve().parents[2]


def test_protobuf_code_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "protos/generate.py", "--check"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_reference_pages_are_fresh() -> None:
    assert stale_pages(pages(), REPOSITORY / "docs") == [], "run `make docs`"


def every_command(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            assert command.help
            yield from every_command(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def test_every_command_option_and_setting_is_documented() -> None:
    commands = (REPOSITORY / "docs" / "cashy-commands.md").read_text(encoding="utf-8")
    settings = (REPOSITORY / "docs" / "cashy-settings.md").read_text(encoding="utf-8")
    for name, command in every_command(cashy_group, "cashy"):
        assert f"## {name}\n" in commands
        assert command.help
        for parameter in command.params:
            assert all(f"`{option}`" in commands for option in parameter.opts if option.startswith("-"))
    for field in setting_fields():
        assert field.help_text.endswith("."), field.path
        if field.section:
            assert f"| `{field.key}` |" in settings
    readme = (REPOSITORY / "daemons" / "README.md").read_text(encoding="utf-8")
    for name in cashy_group.commands:
        assert f"`cashy {name}" in readme
