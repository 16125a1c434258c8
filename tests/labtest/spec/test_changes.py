"""Changes at the prompt: what each does, what is refused and why, and how lists of them are shortened."""

from __future__ import annotations

import msgspec
import pytest

from labtest.core.changes import (
    AddHost,
    AddInstance,
    Change,
    ChangeRefused,
    MoveProcess,
    RemoveHost,
    RemoveInstance,
    SetVariable,
    StartInstance,
    StopInstance,
    SwapRelease,
    UnsetVariable,
    apply,
    describe,
    inverse,
    parse_value,
)
from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    HostSpec,
    ProcessSpec,
    ReleaseSpec,
    ToolSpec,
    Value,
)
from labtest.core.pending import difference, normalise, rebase

ENVIRONMENT = Environment(
    name="lab",
    hosts=(
        HostSpec(name="a", groups=("cache",), variables={"size": 2, "rack": 1}),
        HostSpec(name="b", groups=("cache",)),
        HostSpec(name="c"),
        HostSpec(name="desk"),
    ),
    processes=(
        ProcessSpec(name="store", hosts=("c",), unit="store.service"),
        ProcessSpec(
            name="cache", hosts=("a", "b"), unit="cache.service", after=("store",), stopped_on=("b",)
        ),
    ),
    files=(FileSpec(name="keys", kind=FileKind.COPY, source="k", path="/k", hosts=("a", "desk")),),
    releases=(ReleaseSpec(name="app", version="{{ version }}", source=("x",), folder="/opt/app"),),
    tools=(ToolSpec(name="top", run=("top",), host="c"),),
    variables={"size": 1, "ratio": 1.5, "loud": False, "version": "1.0"},
    groups={"cache": ("a", "b")},
)


def _process(environment: Environment, name: str) -> ProcessSpec:
    return next(process for process in environment.processes if process.name == name)


def _refusal(*changes: Change) -> tuple[str, bool]:
    before = apply(ENVIRONMENT, changes[:-1])
    with pytest.raises(ChangeRefused) as caught:
        apply(before, changes[-1:])
    with pytest.raises(ChangeRefused):
        inverse(before, changes[-1])
    assert caught.value.exit_code == 2
    return str(caught.value), caught.value.already


# What they do


def test_variable_for_all_and_for_one() -> None:
    changed = apply(
        ENVIRONMENT,
        [SetVariable("size", 7), SetVariable("size", 8, "host:b"), SetVariable("size", 9, "process:store")],
    )
    assert changed.variables["size"] == 7
    assert [host.variables.get("size") for host in changed.hosts] == [2, 8, None, None]
    assert _process(changed, "store").variables == {"size": 9}
    assert ENVIRONMENT.variables["size"] == 1, "the environment before is as it was"


def test_whole_number_for_a_variable_that_need_not_be() -> None:
    changed = apply(ENVIRONMENT, [SetVariable("ratio", 2)])
    assert type(changed.variables["ratio"]) is float


def test_own_value_is_taken_back() -> None:
    assert apply(ENVIRONMENT, [UnsetVariable("size", "host:a")]).hosts[0].variables == {"rack": 1}


def test_variable_that_only_a_host_has_can_be_set_for_a_process() -> None:
    assert _process(apply(ENVIRONMENT, [SetVariable("rack", 4, "process:cache")]), "cache").variables == {
        "rack": 4
    }


def test_version_is_swapped() -> None:
    assert apply(ENVIRONMENT, [SwapRelease("app", "2.0+local")]).releases[0].version == "2.0+local"


def test_instance_moves_in_its_place_and_stays_stopped() -> None:
    cache = _process(
        apply(ENVIRONMENT, [MoveProcess("cache", "b", "c"), MoveProcess("cache", "a", "desk")]), "cache"
    )
    assert (cache.hosts, cache.stopped_on) == (("desk", "c"), ("c",))


def test_instance_is_added_at_the_end_or_before_another() -> None:
    assert _process(apply(ENVIRONMENT, [AddInstance("cache", "c")]), "cache").hosts == ("a", "b", "c")
    assert _process(apply(ENVIRONMENT, [AddInstance("cache", "c", "b")]), "cache").hosts == ("a", "c", "b")
    assert _process(apply(ENVIRONMENT, [AddInstance("cache", "c", "gone")]), "cache").hosts == ("a", "b", "c")


