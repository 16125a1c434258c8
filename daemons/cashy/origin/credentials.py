"""Credentials for an S3 store, from botocore's chain, without ever blocking the loop.

*Law.* botocore finds and refreshes credentials (environment, files, SSO, container and instance services); it
does so with blocking calls, so each of those is made in a thread, and the loop only ever sees frozen ones. A
refresh begins when botocore advises it (15 min before the end), while the old ones are still good; only with
none that are good do requests wait, and all for the same refresh. A refresh that fails costs nothing as long as the
old ones have not ended, and is tried again after a pause; then requests are refused with the reason, and after
that are told at once for a moment, so that a service that is down is not asked once per request.
botocore is imported when it is needed: it takes 0.3 s, and a host with directories only does without.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from cashy.errors import AccessDenied, CashyError
from cashy.origin.s3_sign import Secrets

__all__ = ["Credentials", "CredentialSource", "default_credentials"]

EXPIRY_MARGIN_S = 60
"""Credentials that end sooner are not used while better ones can be had: a request may wait in a queue, and clocks
differ.
"""

REFRESH_RETRY_S = 15.0
"""Pause after a refresh while the old credentials are still good."""

REFUSED_FOR_S = 1.0
"""So long requests are refused without another try, after a refresh failed and nothing good is left."""

Waiter: TypeAlias = "Callable[[CashyError | None], None]"


class Credentials(Protocol):
    """What is used of ``botocore.credentials.Credentials``; refreshable ones have ``refresh_needed`` as well."""

    def get_frozen_credentials(self) -> Any:
        """Gives an object with access_key, secret_key and token. Blocks if a refresh is due."""
        ...


async def default_credentials() -> Credentials | None:
    """Walks the usual AWS chain, in a thread; None if nothing is configured anywhere."""

    def find() -> Any:
        import botocore.session

        return botocore.session.Session().get_credentials()

    found: Credentials | None = await asyncio.to_thread(find)
    return found


class CredentialSource:
    """The credentials of one origin. ``None`` means requests go unsigned."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials
        self._refresh_needed = getattr(credentials, "refresh_needed", None)
        self._frozen: Secrets | None = None
        self._waiting: list[Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._retry_at = 0.0
        self._refused: AccessDenied | None = None
        self._refused_until = 0.0
        self.refreshes_total = 0
        self.failures_total = 0
        if credentials is not None and self._refresh_needed is None:
            self._frozen = _freeze(credentials)

    @property
    def secrets(self) -> Secrets | None:
        """The latest frozen ones: to be used after :meth:`is_ready` said so. None: send unsigned."""
        return self._frozen

    @property
    def waiting(self) -> int:
        """How many wait for a refresh."""
        return len(self._waiting)

    def is_ready(self) -> bool:
        """Tells whether requests can be signed now; starts a refresh when one is advised. Never blocks."""
        if self._refresh_needed is None:
            return True
        may_wait = asyncio.get_running_loop().time() >= self._retry_at
        if self._frozen is None or self._refresh_needed(EXPIRY_MARGIN_S if may_wait else 0):
            return False
        if may_wait and self._refresh_needed():
            self._start()
        return True

    def when_ready(self, waiter: Waiter) -> None:
        """Calls ``waiter`` later on the loop: with None when requests can be signed, or with why they cannot."""
        loop = asyncio.get_running_loop()
        if self._refused is not None and loop.time() < self._refused_until:
            loop.call_soon(waiter, AccessDenied(self._refused.message))
            return
        self._waiting.append(waiter)
        self._start()

    async def close(self) -> None:
        """Gives up a refresh under way; those who wait are told."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh())

    async def _refresh(self) -> None:
        error: AccessDenied | None = AccessDenied(
            "the credentials were still being fetched when the origin was closed"
        )
        try:
            error = self._take(await asyncio.to_thread(_try_to_freeze, self._credentials))
        finally:
            now_s = asyncio.get_running_loop().time()
            self._task = None
            self._retry_at = now_s + REFRESH_RETRY_S
            self._refused, self._refused_until = error, now_s + REFUSED_FOR_S
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                waiter(error)

    def _take(self, found: Secrets | AccessDenied) -> AccessDenied | None:
        """Keeps what a refresh brought; gives why requests cannot be signed now, None if they can."""
        if isinstance(found, AccessDenied):
            self.failures_total += 1
            is_good = self._frozen is not None and not self._has_ended()
            return None if is_good else found
        if found == self._frozen and self._refresh_needed is not None and self._refresh_needed():
            self.failures_total += 1  # botocore goes on with the old ones without a word
        else:
            self.refreshes_total += 1
        self._frozen = found
        return None

    def _has_ended(self) -> bool:
        return self._refresh_needed is None or bool(self._refresh_needed(0))


def _try_to_freeze(credentials: Any) -> Secrets | AccessDenied:
    try:
        return _freeze(credentials)
    except Exception as failure:  # providers raise what their libraries raise, also what no future can carry
        return AccessDenied(f"no credentials could be had from the AWS chain: {failure}")


def _freeze(credentials: Any) -> Secrets:
    frozen = credentials.get_frozen_credentials()
    return Secrets(frozen.access_key, frozen.secret_key, frozen.token or None)
