"""The certificates of a running master: read at the start, read again when asked, and watched for their end.

Files are read on a thread: a dead mount must not hold up reads. A slip changes nothing, and is logged. Connections live on through a renewal. Those
made by a certificate whose authority or serial number is not trusted any more are closed, and made anew if they still may.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import structlog

from cashy.core.certificate_age import Age, age_of, is_worth_saying
from cashy.errors import ConfigError
from cashy.limits import CERTIFICATE_CHECK_S
from cashy.peer.tls import PeerTls, TlsFiles, load_peer_tls
from cashy.settings import ClusterSettings

__all__ = ["ClusterTls", "make_tls", "watched_tls"]

_log = structlog.get_logger("cashy.master")


def make_tls(cluster: ClusterSettings) -> PeerTls | None:
    """From checked settings; None: the hosts speak without. Raises ConfigError. Blocks."""
    files = _files_of(cluster)
    if files is None or cluster.host is None:
        return None
    return PeerTls(load_peer_tls(files, cluster.name, cluster.host), cluster.tls_refused)


def _files_of(cluster: ClusterSettings) -> TlsFiles | None:
    paths: tuple[Path | None, ...] = (cluster.tls_certificate, cluster.tls_key, cluster.tls_ca)
    certificate, key, authorities = paths
    return TlsFiles(certificate, key, authorities) if certificate and key and authorities else None


def watched_tls(tls: PeerTls | None, trust_changed: Callable[[bool], None]) -> ClusterTls | None:
    """A :class:`ClusterTls` where there are certificates."""
    return None if tls is None else ClusterTls(tls, trust_changed)


class ClusterTls:
    """``tls`` is what all connections use; ``trust_changed`` is told which connections may not go on (see :class:`cashy.peer.server.PeerServer`)."""

    def __init__(
        self,
        tls: PeerTls,
        trust_changed: Callable[[bool], None],
        *,
        now: Callable[[], float] = time.time,
        log: Any = _log,
    ) -> None:
        self._tls = tls
        self._trust_changed = trust_changed
        self._now = now
        self._log = log
        self._reading = asyncio.Lock()
        self._told: tuple[Age, float] | None = None

    @property
    def expires_in_s(self) -> float:
        """Until this host's certificate ends, by the wall clock; negative: it has."""
        return self._tls.loaded.expires_at_s - self._now()

    def levels(self) -> dict[str, int]:
        """Figures by name; one that has expired counts no further than 0."""
        return {"certificate_expires_s": max(0, int(self.expires_in_s))}

    async def reload(self, cluster: ClusterSettings) -> None:
        """Reads the files again, and goes on with them and with ``tls_refused``. What is wrong with them is logged."""
        files = _files_of(cluster)
        assert files is not None  # settings that would change it need a restart
        assert cluster.host is not None
        async with self._reading:  # what is asked for last is what stays
            await self._reload(files, cluster.name, cluster.host, cluster.tls_refused)

    async def _reload(self, files: TlsFiles, name: str, host: str, refused: Iterable[int]) -> None:
        loaded = self._tls.loaded
        try:
            loaded = await asyncio.to_thread(load_peer_tls, files, name, host)
        except ConfigError as error:
            self._log.error(
                "the cluster's certificates were not read again, those before stay in use",
                reason=error.message,
            )
        else:
            self._log.info("the cluster's certificates were read again", serial=f"{loaded.serial:x}")
        is_less = self._tls.adopt(loaded, refused)
        self._trust_changed(is_less)
        self._told = None
        self.look()

    async def watch(self) -> None:
        """Looks at the age of the certificate for as long as the master runs."""
        while True:
            self.look()
            await asyncio.sleep(CERTIFICATE_CHECK_S)

    def look(self) -> None:
        """Says how long the certificate lasts if that is not long, once a day and whenever it becomes more urgent."""
        now, left_s = self._now(), self.expires_in_s
        age = age_of(left_s)
        if not is_worth_saying(age, now, self._told):
            return
        self._told = age, now
        advice = "issue another one (`cashy ca issue`), install it and reload"
        if age is Age.EXPIRED:
            self._log.error(
                "this host's certificate has expired: no other host lets it in",
                advice=advice,
                days_ago=round(-left_s / 86400, 1),
            )
        else:
            self._log.warning(
                "this host's certificate expires soon", advice=advice, days_left=round(left_s / 86400, 1)
            )
