"""Carrying plans out: the Choreographer, the environment's state folder, its lock and its journal."""

from labtest.deploy.deployment import Deployment, open_deployment
from labtest.deploy.errors import JournalFailed, NothingToGoBackTo, StateDamaged, StateNewer
from labtest.deploy.observing import observe_all
from labtest.deploy.outcome import Ending, Outcome, Prepared, Problem
from labtest.deploy.source import Source, SpecSource, who_is_here
from labtest.deploy.state_folder import Desired, KeptTarget, StateFolder

__all__ = [
    "Deployment",
    "Desired",
    "Ending",
    "JournalFailed",
    "KeptTarget",
    "NothingToGoBackTo",
    "Outcome",
    "Prepared",
    "Problem",
    "Source",
    "SpecSource",
    "StateDamaged",
    "StateFolder",
    "StateNewer",
    "observe_all",
    "open_deployment",
    "who_is_here",
]
