"""Broken specs: each is refused with its message, which names file and line and says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.labtest.spec import cases_names, cases_rendered, cases_values
from tests.labtest.spec.good_spec import GOOD, Case, write_tree

from labtest.errors import LabError, SpecError
from labtest.spec import SpecErrors, read_environment
from labtest.spec.limits import SPEC_BYTES_MAX

CASES = [*cases_names.CASES, *cases_values.CASES, *cases_rendered.CASES]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # so that messages name files as the tables do


def _message(path: Path, case: Case) -> str:
    with pytest.raises(SpecError) as caught:
        read_environment(path, overlays=case.overlays, variables=case.variables)
    return str(caught.value)


def test_there_are_at_least_fifty_cases() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 50


def test_good_spec_is_good() -> None:
    write_tree(Path())
    assert read_environment(Path("lab.toml")).name == "floor"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_broken_spec_is_refused_with_its_message(case: Case) -> None:
    assert not case.old or GOOD.count(case.old) == 1, "what is replaced is there once"
    text = GOOD.replace(case.old, case.new) if case.old else GOOD
    write_tree(Path(), text, case.files)
    assert _message(Path("lab.toml"), case) == case.message


def test_several_problems_are_one_error_with_each_of_them() -> None:
    write_tree(Path(), GOOD.replace('kind = "namespace"', 'kind = "vm"').replace("port = 9100", "port = []"))
    with pytest.raises(SpecErrors) as caught:
        read_environment(Path("lab.toml"))
    error = caught.value
    assert [(one.source, one.line) for one in error.problems] == [("lab.toml", 5), ("lab.toml", 8)]
    assert (error.source, error.line, error.problem) == ("lab.toml", 5, error.problems[0].problem)
    assert isinstance(error, LabError)
    assert error.exit_code == 2


def test_very_many_problems_are_cut_and_counted() -> None:
    hosts = "".join(f"[hosts.h{number}]\nsudoo = true\n" for number in range(30))
    write_tree(Path(), GOOD + hosts)
    with pytest.raises(SpecErrors) as caught:
        read_environment(Path("lab.toml"))
    assert len(caught.value.problems) == 30
    assert str(caught.value).splitlines()[20:] == ["and 10 more"]


def test_no_spec() -> None:
    assert _message(Path("lab.toml"), Case("", "", "", "")) == "lab.toml: there is no such file"


def test_spec_that_is_a_folder() -> None:
    Path("lab.toml").mkdir()
    assert _message(Path("lab.toml"), Case("", "", "", "")) == "lab.toml: cannot be read: Is a directory"


def test_spec_that_is_no_text() -> None:
    Path("lab.toml").write_bytes(b'name = "floor"\nx = "\xff"\n')
    assert _message(Path("lab.toml"), Case("", "", "", "")) == "lab.toml:2: it is not UTF-8 text"


def test_spec_at_its_size_limit_and_one_past_it() -> None:
    path = write_tree(Path())
    text = path.read_text()
    path.write_text(text + "#" * (SPEC_BYTES_MAX - len(text)))
    assert read_environment(path).name == "floor"
    path.write_text(text + "#" * (SPEC_BYTES_MAX - len(text) + 1))
    assert (
        _message(path, Case("", "", "", ""))
        == "lab.toml: it has more than the 1,048,576 bytes that a spec may have"
    )


def test_template_that_is_no_text() -> None:
    path = write_tree(Path())
    Path("cashy.toml.j2").write_bytes(b"\xff\xfe")
    assert _message(path, Case("", "", "", "")) == (
        "lab.toml:27: files.config.template: 'cashy.toml.j2' is not UTF-8 text, so it can be no template; copy it instead"
    )
