"""Benchmarks of cashy against real programs: ``python -m tests.bench [--only NAME,NAME] [--quick]``; see docs/benchmarks.md.

Every row measures ours and its peer alternately in the same run on the same machine, so that only their ratio matters. A peer that is not
installed makes its row a loud skip, and no figure ever makes the run fail.
"""
