"""What the shell decides, without a terminal or a host: parsing, inference, completion, folding."""

__all__: list[str] = []