def test_last_instance_goes_once_nobody_starts_after_it() -> None:
    changed = apply(
        ENVIRONMENT,
        [RemoveInstance("cache", "a"), RemoveInstance("cache", "b"), RemoveInstance("store", "c")],
    )
    assert [process.hosts for process in changed.processes] == [(), ()]
    assert _process(changed, "cache").stopped_on == ()


def test_instance_stops_and_starts() -> None:
    changed = apply(ENVIRONMENT, [StopInstance("cache", "a")])
    assert _process(changed, "cache").stopped_on == ("a", "b")
    assert _process(apply(changed, [StartInstance("cache", "b")]), "cache").stopped_on == ("a",)


def test_host_comes_with_groups_and_files() -> None:
    host = HostSpec(name="new", groups=("cache",), variables={"size": 3})
    changed = apply(ENVIRONMENT, [AddHost(host, before="b", files=("keys",), releases=("app",))])
    assert [one.name for one in changed.hosts] == ["a", "new", "b", "c", "desk"]
    assert changed.groups == {"cache": ("a", "new", "b")}
    assert (changed.files[0].hosts, changed.releases[0].hosts) == (("a", "new", "desk"), ("new",))


def test_host_goes_and_its_group_stays() -> None:
    changed = apply(
        ENVIRONMENT,
        [MoveProcess("cache", "a", "c"), MoveProcess("cache", "b", "desk"), RemoveHost("a"), RemoveHost("b")],
    )
    assert [one.name for one in changed.hosts] == ["c", "desk"]
    assert changed.groups == {"cache": ()}
    assert changed.files[0].hosts == ("desk",)


# What is refused


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (SetVariable("sise", 1), "there is no variable 'sise'; did you mean 'size'?"),
        (SetVariable("rack", 1), "there is no variable 'rack'; there are loud, ratio, size, version"),
        (SetVariable("size", "big"), 'size is 1, so it must be a whole number, and not "big"'),
        (SetVariable("size", True), "size is 1, so it must be a whole number, and not true"),
        (SetVariable("size", 1.5), "size is 1, so it must be a whole number, and not 1.5"),
        (SetVariable("loud", 1), "loud is false, so it must be true or false, and not 1"),
        (SetVariable("version", 2), 'version is "1.0", so it must be text, and not 2'),
        (SetVariable("ratio", True), "ratio is 1.5, so it must be a number, and not true"),
        (SetVariable("version", "x" * 4097), "version: it has 4,097 characters; 4,096 are possible; put it into a file"),
        (SetVariable("size", 2, "host:z"), "there is no host 'z'; there are a, b, c, desk"),
        (SetVariable("size", 2, "group:cache"), "'group:cache' is nothing that has variables; write host:NAME or process:NAME"),
        (UnsetVariable("size", ""), "a variable of the environment has a value always; set it to another"),
        (SwapRelease("ap", "2.0"), "there is no release 'ap'; did you mean 'app'?"),
        (SwapRelease("app", "2/0"), "'2/0' is not a version: letters, digits and '._+~-', such as '1.4.0'"),
        (SwapRelease("app", "{{ version }}"), "'{{ version }}' is not a version: letters, digits and '._+~-', such as '1.4.0'"),
        (MoveProcess("cahce", "a", "c"), "there is no process 'cahce'; did you mean 'cache'?"),
        (MoveProcess("cache", "c", "desk"), "cache is not on c; it is on a, b"),
        (MoveProcess("cache", "a", "dsk"), "there is no host 'dsk'; did you mean 'desk'?"),
        (MoveProcess("cache", "z", "c"), "there is no host 'z'; there are a, b, c, desk"),
        (MoveProcess("cache", "a", "b"), "cache runs on b too; take it from a with `remove` instead"),
        (AddInstance("cache", "dsk"), "there is no host 'dsk'; did you mean 'desk'?"),
        (RemoveInstance("cache", "c"), "cache is not on c; it is on a, b"),
        (RemoveInstance("store", "c"), "c is the last host of store, and cache starts after it; move it, or remove that first"),
        (StopInstance("store", "a"), "store is not on a; it is on c"),
        (AddHost(HostSpec(name="n")  , before="", files=("kees", "keys")), "there is no file 'kees'; did you mean 'keys'?"),
        (AddHost(HostSpec(name="a", sudo=True)), "host a is there already"),
        (AddHost(HostSpec(name="n", groups=("cahce",))), "there is no group 'cahce'; did you mean 'cache'?"),
        (AddHost(HostSpec(name="n"), files=("kees",)), "there is no file 'kees'; did you mean 'keys'?"),
        (AddHost(HostSpec(name="n", ssh="-oProxyCommand=x")), "'-oProxyCommand=x' is not a destination such as 'ops@rack1' or '10.0.0.1'"),
        (AddHost(HostSpec(name="n", variables={"if": 1})), "if: templates have 'if' for something else; take another name"),
        (RemoveHost("z"), "there is no host 'z'; there are a, b, c, desk"),
        (RemoveHost("a"), "a still has cache; move or remove it first"),
    ],
)  # fmt: skip
def test_change_is_refused(change: Change, problem: str) -> None:
    assert _refusal(change) == (problem, False)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (SetVariable("size", 1), "size is 1 already"),
        (SetVariable("size", 2, "host:a"), "size is 2 for host a already"),
        (UnsetVariable("size", "host:b"), "size has no value of its own for host b"),
        (MoveProcess("cache", "a", "a"), "cache is on a already"),
        (AddInstance("cache", "a"), "cache is on a already"),
        (StopInstance("cache", "b"), "cache on b is stopped already"),
        (StartInstance("cache", "a"), "cache on a is not stopped"),
        (AddHost(ENVIRONMENT.hosts[0]), "host a is there already"),
    ],
)
def test_change_that_does_nothing_is_told_apart(change: Change, problem: str) -> None:
    assert _refusal(change) == (problem, True)


