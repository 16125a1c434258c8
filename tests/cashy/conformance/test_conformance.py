"""S3 by its documents, against real stores: directly, and through cashy cold, warm and over two hosts.

The rule: what a store does right when it is asked directly is right through cashy. Where a store itself is wrong, which is listed by name
with the reason (:mod:`tests.cashy.conformance.known`), cashy answers as the store does, or rightly.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest
from tests.cashy.conformance.case import Case
from tests.cashy.conformance.cases import CASES
from tests.cashy.conformance.known import KNOWN
from tests.cashy.conformance.ways import STORES, WAYS, Grounds, StoreName, Way

pytestmark = pytest.mark.system

# A page of AWS's documentation, or a section of an RFC.
_SOURCE = re.compile(r"docs\.aws\.amazon\.com/[\w./-]+\.html(#[\w.-]+)?( .+)?|RFC \d+ \d+(\.\d+)*( .+)?")


@pytest.fixture(scope="session")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with Grounds(tmp_path_factory.mktemp("conformance")) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("store", STORES)
def test_case(grounds: Grounds, store: StoreName, way: Way, case: Case) -> None:
    reason = KNOWN[store].get(case.name)
    outcome = grounds.run(store, way, case)
    if way == "direct":
        if reason is None:
            assert not outcome.complaint, f"{outcome.complaint} ({case.source})"
        else:
            assert outcome.complaint, f"{store} does this by now: take it from the list"
    elif outcome.complaint and (reason is None or case.by_cashy):
        pytest.fail(f"{outcome.complaint} ({case.source})")
    elif outcome.complaint:
        direct = grounds.run(store, "direct", case)
        assert outcome.answers == direct.answers, f"{outcome.complaint}; {store} itself: {direct.complaint}"


def test_every_case_cites_a_document_and_has_a_name_of_its_own() -> None:
    assert [case.name for case in CASES if not _SOURCE.fullmatch(case.source)] == []
    assert [name for name, times in Counter(case.name for case in CASES).items() if times > 1] == []
    assert len(CASES) >= 250


@pytest.mark.parametrize("store", STORES)
def test_what_is_listed_as_known_is_a_case_and_has_a_reason(store: StoreName) -> None:
    names = {case.name for case in CASES}
    assert [name for name, reason in KNOWN[store].items() if name not in names or not reason] == []
