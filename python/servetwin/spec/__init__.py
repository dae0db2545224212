"""What to run: one YAML file, read strictly.

Start with `deployment.py` (the whole file), then `load.py` (how errors get their lines) and `check.py`.
"""

from .deployment import Spec
from .load import load_spec, make_spec, vary

__all__ = ["Spec", "load_spec", "make_spec", "vary"]
