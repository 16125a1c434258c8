"""What every agent does, as one table: :data:`CASES`. Whoever makes another kind of agent runs it on that (see ``test_conformance.py``).

A case gets a :class:`World` of its own: a folder on the host, an environment's name, and agents to ask. What it needs of the host is named
beside it, so that an agent which only pretends (:mod:`labtest.hosts.memory`) skips what it does not claim.
"""

from __future__ import annotations

from tests.labtest.agent import kit_commands, kit_files, kit_units
from tests.labtest.agent.kit import CASES, Case, Need, World, refused

__all__ = ["CASES", "Case", "Need", "World", "kit_commands", "kit_files", "kit_units", "refused"]
