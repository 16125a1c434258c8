"""labshell: an interactive shell over a live environment of many hosts."""

__all__: list[str] = []
