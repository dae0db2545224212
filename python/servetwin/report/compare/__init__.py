"""Results side by side.

`comparison.py` finds what differs; `terminal.py` and `page.py` show it.
"""
