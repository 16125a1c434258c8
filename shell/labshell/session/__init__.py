"""A live environment as the shell has it: connections, what was heard over them, what is wanted, and the plans between."""

__all__: list[str] = []
