"""Launch files: a spec as the commands and manifests that start it.

`write` is the way in; `flags` turns a pool's options back into its engine's flags, `process` adds what a hand-over and
a port need, and each target has a module that wraps processes in its own kind of file.
"""

from .diff import Difference, differences
from .write import TARGETS, Written, write

__all__ = ["TARGETS", "Difference", "Written", "differences", "write"]
