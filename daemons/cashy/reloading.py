"""SIGHUP (``systemctl reload``): a daemon reads its settings again, applies what it can, and names what it cannot.

A file with a mistake changes nothing: the daemon goes on, and its log says which file and line. The supervisor is told when reading begins and when
it is over, so that ``systemctl reload`` ends with the new settings in force.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from cashy.errors import ConfigError
from cashy.setting_changes import compare_settings
from cashy.settings import Settings
from hostkit.log import configure_logging
from hostkit.notify import notify_reloaded, notify_reloading

__all__ = ["Reloading"]


class Reloading:
    """Call it at SIGHUP, on the loop's thread. ``load_again`` reads the settings as at the start; ``apply`` is given what is in force from now on."""

    def __init__(
        self,
        daemon: Literal["master", "s3"],
        running: Settings,
        load_again: Callable[[], Settings],
        apply: Callable[[Settings], None],
        log: Any,
    ) -> None:
        self._daemon: Literal["master", "s3"] = daemon
        self._running = running
        self._load_again = load_again
        self._apply = apply
        self._log = log
        #: Settings that differ from the file and need a restart, as found by the last reload.
        self.need_restart: tuple[str, ...] = ()

    def __call__(self) -> None:
        """Reads the settings again. What goes wrong with them is logged, never raised."""
        notify_reloading()
        is_refused = True
        try:
            is_refused = not self._reload()
        finally:
            notify_reloaded(is_refused=is_refused)

    def _reload(self) -> bool:
        """Whether the settings could be read."""
        try:
            fresh = self._load_again()
        except ConfigError as error:
            self._log.error(
                "the settings were not read again, those before stay in force", reason=error.message
            )
            return False
        in_force, applied, self.need_restart = compare_settings(self._running, fresh, self._daemon)
        if self._running.log != in_force.log:
            configure_logging(in_force.log.level, in_force.log.format)
        self._running = in_force
        self._apply(in_force)
        self._log.info("settings read again", applied=list(applied), need_restart=list(self.need_restart))
        for setting in self.need_restart:
            self._log.warning("this setting needs a restart", setting=setting)
        return True

    def note(self) -> str:
        """For a line of status: empty, or what needs a restart."""
        return f"; needs a restart: {', '.join(self.need_restart)}" if self.need_restart else ""
