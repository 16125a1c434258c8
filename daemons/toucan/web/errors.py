"""What a gateway refuses beside what every front end does (:mod:`toucan.server.errors`)."""

from __future__ import annotations

import enum

__all__ = ["WebCode"]


class WebCode(enum.StrEnum):
    """Codes of refusals that a gateway makes itself."""

    #: The cookie's session has ended, or is none: log in again. (UNAUTHENTICATED)
    SESSION_ENDED = "SESSION_ENDED"
    #: A call came with a cookie and without the session's CSRF token. (PERMISSION_DENIED)
    CSRF_TOKEN_MISSING = "CSRF_TOKEN_MISSING"  # noqa: S105 - a code
    #: More requests of the user, or from the address, than there may be; nothing was done, send it again later. (RESOURCE_EXHAUSTED)
    TOO_MANY_REQUESTS = "TOO_MANY_REQUESTS"