def test_host_with_a_bad_name() -> None:
    problem, _ = _refusal(AddHost(HostSpec(name="New")))
    assert problem.startswith("'New' is not a name")


def test_version_that_is_in_use_already() -> None:
    assert _refusal(SwapRelease("app", "2.0"), SwapRelease("app", "2.0")) == (
        "app has version 2.0 already",
        True,
    )


def test_same_value_of_a_host_is_not_the_same_as_none() -> None:
    assert apply(ENVIRONMENT, [SetVariable("size", 1, "host:b")]).hosts[1].variables == {"size": 1}


def test_process_does_not_come_before_what_it_starts_after() -> None:
    gone = [RemoveInstance("cache", "a"), RemoveInstance("cache", "b"), RemoveInstance("store", "c")]
    problem, _ = _refusal(*gone, AddInstance("cache", "a"))
    assert problem == "cache starts after store, which runs on no host; add that first"
    assert apply(ENVIRONMENT, [*gone, AddInstance("store", "a"), AddInstance("cache", "a")])


def test_several_start_after_it() -> None:
    web = ProcessSpec(name="web", hosts=("a",), unit="web.service", after=("store",))
    environment = msgspec.structs.replace(ENVIRONMENT, processes=(*ENVIRONMENT.processes, web))
    with pytest.raises(ChangeRefused, match=r"and cache, web start after it; move it, or remove those first"):
        apply(environment, [RemoveInstance("store", "c")])


def test_host_of_a_tool_and_last_host_stay() -> None:
    problem, _ = _refusal(MoveProcess("store", "c", "a"), RemoveHost("c"))
    assert problem == "tool top runs on c; give it another host in the spec first"
    one = Environment(name="one", hosts=(HostSpec(name="a"),))
    with pytest.raises(ChangeRefused, match="a is the last host; `down` takes the whole environment away"):
        apply(one, [RemoveHost("a")])


# Lists


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ([SetVariable("size", 5), SetVariable("size", 6)], [SetVariable("size", 6)]),
        ([SetVariable("size", 5), SetVariable("size", 1)], []),
        ([SetVariable("size", 5, "host:b"), UnsetVariable("size", "host:b")], []),
        ([SwapRelease("app", "2.0"), SwapRelease("app", "3.0")], [SwapRelease("app", "3.0")]),
        ([StartInstance("cache", "b"), StopInstance("cache", "b")], []),
        (
            [MoveProcess("cache", "a", "c"), MoveProcess("cache", "c", "desk")],
            [MoveProcess("cache", "a", "desk")],
        ),
        ([MoveProcess("cache", "a", "c"), MoveProcess("cache", "c", "a")], []),
        ([RemoveInstance("cache", "a"), AddInstance("cache", "a", "b")], []),
        ([RemoveInstance("cache", "a"), AddInstance("cache", "c", "b")], [MoveProcess("cache", "a", "c")]),
        (
            [
                AddHost(HostSpec(name="n")),
                AddInstance("cache", "n"),
                RemoveInstance("cache", "n"),
                RemoveHost("n"),
            ],
            [],
        ),
        (
            [
                StopInstance("store", "c"),
                StartInstance("cache", "b"),
                SetVariable("size", 5),
                SetVariable("size", 6),
            ],
            [SetVariable("size", 6), StartInstance("cache", "b"), StopInstance("store", "c")],
        ),
        (
            [
                RemoveInstance("cache", "a"),
                AddInstance("cache", "c"),
                AddInstance("cache", "a"),
                RemoveInstance("cache", "c"),
            ],
            [RemoveInstance("cache", "a"), AddInstance("cache", "a")],
        ),
        (
            [AddHost(HostSpec(name="n")), SetVariable("size", 4, "host:n")],
            [AddHost(HostSpec(name="n", variables={"size": 4}))],
        ),
    ],
)
def test_list_is_shortened(changes: list[Change], short: list[Change]) -> None:
    assert list(normalise(ENVIRONMENT, changes)) == short


