"""Hosts: what can be asked of one, and how each kind is reached."""

__all__: list[str] = []
