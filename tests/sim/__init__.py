"""A deterministic simulator: the real core and the real engine over an API server in memory.

One seed is one episode. `python -m tests.sim` runs many; see `episode.py` for what an episode is.
"""
