"""The environments of one test session: each made when it is first asked for, brought back between tests, and taken down at the end."""

from __future__ import annotations

import re
import shlex
import zlib
from dataclasses import dataclass
from pathlib import Path

from labtest.errors import LabError
from labtest.live import LiveEnvironment
from labtest.testing.evidence import Evidence, collect
from labtest.testing.wanted import Wanted

__all__ = ["CannotHave", "Pool", "folder_name"]

#: Longest name of a folder for a test's evidence; ext4 takes 255 bytes.
_FOLDER_NAME_MAX = 160


class CannotHave(Exception):
    """An environment that cannot be had, and why. It is told to each test that asks for it."""


@dataclass
class _Shared:
    env: LiveEnvironment
    #: Why it cannot be had, since that was tried last; it is not tried again for each test.
    problem: str = ""
    #: It could not be put right after a test: it must be made anew.
    is_broken: bool = False


class Pool:
    """See the module. ``lab_id`` is that of the hosts for ``default``; ``report`` is where evidence goes."""

    def __init__(
        self,
        *,
        default: Wanted | None = None,
        lab_id: str = "",
        keep: bool = False,
        report: Path | None = None,
    ) -> None:
        self.report = report
        #: For people, at the end.
        self.notes: list[str] = []
        self._default = default
        self._lab_id = lab_id
        self._keep = keep
        self._has_kept = False
        self._shared: dict[Wanted, _Shared] = {}

    def use(self, wanted: Wanted) -> LiveEnvironment:
        """The environment, open and as its spec says. Raises :class:`CannotHave`."""
        shared = self._shared.get(wanted)
        if shared is None:
            lab_id = self._lab_id if wanted == self._default else ""
            env = LiveEnvironment(
                wanted.spec,
                overlays=wanted.overlays,
                variables=dict(wanted.variables),
                lab=lab_id,
                fresh=wanted.per_test,
            )
            shared = self._shared[wanted] = _Shared(env)
        if shared.problem:
            raise CannotHave(shared.problem)
        if not shared.env.is_open:
            self._make(shared, wanted, anew=shared.is_broken)
        return shared.env

    def begin_test(self, wanted: Wanted) -> None:
        """Brings an environment that was used before back to what its spec says; if that is not possible, it is made anew.

        Raises :class:`CannotHave`.
        """
        shared = self._shared.get(wanted)
        if shared is None:
            return  # the fixture will ask for it
        env = self.use(wanted)
        try:
            if not shared.is_broken:
                env.bring_back()
        except LabError as error:
            shared.is_broken = True
            self.notes.append(f"{wanted.spec.name}: made anew, since it could not be brought back: {error}")
        if shared.is_broken:
            self._make(shared, wanted, anew=True)
        env.begin_test()

    def collect(self, wanted: Wanted, test_id: str) -> Evidence:
        """Evidence of a failed test, for people, and in files below :attr:`report`."""
        shared = self._shared.get(wanted)
        if shared is None or not shared.env.is_open:
            return Evidence()
        folder = self.report / folder_name(test_id) if self.report is not None else None
        evidence = collect(shared.env, folder)
        evidence.files = [f"{folder_name(test_id)}/{name}" for name in evidence.files]
        return evidence

    def end_test(self, wanted: Wanted, *, has_failed: bool, is_last: bool) -> None:
        """Undoes faults; or leaves all as it is, if the test has failed and that was wanted. The last test's environment goes."""
        shared = self._shared.get(wanted)
        if shared is None:
            return
        if shared.env.is_open:
            if has_failed and self._keep and not self._has_kept:
                self._set_aside(shared, wanted)
            else:
                self._heal(shared, wanted)
        if is_last:
            self._close(self._shared.pop(wanted))

    def close(self) -> None:
        """Takes all of them down. Those that cannot be, are noted."""
        while self._shared:
            self._close(self._shared.popitem()[1])

    # ------------------------------------------------------------ how

    def _make(self, shared: _Shared, wanted: Wanted, *, anew: bool = False) -> None:
        env = shared.env
        try:
            if anew:
                env.remake()
            else:
                env.open()
                env.deploy()
        except LabError as error:
            shared.problem = self._told(env, wanted, error)
            raise CannotHave(shared.problem) from error
        except BaseException:
            env.close()
            raise
        shared.is_broken = False
        env.begin_test()

    def _told(self, env: LiveEnvironment, wanted: Wanted, error: LabError) -> str:
        """What is said of an environment that could not be made, which is closed."""
        told = f"{wanted.spec}: {error}"
        if env.is_open:
            name = folder_name(f"{wanted.spec.stem} not deployed")
            evidence = collect(env, self.report / name if self.report is not None else None)
            told += "".join(f"\n\n{title}\n{text}" for title, text in evidence.sections)
            try:
                env.close()
            except LabError as problem:
                told += f"\n\n{problem}"
        return told

    def _heal(self, shared: _Shared, wanted: Wanted) -> None:
        try:
            shared.env.heal()
        except LabError as error:
            shared.is_broken = True
            self.notes.append(f"{wanted.spec.name}: made anew, since it could not be healed: {error}")

    def _set_aside(self, shared: _Shared, wanted: Wanted) -> None:
        """Leaves everything as the failed test left it. Later tests get hosts of their own."""
        env = shared.env
        lab = env.lab
        lab_id = lab.id if lab is not None else ""
        env.close(keep=True)
        self._has_kept = shared.is_broken = True
        self.notes.append(
            f"kept as the failed test left it: {shlex.join(['labshell', str(wanted.spec), *wanted.options()])}"
        )
        if lab_id:
            self.notes.append(
                f"its hosts are lab {lab_id} (labtest status {lab_id}); remove them by  labtest down {lab_id}"
            )

    def _close(self, shared: _Shared) -> None:
        try:
            shared.env.close()
        except LabError as error:
            self.notes.append(f"{shared.env.spec.name}: {error}")


def folder_name(test_id: str) -> str:
    """A folder's name for a test; another one for each."""
    plain = re.sub(r"[^A-Za-z0-9._\[\]=-]+", "_", test_id).strip("._") or "test"
    if plain == test_id.replace("/", "_").replace("::", "_") and len(plain) <= _FOLDER_NAME_MAX:
        return plain
    return f"{plain[:_FOLDER_NAME_MAX]}-{zlib.crc32(test_id.encode()):08x}"
