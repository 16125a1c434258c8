"""A cluster of a thousand hosts, as discrete events: the real decisions of cashy, with network, disks, memory and origin in virtual time.

``python -m tests.simulation.cluster`` runs the scenarios at full size and writes docs/cluster-simulation.md and its pictures.
"""
