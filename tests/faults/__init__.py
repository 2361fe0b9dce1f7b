"""The bank's promises on real stores: processes that are killed, and a network that cuts, delays and swallows.

See docs/simulation.md; `make faults` makes 50 runs, `python -m tests.faults --seed 7 --runs 1` the one of a seed.
"""
