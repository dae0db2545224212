"""`servetwin bench`: how long runs take and what memory they need, beside a peer's where there is one.

Open `cases.py` (what is run), then `session.py` (in which order) and `measure.py` (what is read from a process).
Every run is a process of its own, so that its memory and its whole time are a user's.
"""
