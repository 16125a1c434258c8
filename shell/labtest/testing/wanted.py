"""Which environment a test asks for: by its marks, else by the command line, else by the ini file.

Only the standard library and pytest: this is imported by every pytest that has the plugin, whether a test asks or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

__all__ = ["NO_SPEC", "Unclear", "Wanted", "default_wanted", "typed", "variables_of", "wanted_of"]

NO_SPEC = 'which environment? Say it by @pytest.mark.lab("SPEC.toml"), by --lab-spec SPEC, or by  lab_spec = SPEC  in the ini file'

_KEYWORDS = {"overlays", "variables", "per_test"}


@dataclass(frozen=True)
class Wanted:
    """An environment, as asked for. Two tests that ask for equal ones share it."""

    spec: Path
    overlays: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    #: For one test alone.
    per_test: bool = False

    def options(self, prefix: str = "--") -> list[str]:
        """Words of a command line that mean the same (``--overlay`` and ``--set``; the spec is not among them)."""
        words = [f"{prefix}overlay={name}" for name in self.overlays]
        return words + [f"{prefix}set={name}={value}" for name, value in self.variables]


@dataclass(frozen=True)
class Unclear:
    """A test that uses the fixture, and does not say rightly which environment it wants."""

    problem: str


def default_wanted(config: pytest.Config) -> Wanted | None:
    """What the command line says, else the ini file. Raises :class:`pytest.UsageError`."""
    option: str | None = config.getoption("lab_spec")
    if option:
        spec = Path(config.invocation_params.dir, option)
        where = "--lab-spec"
    else:
        ini: str = config.getini("lab_spec")
        if not ini:
            _check_alone(config)
            return None
        spec = Path(config.inipath.parent if config.inipath else config.rootpath, ini)
        where = "lab_spec of the ini file"
    if not spec.is_file():
        raise pytest.UsageError(f"{where}: there is no file {spec}")
    return Wanted(
        spec.resolve(),
        tuple(config.getoption("lab_overlay")),
        tuple(sorted(variables_of(config.getoption("lab_set")).items())),
    )


def _check_alone(config: pytest.Config) -> None:
    for name in ("lab_overlay", "lab_set", "lab_id"):
        if config.getoption(name):
            raise pytest.UsageError(
                f"--{name.replace('_', '-')} is about the spec of --lab-spec, which is not given"
            )


def variables_of(given: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` each. Raises :class:`pytest.UsageError`."""
    found = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise pytest.UsageError(f"--lab-set {one}: NAME=VALUE is meant")
        found[name] = value
    return found


def wanted_of(node: pytest.Item | pytest.Collector, default: Wanted | None) -> Wanted | Unclear:
    """What a test asks for. Each thing is taken from the nearest mark that says it."""
    spec: Path | None = None
    said: dict[str, object] = {}
    for mark in node.iter_markers("lab"):
        if unknown := set(mark.kwargs) - _KEYWORDS:
            return Unclear(
                f"@pytest.mark.lab has no {sorted(unknown)[0]!r}; it has a spec, {', '.join(sorted(_KEYWORDS))}"
            )
        if len(mark.args) > 1 or not all(isinstance(one, str | Path) for one in mark.args):
            return Unclear("@pytest.mark.lab takes one spec, a path")
        if spec is None and mark.args:
            spec = node.path.parent / mark.args[0]
        said = dict(mark.kwargs) | said
    if spec is None and default is None:
        return Unclear(NO_SPEC)
    if spec is not None and not spec.is_file():
        return Unclear(f"@pytest.mark.lab: there is no file {spec}")
    return _made(spec.resolve() if spec else None, default, said)


def _made(spec: Path | None, default: Wanted | None, said: Mapping[str, object]) -> Wanted | Unclear:
    """A spec of a mark's own says all of it; what the command line adds is for the command line's spec."""
    overlays, variables = said.get("overlays", ()), said.get("variables", {})
    if isinstance(overlays, str) or not isinstance(overlays, Sequence):
        return Unclear("@pytest.mark.lab: overlays is a list of names")
    if not isinstance(variables, Mapping):
        return Unclear("@pytest.mark.lab: variables is a dict")
    texts = {str(name): typed(value) for name, value in variables.items()}
    if spec is None:
        assert default is not None
        overlays = (*default.overlays, *overlays)
        texts = dict(default.variables) | texts
        spec = default.spec
    return Wanted(spec, tuple(overlays), tuple(sorted(texts.items())), bool(said.get("per_test", False)))


def typed(value: object) -> str:
    """A value as it would be typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
