"""A run as a trace for Perfetto or chrome://tracing: every replica a process, every request on its lanes.

Start with `document.py`; `lanes.py` says which request goes where.
"""
