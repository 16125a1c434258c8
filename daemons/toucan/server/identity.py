"""Who asks: from the certificate or token of a call to a user, and the users file as it changes.

With ``tls_client_ca`` a client's certificate says who he is, and TLS has verified it before anything gets here. Otherwise it is a token, in the
metadata ``authorization: Bearer …``. A token is believed only as far as the connection that brings it can be, hence
:meth:`toucan.server.settings.ServerSection.check`. With a ``local_user`` everyone is that one.

The users file is looked at in a thread, so that a slow disk holds up nobody. A new file that cannot be used is reported and the old one stays in
force. What changes for somebody's open streams is told to :attr:`Authority.on_change`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from toucan.errors import InvalidSettings
from toucan.server.entitlements import User
from toucan.server.errors import NotAuthenticated
from toucan.server.files import stamp
from toucan.server.limits import USERS_CHECK_S
from toucan.server.users import Credential, Users, load_users, local_users

if TYPE_CHECKING:
    from toucan.server.transport import FrontSection

__all__ = ["Authority", "CallPeer", "Certificates", "Identity"]

_log = structlog.get_logger("toucan.server")
_BEARER = "bearer "


class Identity(msgspec.Struct, frozen=True):
    """A user, and how he has shown that he is it."""

    user: User
    credential: Credential


class CallPeer(Protocol):
    """What is needed of a ``grpc.aio.ServicerContext``."""

    def auth_context(self) -> Mapping[str, list[bytes]]:
        """What TLS knows of the peer."""

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...] | None:
        """What the client sent beside its message."""


class Certificates(Protocol):
    """A server's certificates, as :class:`toucan.server.tls.Tls` has them."""

    def reload(self, *, is_asked: bool) -> bool:
        """Reads them again if they have changed or it ``is_asked`` for; False: they have not. Blocks. Raises InvalidSettings."""


class Authority:
    """Knows all users. Raises :class:`~toucan.errors.InvalidSettings` if there is no usable users file to begin with."""

    def __init__(self, section: FrontSection, tls: Certificates | None) -> None:
        self._file = section.users_file
        self._tls = tls
        self._by_certificate = bool(section.tls_client_ca)
        self._seen = stamp(self._file)
        self.users = local_users(section.local_user) if self._file is None else load_users(self._file)
        #: Whose every call is, where nobody is asked who he is.
        self._local = _everyone(self.users, section.local_user)
        self._reload_wanted = asyncio.Event()
        #: Called on the loop after the users have changed.
        self.on_change: Callable[[], None] = lambda: None

    # ------------------------------------------------------------ who asks

    def identify(self, peer: CallPeer) -> Identity:
        """Whose call this is. Raises :class:`~toucan.server.errors.NotAuthenticated`."""
        if self._local is not None:
            return self._local
        found = self._certified(peer) if self._by_certificate else self._token_holder(peer)
        return Identity(*found)

    def _certified(self, peer: CallPeer) -> tuple[User, Credential]:
        known = peer.auth_context()
        raw = [*known.get("x509_common_name", ()), *known.get("x509_subject_alternative_name", ())]
        names = [name.decode("utf-8", "replace") for name in raw]
        found = self.users.by_certificate(names)
        if found is None:
            raise NotAuthenticated(
                f"no user has a certificate of these names: {', '.join(name[:80] for name in names[:4])}"
            )
        return found

    def _token_holder(self, peer: CallPeer) -> tuple[User, Credential]:
        header = next(
            (value for key, value in peer.invocation_metadata() or () if key == "authorization"), None
        )
        if not isinstance(header, str):
            raise NotAuthenticated("there is no token; send the metadata `authorization: Bearer TOKEN`")
        if header[: len(_BEARER)].lower() != _BEARER:
            raise NotAuthenticated("the metadata `authorization` is not of the form `Bearer TOKEN`")
        found = self.users.by_token(header[len(_BEARER) :].strip())
        if found is None:
            raise NotAuthenticated("this token is nobody's")
        return found

    def renewed(self, identity: Identity) -> Identity | None:
        """The same person as the users file has him now; None: his credential is no longer taken."""
        user = self.users.renewed(identity.user.name, identity.credential)
        return None if user is None else Identity(user, identity.credential)

    # ------------------------------------------------------------ the files, again

    def ask_for_reload(self) -> None:
        """The files shall be read again now (SIGHUP)."""
        self._reload_wanted.set()

    async def keep_current(self) -> None:
        """Reads the files again when they change or when it is asked for; for ever."""
        while True:
            try:
                async with asyncio.timeout(USERS_CHECK_S):
                    await self._reload_wanted.wait()
            except TimeoutError:
                is_asked = False
            else:
                is_asked = True
                self._reload_wanted.clear()
            await self.reload(is_asked=is_asked)

    async def reload(self, *, is_asked: bool) -> None:
        """Reads what has changed, or everything if it ``is_asked`` for. Never raises for what is in the files."""
        await self._reload_tls(is_asked)
        if self._file is None:
            return
        seen = await asyncio.to_thread(stamp, self._file)
        if not is_asked and seen == self._seen:
            return
        self._seen = seen
        try:
            users = await asyncio.to_thread(load_users, self._file)
        except InvalidSettings as error:
            _log.error("the users file was not read again, the one before stays in force", reason=str(error))
            return
        self.users = users
        _log.info("users read", users=len(users))
        self.on_change()

    async def _reload_tls(self, is_asked: bool) -> None:
        if self._tls is None:
            return
        try:
            if await asyncio.to_thread(self._tls.reload, is_asked=is_asked):
                _log.info("certificates read again")
        except InvalidSettings as error:
            _log.error("the certificates were not read again, those before stay in use", reason=str(error))


def _everyone(users: Users, local_user: str) -> Identity | None:
    """The local user, if there is one."""
    user = users.renewed(local_user, Credential()) if local_user else None
    return None if user is None else Identity(user, Credential())
