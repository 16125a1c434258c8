"""All cases of the conformance suite, in the order in which they are run."""

from __future__ import annotations

from tests.cashy.conformance import (
    cases_access,
    cases_forms,
    cases_lists,
    cases_multipart,
    cases_reads,
    cases_writes,
)
from tests.cashy.conformance.case import Case

__all__ = ["CASES"]

CASES: tuple[Case, ...] = (
    *cases_reads.CASES,
    *cases_writes.CASES,
    *cases_multipart.CASES,
    *cases_forms.CASES,
    *cases_lists.CASES,
    *cases_access.CASES,
)
