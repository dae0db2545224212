"""Timings of one's own: of whole passes in one file, or of layers in a folder.

`read.py`: rows and their lines. `check.py`: what is wrong with them. `passes.py`, `layers.py`: tables from each form.
`model.py`: the model that can be lowered.
"""

from .model import TableModel, table_model

__all__ = ["TableModel", "table_model"]
