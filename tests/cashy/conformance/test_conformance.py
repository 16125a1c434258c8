"""S3 by its documents, against real stores: directly, and through cashy cold, warm and over two hosts.

The rule: what a store does right when it is asked directly is right through cashy. Where a store itself is wrong, which is listed by name
with the reason (:mod:`tests.cashy.conformance.known`), cashy answers as the store does, or rightly.

One test is one way to one store, and tells every case that fails there. ``CASHY_CASES="range/* post/*"`` runs some cases only.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest
from tests.cashy.conformance.case import Case
from tests.cashy.conformance.cases import CASES
from tests.cashy.conformance.known import KNOWN
from tests.cashy.conformance.ways import STORES, WAYS, Grounds, Outcome, StoreName, Way
from tests.system.harness import started_store
from tests.system.weed import Weed

pytestmark = pytest.mark.system

# A page of AWS's documentation, or a section of an RFC.
_SOURCE = re.compile(r"docs\.aws\.amazon\.com/[\w./-]+\.html(#[\w.-]+)?( .+)?|RFC \d+ \d+(\.\d+)*( .+)?")

_PATTERNS = os.environ.get("CASHY_CASES", "*").split()
_CHOSEN = [case for case in CASES if any(fnmatch(case.name, pattern) for pattern in _PATTERNS)]


@pytest.fixture(scope="module")
def grounds(weed: Weed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grounds]:
    with started_store() as moto:
        stores: dict[StoreName, str] = {"moto": moto, "seaweedfs": weed.url}
        with Grounds(tmp_path_factory.mktemp("conformance"), stores, _CHOSEN) as made:
            yield made


@pytest.mark.timeout(900)  # 650 cases
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("store", STORES)
def test_what_a_store_does_right_is_right_on_every_way(grounds: Grounds, store: StoreName, way: Way) -> None:
    outcomes, directly = grounds.outcomes(store, way), grounds.outcomes(store, "direct")
    assert outcomes.keys() == {case.name for case in _CHOSEN}
    wrong = {
        case.name: f"{said} ({case.source})"
        for case in _CHOSEN
        if (said := _verdict(case, store, way, outcomes[case.name], directly[case.name]))
    }
    assert not wrong, f"{len(wrong)} of {len(_CHOSEN)} cases fail:\n" + "\n".join(
        f"  {name}: {said}" for name, said in wrong.items()
    )


def _verdict(case: Case, store: StoreName, way: Way, outcome: Outcome, direct: Outcome) -> str:
    """What is wrong with a case on a way, or ""."""
    is_known = case.name in KNOWN[store]
    if way == "direct":
        if is_known and not outcome.complaint:
            return f"{store} does this by now: take it from the list"
        return "" if is_known else outcome.complaint
    must_be_right = not is_known or case.by_cashy or (case.by_cashy_warm and way == "warm")
    if must_be_right or outcome.answers == direct.answers:
        return outcome.complaint if must_be_right else ""
    return outcome.complaint and f"{outcome.complaint}; {store} itself: {direct.complaint}"


def test_every_case_cites_a_document_and_has_a_name_of_its_own() -> None:
    assert [case.name for case in CASES if not _SOURCE.fullmatch(case.source)] == []
    assert [name for name, times in Counter(case.name for case in CASES).items() if times > 1] == []
    assert len(CASES) >= 250


@pytest.mark.parametrize("store", STORES)
def test_what_is_listed_as_known_is_a_case_and_has_a_reason(store: StoreName) -> None:
    names = {case.name for case in CASES}
    assert [name for name, reason in KNOWN[store].items() if name not in names or not reason] == []
