"""What each line of a worker's log that is about a request says of it, so that it can be followed from its client to its object."""

from __future__ import annotations

from cashy.core.http_head import Request
from cashy.core.trace_context import trace_of

__all__ = ["PATH_CHARACTERS_MAX", "about"]

#: Of the path: longer ones are cut, as they are sent by whoever likes to.
PATH_CHARACTERS_MAX = 1200


def about(request: Request | None, request_id: str) -> dict[str, str]:
    """``request_id`` (``x-amz-request-id`` of the answer), ``method``, ``path`` as sent without its query, and the client's ``trace``, if any."""
    fields = {"request_id": request_id}
    if request is not None:
        fields["method"] = request.method.decode("latin-1")
        fields["path"] = request.path.decode("latin-1")[:PATH_CHARACTERS_MAX]
        trace = trace_of(request.headers)
        if trace:
            fields["trace"] = trace
    return fields
