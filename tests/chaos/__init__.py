"""Chaos on a real cluster: faults, a recorder of what the API server committed, and a checker that decides.

`python -m tests.chaos` runs it; README.md says what each scenario proves.
"""
