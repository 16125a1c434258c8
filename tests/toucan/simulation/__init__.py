"""A seeded simulation of order entry: the real core and the real loop, a venue that misbehaves, clients that resend, and processes that die anywhere.

One thread, one virtual clock, one random number generator: a seed gives the same run each time. ``python -m tests.toucan.simulation`` plays them.
"""
