"""A deterministic simulation of the bank: real code of several actors over a simulated store, with every promise checked.

See docs/simulation.md; `make simulate` runs 20,000 histories, `python -m tests.simulation --seed 7 --trace` shows one.
"""
