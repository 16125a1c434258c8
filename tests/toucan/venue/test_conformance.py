"""The conformance kit on all ways to the exchange: in-process, over a socket to a process, and around the one that misbehaves when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toucan.venue.misbehaving import BEHAVES

from .conformance import OperatorConformance, VenueConformance
from .harness import LocalUnderTest, SocketUnderTest, VenueUnderTest


class _Local:
    @pytest.fixture
    def venue(self) -> Iterator[VenueUnderTest]:
        venue = LocalUnderTest()
        yield venue
        venue.close()


class _Behaving:
    @pytest.fixture
    def venue(self) -> Iterator[VenueUnderTest]:
        venue = LocalUnderTest(BEHAVES)
        yield venue
        venue.close()


class _Socket:
    @pytest.fixture
    def venue(self, tmp_path: Path) -> Iterator[VenueUnderTest]:
        venue = SocketUnderTest(tmp_path)
        yield venue
        venue.close()


class TestLocal(_Local, VenueConformance):
    pass


class TestLocalOperator(_Local, OperatorConformance):
    pass


class TestBehaving(_Behaving, VenueConformance):
    pass


class TestBehavingOperator(_Behaving, OperatorConformance):
    pass


@pytest.mark.system
class TestSocket(_Socket, VenueConformance):
    pass


@pytest.mark.system
class TestSocketOperator(_Socket, OperatorConformance):
    pass
