"""The conformance kit of ways to venues, over FIX: firm's link, ``toucan fix``, TCP, ``toucan fix-acceptor``, exchange."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.toucan.fix.shared import ChainUnderTest, SharedChain
from tests.toucan.venue.conformance import OperatorConformance, VenueConformance

pytestmark = pytest.mark.system

#: At least as many as there are tests below.
_TESTS = 60


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedChain]:
    shared = SharedChain(tmp_path_factory.mktemp("fix"), _TESTS)
    yield shared
    shared.chain.close()


@pytest.fixture
def venue(shared: SharedChain) -> Iterator[ChainUnderTest]:
    venue = shared.next()
    yield venue
    venue.close()


class TestChain(VenueConformance):
    pass


class TestChainOperator(OperatorConformance):
    pass
