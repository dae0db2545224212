"""What a run left behind: the request table, the metrics, and where they come from.

Start with `result.py`; `store.py` writes and loads it, `invariants.py` says what always holds.
"""
