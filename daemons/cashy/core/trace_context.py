"""What an S3 client says of the trace that its request belongs to, so that our log can be found from there.

Law: pure. Two headers are understood: ``traceparent`` of W3C Trace Context (level 1, section 3.2) and ``X-Amzn-Trace-Id`` as AWS's load balancers
write it (Elastic Load Balancing, "Request tracing"). What is not exactly of that shape is nobody's trace: it comes from outside, and goes into a log.
The headers are passed on to the store as they came, since whoever stands on the way of a request passes them on. Nothing is made up where none came:
a request has an id of its own (``x-amz-request-id``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["TRACE_HEADERS", "trace_of"]

#: Passed on to stores.
TRACE_HEADERS = frozenset((b"traceparent", b"tracestate", b"x-amzn-trace-id"))

#: Of a later version more may follow; ids of zeros only are none.
_TRACEPARENT = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.{0,200})?"
)
_AMAZON = re.compile(rb"(?:^|;)\s*Root=(1-[0-9a-f]{8}-[0-9a-f]{24})(?:;|$)", re.IGNORECASE)


def trace_of(headers: Mapping[bytes, bytes]) -> str:
    """The trace's id; empty if the headers (lower-case names) name none."""
    parent = _TRACEPARENT.fullmatch(headers.get(b"traceparent", b""))
    if parent is not None:
        return parent[1].decode()
    root = _AMAZON.search(headers.get(b"x-amzn-trace-id", b"")[:512])
    return root[1].decode() if root is not None else ""
