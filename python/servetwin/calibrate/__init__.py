"""Fits a timing to measurements, through the simulator.

`read.py` finds the format of a file, `formats/` read them into `measured.py`'s requests and points, and `possible.py`
refuses what the spec cannot have produced. `runs.py` sends the same requests through the simulator, `groups.py`
compares, `fit.py` looks for the terms (`ranges.py`) with `solve.py`, and `make.py` makes the profile.
"""

from .make import Calibration, calibrate

__all__ = ["Calibration", "calibrate"]
