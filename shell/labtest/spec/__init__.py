"""The spec of an environment: a TOML file, read strictly, with overlays and variables, and the folder around it."""

from labtest.spec.read import SpecErrors, read_environment
from labtest.spec.sources import Sources

__all__ = ["Sources", "SpecErrors", "read_environment"]
