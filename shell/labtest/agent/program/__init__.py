"""The program that runs on a host: Python's standard library from 3.9 on, and nothing of labtest but what is in this folder.

It is sent as it is here (:mod:`labtest.agent.payload`) and never written to the host's disk.
"""

__all__: list[str] = []
