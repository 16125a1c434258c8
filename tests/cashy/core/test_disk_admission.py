"""What is worth a write, and how many there may be."""

from __future__ import annotations

from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st

from cashy.core.disk_admission import DISK_BLOCK_BYTES_MIN, DiskAdmission

MIB = 1 << 20


def digest(number: int) -> bytes:
    return blake2b(number.to_bytes(8, "little"), digest_size=32).digest()


def test_a_block_that_was_used_again_is_written_and_another_one_when_it_comes_by_again() -> None:
    admission = DiskAdmission(1e9)
    assert admission.is_worth_it(digest(1), MIB, uses=1)
    assert not admission.is_worth_it(digest(2), MIB, uses=0)
    assert admission.is_worth_it(digest(2), MIB, uses=0)


def test_small_ones_never_are() -> None:
    admission = DiskAdmission(1e9)
    assert not admission.is_worth_it(digest(1), DISK_BLOCK_BYTES_MIN - 1, uses=9)
    assert admission.is_worth_it(digest(1), DISK_BLOCK_BYTES_MIN, uses=9)


def test_a_scan_is_not_written() -> None:
    admission = DiskAdmission(1e9, seen_places=1 << 12)
    assert sum(admission.is_worth_it(digest(number), MIB, uses=0) for number in range(20_000)) == 0


@given(st.lists(st.floats(0, 0.2), min_size=50, max_size=300))
def test_no_more_is_written_than_the_rate(waits: list[float]) -> None:
    admission, now, written = DiskAdmission(10 * MIB), 0.0, 0
    for wait in waits:
        now += wait
        if admission.may_write(now):
            admission.writes(MIB, now)
            written += MIB
    assert written <= 10 * MIB * (now + 0.1) + MIB
