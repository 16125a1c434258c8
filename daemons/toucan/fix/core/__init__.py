"""FIX 4.4 as values: messages of the seam to lists of tags and back; no session, no socket, no clock, and no QuickFIX."""

__all__: list[str] = []
