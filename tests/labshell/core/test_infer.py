"""Inference: the examples of the document that it comes from, and the rule itself against a search that knows no short cuts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.labshell.core.worlds import TableChoices, command, parsed, text, word

from labshell.core.commands import Command, Parameter, ParameterKind
from labshell.core.errors import Ambiguous, BadValue, LineError, MissingParameter, TooManyWords
from labshell.core.limits import READINGS_MAX
from labshell.core.parse import Bound, parse

TWO = command(word("param_1", "option_1"), word("param_2", "option_2", "option_3"))


def read(line: str, declared: Command, choices: TableChoices | None = None) -> Bound:
    bound = parse(line, choices or TableChoices(), commands={"command": declared})
    assert bound is not None
    return bound


def test_parameter_with_one_choice_is_inferred() -> None:
    bound = read("command option_2", TWO)
    assert bound.arguments == {"param_1": "option_1", "param_2": "option_2"}
    assert bound.spelled == "command option_1 option_2"
    assert bound.note == "(param_1 option_1: the only one)"


def test_parameter_with_one_choice_may_be_given() -> None:
    bound = read("command option_1 option_3", TWO)
    assert bound.arguments == {"param_1": "option_1", "param_2": "option_3"}
    assert bound.inferred == ()


def test_parameter_with_two_choices_is_not_inferred() -> None:
    with pytest.raises(MissingParameter) as caught:
        read("command option_1", TWO)
    assert caught.value.parameter == "param_2"
    assert caught.value.candidates == ("option_2", "option_3")
    assert caught.value.start == len("command option_1")


def test_nothing_given_infers_what_it_can_and_names_the_rest() -> None:
    with pytest.raises(MissingParameter) as caught:
        read("command", TWO)
    assert caught.value.parameter == "param_2"


def test_last_parameter_is_inferred_as_well() -> None:
    bound = read("command b", command(word("first", "a", "b"), word("second", "x")))
    assert bound.arguments == {"first": "b", "second": "x"}


def test_all_are_inferred_if_each_has_one_choice() -> None:
    assert read("command", command(word("first", "a"), word("second", "b"))).spelled == "command a b"


def test_several_readings_are_listed_and_refused() -> None:
    declared = command(word("first", "a", "b", optional=True), word("second", "a", "c", optional=True))
    with pytest.raises(Ambiguous) as caught:
        read("command a", declared)
    assert caught.value.readings == ("command a (first a)", "command a (second a)")
    with pytest.raises(Ambiguous) as caught:
        read(
            "command a", command(word("first", "a", "b", default="b"), word("second", "a", "c", default="c"))
        )
    assert caught.value.readings == ("command a c", "command b a")
    assert (caught.value.start, caught.value.end) == (8, 9)


def test_what_is_unknown_names_every_parameter_it_could_be_for() -> None:
    with pytest.raises(BadValue) as caught:
        read("command optoin_2", TWO)
    assert caught.value.parameters == ("param_1", "param_2")
    assert "option_2" in caught.value.suggestions
    assert (caught.value.start, caught.value.end) == (8, 16)


def test_words_that_are_left_are_refused() -> None:
    with pytest.raises(TooManyWords) as caught:
        read("command option_1 option_2 option_3", TWO)
    assert caught.value.start == len("command option_1 option_2 ")


MOVE = command(
    Parameter(name="process", kind=ParameterKind.PROCESS, help="Which."),
    Parameter(name="from", kind=ParameterKind.HOST_WITH, help="From."),
    Parameter(name="to", kind=ParameterKind.HOST_WITHOUT, help="To."),
)
PLACES = TableChoices(hosts="abc", instances={"master": ("a",), "s3": ("a", "b")})


@pytest.mark.parametrize(
    ("line", "spelled"),
    [
        ("command master b", "command master a b"),
        ("command master a b", "command master a b"),
        ("command s3 a", "command s3 a c"),
        ("command s3 b c", "command s3 b c"),
    ],
)
def test_candidates_depend_on_parameters_before(line: str, spelled: str) -> None:
    assert read(line, MOVE, PLACES).spelled == spelled


def test_parameter_in_the_middle_is_said_to_be_missing() -> None:
    with pytest.raises(MissingParameter, match="FROM is missing: a or b") as caught:
        read("command s3 c", MOVE, PLACES)
    assert caught.value.start == len("command s3 ")


def test_word_that_does_not_fit_its_place_is_named() -> None:
    with pytest.raises(BadValue, match="TO cannot be b"):
        read("command s3 a b", MOVE, PLACES)


FREE = command(word("release", "aviary"), text("version"))


def test_any_text_is_taken_for_what_is_not_inferred() -> None:
    assert read("command 0.2.0", FREE).spelled == "command aviary 0.2.0"


@pytest.mark.parametrize("line", ["command aviary", "command aviry"])
def test_text_that_names_what_was_left_out_is_no_value(line: str) -> None:
    with pytest.raises(LineError) as caught:
        read(line, FREE)
    assert "aviary" in str(caught.value) or "VERSION" in str(caught.value)


def test_text_that_names_the_only_choice_can_be_given_in_full() -> None:
    assert read("command aviary aviary", FREE).arguments == {"release": "aviary", "version": "aviary"}


def test_text_is_never_inferred() -> None:
    with pytest.raises(MissingParameter):
        read("command", command(text("version")))


def test_nothing_to_choose_from_is_said() -> None:
    job = command(Parameter(name="job", kind=ParameterKind.JOB, help="Its number."))
    with pytest.raises(MissingParameter, match="there is none"):
        read("command", job)


WORDS = ("a", "b", "c")


@st.composite
def declared(draw: st.DrawFn) -> Command:
    parameters = []
    for index in range(draw(st.integers(1, 4))):
        words = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True))
        default = draw(st.sampled_from((None, words[0])))
        optional = draw(st.booleans())
        parameters.append(word(f"p{index}", *words, optional=optional, default=default))
    return command(*parameters)


def all_readings(declared: Command, given: tuple[str, ...]) -> list[dict[str, str]]:
    """By trying every way to choose which parameters are given."""
    found: list[dict[str, str]] = []
    for chosen in itertools.combinations(declared.parameters, len(given)):
        words = dict(zip((one.name for one in chosen), given, strict=True))
        reading: dict[str, str] = {}
        for one in declared.parameters:
            if one.name in words:
                if words[one.name] not in one.words:
                    break
                reading[one.name] = words[one.name]
            elif one.default is not None:
                reading[one.name] = one.default
            elif not one.optional:
                if len(one.words) != 1:
                    break
                reading[one.name] = one.words[0]
        else:
            if reading not in found:
                found.append(reading)
    return found


@given(declared(), st.lists(st.sampled_from((*WORDS, "zzz")), max_size=4).map(tuple))
def test_exactly_one_reading_is_bound_and_anything_else_refused(
    declared: Command, given: tuple[str, ...]
) -> None:
    expected = all_readings(declared, given)
    line = " ".join(("command", *given))
    if len(expected) == 1:
        bound = read(line, declared)
        assert bound.arguments == expected[0]
        typed = len(bound.arguments) - len({one.name for one in bound.inferred})
        assert typed == len(given)
    else:
        with pytest.raises(LineError) as caught:
            read(line, declared)
        assert isinstance(caught.value, Ambiguous) == (len(expected) > 1)
        assert 0 <= caught.value.start <= caught.value.end <= len(line)


@given(declared(), st.lists(st.sampled_from(WORDS), max_size=4).map(tuple))
def test_line_in_full_means_the_same_and_needs_no_inference(
    declared: Command, given: tuple[str, ...]
) -> None:
    table = {"command": declared}
    bound = parsed(" ".join(("command", *given)), TableChoices(), table)
    if not isinstance(bound, Bound):
        return
    again = parsed(bound.spelled, TableChoices(), table)
    if isinstance(again, Ambiguous):
        # Where an optional parameter was left out, no line says so.
        assert len(bound.arguments) < len(declared.parameters)
    else:
        assert isinstance(again, Bound)
        assert again.arguments == bound.arguments


def test_readings_are_listed_up_to_a_limit() -> None:
    def several(count: int) -> Ambiguous:
        optional = [word(f"p{number}", "a", optional=True) for number in range(count)]
        with pytest.raises(Ambiguous) as caught:
            read("command a", command(*optional))
        return caught.value

    assert len(several(READINGS_MAX).readings) == READINGS_MAX
    assert "and more" not in str(several(READINGS_MAX))
    assert len(several(READINGS_MAX + 1).readings) == READINGS_MAX
    assert "and more" in str(several(READINGS_MAX + 1))


def test_words_between_two_that_take_many_are_ambiguous() -> None:
    declared = command(*(word(f"p{number}", "a", "b", many=True, optional=True) for number in range(2)))
    with pytest.raises(Ambiguous):
        read("command " + "a " * 60, declared)
