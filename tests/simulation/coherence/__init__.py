"""A seeded simulator of readers, writers and faults: the real masters and clients under virtual time, checked against a simple reference model.

``python -m tests.simulation.coherence --seed N`` repeats one run, ``--seeds A:B`` makes many, ``--hours H`` as many as there is time for.
"""
