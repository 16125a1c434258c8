"""Simulations of many hosts with the real decisions (placement, admission, eviction) and nothing else of cashy.

``python -m tests.simulation.placement`` runs them at full size and writes docs/placement.svg and the tables of docs/placement.md.
"""