def test_list_that_cannot_be_shortened_stays_in_its_order() -> None:
    changes: list[Change] = [MoveProcess("cache", "a", "c"), SetVariable("size", 5)]
    assert list(normalise(ENVIRONMENT, changes)) == changes


def test_host_that_is_another_one_of_the_same_name() -> None:
    changes: list[Change] = [
        MoveProcess("cache", "a", "desk"), RemoveHost("a"), AddHost(HostSpec(name="a", address="10.0.0.1")),
        MoveProcess("cache", "desk", "a"),
    ]  # fmt: skip
    assert list(normalise(ENVIRONMENT, changes)) == changes
    assert difference(ENVIRONMENT, apply(ENVIRONMENT, changes)) is None


def test_lists_of_what_does_not_apply_are_refused() -> None:
    with pytest.raises(ChangeRefused):
        normalise(ENVIRONMENT, [RemoveHost("a")])


def test_changes_after_the_spec_was_edited() -> None:
    edited = msgspec.structs.replace(
        ENVIRONMENT,
        variables={**ENVIRONMENT.variables, "size": 5},
        processes=(ENVIRONMENT.processes[0],),
    )
    changes: list[Change] = [
        SetVariable("size", 5),
        MoveProcess("cache", "a", "c"),
        SwapRelease("app", "2.0"),
    ]
    rebased = rebase(changes, edited)
    assert rebased.changes == (SwapRelease("app", "2.0"),)
    assert rebased.refused == ((changes[1], "there is no process 'cache'; there are store"),)
    assert rebased.environment == apply(edited, [SwapRelease("app", "2.0")])


# Words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (SetVariable("memory", "1GiB"), 'set memory = "1GiB"'),
        (SetVariable("loud", True, "process:cache"), "set loud = true for process cache"),
        (UnsetVariable("size", "host:a"), "unset size for host a"),
        (SwapRelease("app", "2.0"), "swap app to version 2.0"),
        (MoveProcess("cache", "a", "b"), "move cache from a to b"),
        (AddInstance("cache", "c"), "add cache on c"),
        (RemoveInstance("cache", "c"), "remove cache from c"),
        (StopInstance("cache", "c"), "stop cache on c"),
        (StartInstance("cache", "c"), "start cache on c"),
        (AddHost(HostSpec(name="n", groups=("cache", "odd"))), "add host n (in cache, odd)"),
        (AddHost(HostSpec(name="n")), "add host n"),
        (RemoveHost("n"), "remove host n"),
    ],
)
def test_change_in_words(change: Change, words: str) -> None:
    assert describe(change) == words


@pytest.mark.parametrize(
    ("text", "like", "value"),
    [
        ("7", 1, 7),
        ("-7", 1, -7),
        ("1e3", 1.0, 1000.0),
        ("7", 1.0, 7.0),
        ("true", False, True),
        ("7", "x", "7"),
        ("", "x", ""),
    ],
)
def test_typed_value(text: str, like: Value, value: Value) -> None:
    found = parse_value(text, like)
    assert (found, type(found)) == (value, type(like))


@pytest.mark.parametrize(
    ("text", "like", "problem"),
    [
        ("high", 1, "it must be a whole number, and not 'high'"),
        ("1.5", 1, "it must be a whole number, and not '1.5'"),
        ("yes", True, "it must be true or false, and not 'yes'"),
        ("x", 1.5, "it must be a number, and not 'x'"),
        ("nan", 1.5, "nan is not a number that a variable can have"),
        ("9223372036854775808", 1, "9223372036854775808 does not fit into 64 bits; write it as text"),
    ],
)
def test_typed_value_that_is_none(text: str, like: Value, problem: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared
        parse_value(text, like)
    assert str(caught.value) == problem
