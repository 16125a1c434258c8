"""The program that runs on each host, and how it is talked to."""

__all__: list[str] = []
