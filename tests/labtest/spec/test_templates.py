"""Templates: what they give, and what they are kept from."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labtest.core import templates
from labtest.core.contexts import HostView
from labtest.core.templates import TemplateProblem, render

HOST = HostView("a", "10.0.0.1", ("cache",), {"port": 80})
CONTEXT: dict[str, object] = {
    "memory": "64MiB",
    "port": 80,
    "loud": True,
    "hosts": [HOST, HOST],
    "table": {"key": 1},
    "host": HOST,
}


def _problem(text: str) -> tuple[int | None, str]:
    with pytest.raises(TemplateProblem) as caught:
        render(text, CONTEXT)
    return caught.value.line, str(caught.value)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("plain", "plain"),
        ("{{ memory }}:{{ port + 1 }}\n", "64MiB:81\n"),
        ("{{ loud }} {{ not loud }}", "true false"),
        ("a\n{% if loud %}\nb\n{% endif %}\nc\n", "a\nb\nc\n"),
        (
            "  {% for one in hosts %}\n{{ one }}={{ one.address }}\n  {% endfor %}\n",
            "a=10.0.0.1\na=10.0.0.1\n",
        ),
        ("{{ hosts | join(',') }}", "a,a"),
        ('{{ "say \\"no\\"" | tojson }}', '"say \\"no\\""'),
        ("{{ host.variables.port }} {{ table.key }}", "80 1"),
        ("{{ other | default('none') }}", "none"),
        ("{% if other is defined %}{{ other }}{% endif %}", ""),
        ("{target} ${HOME} {{ '{{' }}", "{target} ${HOME} {{"),
        ("{# nobody sees this #}<&>", "<&>"),
        ("{% set half = port // 2 %}{{ half }}", "40"),
        ("one\r\ntwo", "one\ntwo"),
    ],
)
def test_template_gives(text: str, made: str) -> None:
    assert render(text, CONTEXT) == made


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a\n{{ memry }}", 2, "unknown variable 'memry'; did you mean 'memory'?"),
        (
            "{% for one in nothing %}{% endfor %}",
            1,
            "unknown variable 'nothing'; there are host, hosts, loud, memory, port, table",
        ),
        (
            "\n\n{{ memory ~ nothing }}",
            3,
            "unknown variable 'nothing'; there are host, hosts, loud, memory, port, table",
        ),
        ("{{ host.adress }}", 1, "host has no 'adress'; did you mean 'address'?"),
        ("{{ table.kei }}", 1, "there is no 'kei'; did you mean 'key'?"),
        ("{{ memory.size }}", 1, "'64MiB' has no 'size'"),
        ("{{ hosts[7].name }}", 1, None),
        (
            "{{ nothing() }}",
            1,
            "unknown variable 'nothing'; there are host, hosts, loud, memory, port, table",
        ),
        ("{{ port / 0 }}", 1, "ZeroDivisionError: division by zero"),
        ("{% if %}", 1, "it is not a template: Expected an expression, got 'end of statement block'"),
        ("a\n{{ memory", 2, None),
        ("{{ memory | sise }}", 1, "it is not a template: No filter named 'sise'."),
        ("{% extends 'x' %}", 1, "a template cannot extend others: it is rendered alone"),
        ("{% macro again() %}{{ again() }}{% endmacro %}\n{{ again() }}", None, None),
    ],
)
def test_problem_has_line_and_reason(text: str, line: int | None, problem: str | None) -> None:
    found_line, found = _problem(text)
    assert line is None or found_line == line
    assert problem is None or found == problem


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ host.__class__ }}",
        "{{ host.__init__.__globals__ }}",
        "{{ table.update({'key': 2}) }}",
        "{{ hosts.append(1) }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% import '/etc/passwd' as other %}",
        "{{ lipsum(5) }}",
        "{{ [1, 2, 3] | random }}",
        "{% for _ in range(10000000) %}x{% endfor %}",
        "{{ ('%s' | format(host)).format.__globals__ }}",
        "{{ '{0.__class__}'.format(host) }}",
    ],
)
def test_template_is_kept_from_files_chance_and_harm(text: str) -> None:
    _problem(text)
    assert CONTEXT["table"] == {"key": 1}


def test_result_at_the_size_limit_and_one_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "RENDERED_CHARACTERS_MAX", 10)
    assert render("{{ 'x' * 10 }}", {}) == "x" * 10
    with pytest.raises(TemplateProblem, match="it makes 11 characters; 10 are possible"):
        render("{{ 'x' * 11 }}", {})


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="{\r")))
def test_text_without_braces_stays_as_it_is(text: str) -> None:
    assert render(text, {}) == text


@settings(deadline=None)
@given(st.text(st.sampled_from("{}%#'a.|() \n"), max_size=30))
def test_any_text_renders_or_has_a_problem(text: str) -> None:
    try:
        first = render(text, {"a": 1})
    except TemplateProblem as problem:
        assert str(problem)  # noqa: PT017 - either is right
    else:
        assert render(text, {"a": 1}) == first
