"""How a command ended, as text."""

from __future__ import annotations

from dataclasses import dataclass

from labtest.errors import ActionFailed

__all__ = ["Ran"]

#: Of what a failed command said, in the message.
_TOLD_LINES = 20


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended. ``status`` is its exit status, or minus the signal that killed it."""

    status: int
    stdout: str
    stderr: str

    def checked(self, host: str, argv: tuple[str, ...]) -> Ran:
        """Itself. Raises :class:`~labtest.errors.ActionFailed` with code ``command-failed`` if the status is not 0."""
        if self.status == 0:
            return self
        said = (self.stderr or self.stdout).strip().splitlines()[-_TOLD_LINES:]
        ended = (
            f"ended with status {self.status}" if self.status > 0 else f"was killed by signal {-self.status}"
        )
        raise ActionFailed(host, "command-failed", "\n".join([f"{' '.join(argv)} {ended}", *said]))
