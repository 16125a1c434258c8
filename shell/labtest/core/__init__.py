"""What is decided, without doing it: environments, targets, plans. Nothing here knows a socket, a loop, a clock or a file."""

__all__: list[str] = []
