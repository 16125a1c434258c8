"""Templates: Jinja2, with nothing in reach but the values that are handed in.

Law: the same text with the same values gives the same result, today and on another machine, and reads no file, clock or chance; or a plan made
twice would differ. A name that is not known is an error, never an empty text: a configuration with a hole starts a daemon otherwise than its
operator believes. Templates that include others were rejected: a file that is made of several is hard to find a mistake in. Blocks take their
own line with them (``trim_blocks``, ``lstrip_blocks``), and ``true`` and ``false`` are written small, as in TOML, JSON and YAML.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from labtest.core.names import nearest

__all__ = ["TemplateLookup", "TemplateProblem", "render"]

#: A template that makes more is a mistake, such as a loop over the wrong list.
RENDERED_CHARACTERS_MAX = 4 << 20

#: Texts whose compiled form is kept; a spec has some ten for each process.
_COMPILED_MAX = 2048

_FILE_NAME = "<labtest template>"  # how frames of compiled templates are told from others

_WITH_OTHERS = (nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class TemplateProblem(ValueError):
    """A text that cannot be rendered. ``line`` is a line of the text, from 1; None: the text as a whole."""

    def __init__(self, problem: str, line: int | None) -> None:
        self.line = line
        super().__init__(problem)


class TemplateLookup(LookupError):
    """A function that templates may call was asked for what is not there; the text says it all."""


class _UnknownName(Exception):
    """A name or attribute that is used and not known. ``owner`` is what should have had the attribute; None: a variable."""

    def __init__(self, name: str, owner: object) -> None:
        self.name = name
        self.owner = owner
        super().__init__(name)


class _Undefined(StrictUndefined):
    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        # Every use of an undefined value asks for this text. Only the caller of the template knows which names there are.
        if issubclass(self._undefined_exception, SecurityError):
            raise SecurityError(f"it may not use {self._undefined_name!r} of {self._undefined_obj!r:.40}")
        owner = None if self._undefined_obj is missing else self._undefined_obj
        raise _UnknownName(str(self._undefined_name), owner)


def _written(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _make_environment() -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        undefined=_Undefined,
        finalize=_written,
        autoescape=False,  # what is made are configuration files, not pages
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        cache_size=0,
    )
    del made.globals["lipsum"]
    del made.filters["random"]
    return made


_ENVIRONMENT = _make_environment()


def render(text: str, context: Mapping[str, object]) -> str:
    """The text with its expressions filled in. Raises :class:`TemplateProblem`."""
    template = _compiled(text)
    try:
        made = template.render(context)
    except _UnknownName as unknown:
        raise TemplateProblem(_unknown_text(unknown, context), _line_of(unknown)) from None
    except TemplateLookup as problem:
        raise TemplateProblem(str(problem), _line_of(problem)) from None
    except SecurityError as problem:
        raise TemplateProblem(
            f"{problem}: a template is kept from what could do harm", _line_of(problem)
        ) from None
    except Exception as problem:  # the code that has failed is the template author's
        raise TemplateProblem(f"{type(problem).__name__}: {problem}", _line_of(problem)) from None
    if len(made) > RENDERED_CHARACTERS_MAX:
        raise TemplateProblem(
            f"it makes {len(made):,} characters; {RENDERED_CHARACTERS_MAX:,} are possible", None
        )
    return made


@functools.lru_cache(_COMPILED_MAX)
def _compiled(text: str) -> Template:
    try:
        tree = _ENVIRONMENT.parse(text)
        for node in tree.find_all(_WITH_OTHERS):
            word = type(node).__name__.lower().removeprefix("from").rstrip("s")
            raise TemplateProblem(f"a template cannot {word} others: it is rendered alone", node.lineno)
        code = _ENVIRONMENT.compile(text, filename=_FILE_NAME)
    except TemplateSyntaxError as problem:
        raise TemplateProblem(f"it is not a template: {problem.message}", problem.lineno) from None
    return Template.from_code(_ENVIRONMENT, code, _ENVIRONMENT.make_globals(None))


def _unknown_text(unknown: _UnknownName, context: Mapping[str, object]) -> str:
    if unknown.owner is None:
        return f"unknown variable {unknown.name!r}{nearest(unknown.name, context)}"
    fields = getattr(unknown.owner, "__struct_fields__", None)
    if fields is not None:
        kind = type(unknown.owner).__name__.removesuffix("View").lower()
        return f"{kind} has no {unknown.name!r}{nearest(unknown.name, fields)}"
    if isinstance(unknown.owner, Mapping):
        return f"there is no {unknown.name!r}{nearest(unknown.name, [str(key) for key in unknown.owner])}"
    return f"{unknown.owner!r:.40} has no {unknown.name!r}"


def _line_of(problem: BaseException) -> int | None:
    """The line of the template where it was at the time."""
    line = None
    at: types.TracebackType | None = problem.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == _FILE_NAME:
            line = at.tb_lineno
        at = at.tb_next
    return line
