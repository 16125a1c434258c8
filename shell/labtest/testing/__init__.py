"""Tests over live environments: what the pytest plugin and ``labtest run`` share."""

__all__: list[str] = []
