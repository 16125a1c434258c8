"""The asymmetric fence under the pin protocol: ``membarrier(2)``.

Law: the one place that talks to membarrier, and the argument why pins need it.

A reader stores its pin, then loads the slot's header. x86-64 lets a later load pass an earlier store (the store waits in the store buffer),
so a reader could load "READY" before its pin is visible. The owner stores "EVICTING", then loads the pin tables, and could likewise load
before its own store is visible. If both happen, the reader believes it holds what the owner frees. A full fence on each side forbids it; a
fence in the reader would have to be a locked instruction, which pure Python does not have. ``MEMBARRIER_CMD_GLOBAL_EXPEDITED`` executed by the
owner between its store and its scan interrupts every core that runs a registered process and makes it execute a full fence there: either the
reader's pin was stored before that point, and the scan sees it; or the reader's check comes after it, and sees EVICTING. So the evictor
pays (microseconds per batch) and readers pay nothing.

Only processes that have registered (``MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED``) are interrupted: a client registers before its first pin and
confirms it in the handshake. Registration survives fork and is lost by exec. Loads do not pass loads and stores do not pass stores on
x86-64, which the header checks rely on as well; other processors give no such promise to plain Python code, so pins are offered on x86-64
only and everybody else works on verified copies. The missing fence does not show in tests under CPython (hundreds of instructions lie between
the store and the load), so the tests check that it is called between marking and scanning, and this text argues why it must be.
"""

from __future__ import annotations

import ctypes
import os
import platform

from shmipc.errors import UnsupportedFence

__all__ = ["can_register", "fence_readers", "is_supported", "register_reader"]

_SYS_MEMBARRIER_X86_64 = 324
_CMD_QUERY = 0
_CMD_GLOBAL_EXPEDITED = 1 << 1
_CMD_REGISTER_GLOBAL_EXPEDITED = 1 << 2

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_uint, ctypes.c_int]


def _membarrier(command: int) -> int:
    result: int = _syscall(_SYS_MEMBARRIER_X86_64, command, 0, 0)
    if result < 0:
        code = ctypes.get_errno()
        raise UnsupportedFence(code, f"membarrier command {command} failed: {os.strerror(code)}")
    return result


def is_supported() -> bool:
    """Whether this machine offers the fence that the pin protocol needs."""
    if platform.machine() != "x86_64":
        return False
    try:
        offered = _membarrier(_CMD_QUERY)
    except UnsupportedFence:
        return False
    needed = _CMD_GLOBAL_EXPEDITED | _CMD_REGISTER_GLOBAL_EXPEDITED
    return offered & needed == needed


def register_reader() -> None:
    """Makes this process one that :func:`fence_readers` reaches; raises :class:`~shmipc.errors.UnsupportedFence`."""
    if not is_supported():
        raise UnsupportedFence(
            0, "pins need x86-64 and membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED), Linux 4.16 or later"
        )
    _membarrier(_CMD_REGISTER_GLOBAL_EXPEDITED)


def can_register() -> bool:
    """Registers this process; False where it cannot be (the caller then works on copies)."""
    try:
        register_reader()
    except UnsupportedFence:
        return False
    return True


def fence_readers() -> None:
    """A full memory fence on every core that runs a registered process; microseconds."""
    _membarrier(_CMD_GLOBAL_EXPEDITED)
