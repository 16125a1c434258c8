"""FIX 4.4 both ways: a venue behind a FIX session (``toucan fix NAME``), and FIX sessions in front of an exchange (``toucan fix-acceptor``).

What is said is :mod:`toucan.fix.core`; sessions, sequence numbers, resends and heartbeats are QuickFIX's, in a process of their own, so that nothing
which happens there touches the engine.
"""

__all__: list[str] = []
