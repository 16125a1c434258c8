"""pytest plugin: the fixture ``lab``, a live environment that is deployed before the tests that ask for it and goes after them.

Where tests say nothing it does nothing, and needs nothing: only the standard library and pytest are imported here, the rest when a test asks.
Faults are healed after each test, and what a test changed is taken back before the next one that shares the environment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from labtest.testing.records import FILES_PROPERTY, Records
from labtest.testing.wanted import NO_SPEC, Unclear, Wanted, default_wanted, wanted_of

if TYPE_CHECKING:
    from labtest.live import LiveEnvironment
    from labtest.testing.pool import Pool

__all__ = ["LabTests", "lab", "pytest_addoption", "pytest_configure"]

#: A parameter that does not show in a test's id (pytest 8.4); before, it is the spec's name.
_HIDDEN = getattr(pytest, "HIDDEN_PARAM", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options and ini values."""
    group = parser.getgroup("lab", "tests over a live environment (labtest)")
    group.addoption("--lab-spec", metavar="SPEC", help="the environment of tests that name none")
    group.addoption(
        "--lab-overlay",
        action="append",
        default=[],
        metavar="NAME",
        help="an overlay of that spec; repeatable",
    )
    group.addoption(
        "--lab-set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of that spec; repeatable",
    )
    group.addoption(
        "--lab-keep", action="store_true", help="leave the environment as the first failed test left it, up"
    )
    group.addoption(
        "--lab-report", metavar="DIR", help="where journals of failed tests go [default: pytest's cache]"
    )
    group.addoption("--lab-id", default="", metavar="ID", help="the hosts for --lab-spec: those of this lab")
    parser.addini("lab_spec", "the environment of tests that name none, relative to this file", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the mark, and what the hooks need."""
    config.addinivalue_line(
        "markers",
        "lab(spec, overlays=[…], variables={…}, per_test=False): the environment that the fixture lab is; per_test: for this test alone",
    )
    config.pluginmanager.register(LabTests(config), "labtest-tests")
    report: str | None = config.getoption("lab_report")
    if report and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Records(Path(config.invocation_params.dir, report)), "labtest-records")


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> LiveEnvironment:
    """A live environment, deployed as its spec says: see labtest.live.LiveEnvironment."""
    tests = request.config.pluginmanager.get_plugin("labtest-tests")
    assert isinstance(tests, LabTests)
    wanted = getattr(request, "param", None)
    return tests.use(wanted if wanted is not None else tests.wanted_of(request.node))


class LabTests:
    """The hooks, and the state between them."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._default = default_wanted(config)
        self._pool: Pool | None = None
        #: Tests to come, by what they ask for.
        self._to_come: Counter[Wanted | Unclear] = Counter()
        #: One object for equal ones: pytest compares parameters by identity.
        self._known: dict[Wanted | Unclear, Wanted | Unclear] = {}
        self._current: set[Wanted] = set()
        self._has_failed = False

    # ------------------------------------------------------------ who asks for what

    def wanted_of(self, node: pytest.Item | pytest.Collector) -> Wanted | Unclear:
        """What a test asks for."""
        wanted = wanted_of(node, self._default)
        return self._known.setdefault(wanted, wanted)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Each test that uses our fixture gets what it asks for as its parameter, so that marks of functions count too."""
        if "lab" not in metafunc.fixturenames or not _is_ours(metafunc):
            return
        wanted = self.wanted_of(metafunc.definition)
        is_alone = isinstance(wanted, Wanted) and wanted.per_test
        metafunc.parametrize(
            "lab",
            [wanted],
            indirect=True,
            scope="function" if is_alone else "module",
            ids=[_HIDDEN or _id(wanted)],
        )

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Counts who asks for what. Raises UsageError where a test does not say which environment."""
        asked = [_asked(item) for item in items]
        self._to_come = Counter(wanted for wanted in asked if wanted is not None)
        for item, wanted in zip(items, asked, strict=True):
            # In a worker of xdist this would end the whole run as a crash; there each such test says it.
            if wanted == Unclear(NO_SPEC) and not hasattr(self._config, "workerinput"):
                raise pytest.UsageError(f"{item.nodeid} uses the fixture lab. {NO_SPEC}")

    # ------------------------------------------------------------ one test

    def use(self, wanted: Wanted | Unclear) -> LiveEnvironment:
        """The environment for the present test. Fails the test if it cannot be had."""
        if isinstance(wanted, Unclear):
            pytest.fail(wanted.problem, pytrace=False)
        from labtest.testing.pool import CannotHave

        self._current.add(wanted)
        try:
            return self._made_pool().use(wanted)
        except CannotHave as problem:
            pytest.fail(str(problem), pytrace=False)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Brings back what the tests before have left, before any fixture of this one looks."""
        wanted = _asked(item)
        self._current, self._has_failed = {wanted} if isinstance(wanted, Wanted) else set(), False
        if self._pool is None or not isinstance(wanted, Wanted):
            return
        from labtest.testing.pool import CannotHave

        try:
            self._pool.begin_test(wanted)
        except CannotHave as problem:
            pytest.fail(str(problem), pytrace=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Collects what a failure leaves, at once, while it is still there."""
        report = yield
        if report.failed and self._pool is not None and not self._has_failed:
            self._has_failed = True
            for wanted in sorted(self._current, key=str):
                self._collect(self._pool, wanted, item, report)
        return report

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Heals, once the test's own fixtures are done."""
        try:
            return (yield)
        finally:
            asked = _asked(item)
            if asked is not None:
                self._to_come[asked] -= 1
            for wanted in self._current if self._pool is not None else ():
                is_last = wanted.per_test or (wanted == asked and self._to_come[wanted] <= 0)
                self._made_pool().end_test(wanted, has_failed=self._has_failed, is_last=is_last)

    def _collect(self, pool: Pool, wanted: Wanted, item: pytest.Item, report: pytest.TestReport) -> None:
        try:
            evidence = pool.collect(wanted, item.nodeid)
        except Exception as error:
            # A test that has failed is told as such, whatever else goes wrong.
            report.sections.append(("lab", f"nothing could be collected: {type(error).__name__}: {error}"))
            return
        report.sections += evidence.sections
        properties = [(FILES_PROPERTY, name) for name in evidence.files]
        report.user_properties += properties
        item.user_properties += properties

    # ------------------------------------------------------------ the end

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Takes down what is still up."""
        if self._pool is not None:
            self._pool.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Says what was kept, and what went wrong with environments."""
        if self._pool is not None and self._pool.notes:
            terminalreporter.section("lab")
            for note in self._pool.notes:
                terminalreporter.write_line(note)

    def pytest_unconfigure(self) -> None:
        """Takes down what is still up when the session has not come to its end."""
        if self._pool is not None:
            self._pool.close()

    def _made_pool(self) -> Pool:
        if self._pool is None:
            from labtest.testing.pool import Pool

            self._pool = Pool(
                default=self._default,
                lab_id=self._config.getoption("lab_id"),
                keep=self._config.getoption("lab_keep"),
                report=self._report_folder(),
            )
        return self._pool

    def _report_folder(self) -> Path | None:
        given: str | None = self._config.getoption("lab_report")
        if given:
            return Path(self._config.invocation_params.dir, given)
        cache = getattr(self._config, "cache", None)  # not there with -p no:cacheprovider
        return Path(cache.mkdir("lab")) if cache is not None else None


def _asked(item: pytest.Item) -> Wanted | Unclear | None:
    """What a test asks for; None if it does not use our fixture."""
    found = getattr(getattr(item, "callspec", None), "params", {}).get("lab")
    return found if isinstance(found, Wanted | Unclear) else None


def _is_ours(metafunc: pytest.Metafunc) -> bool:
    """Whether ``lab`` is not a fixture of somebody else's that happens to have this name."""
    found = metafunc._arg2fixturedefs.get("lab", ())
    return bool(found) and found[-1].func.__module__ == __name__


def _id(wanted: Wanted | Unclear) -> str:
    return wanted.spec.stem if isinstance(wanted, Wanted) else "lab"
