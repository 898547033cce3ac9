"""Bugs of other workflow engines, each as the situation that it came from.

docs/guarantees.md lists them, with the test that shows why each can't happen here; some of those are older than this
folder. What only a real cluster can show is in `tests/e2e/test_peers.py`.
"""
