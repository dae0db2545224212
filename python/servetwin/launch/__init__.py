"""Launch lines and manifests of engines, read as specs.

`table.py` says what is known of each flag, `words.py` and `manifest.py` find the flags, `arguments.py` reads them,
`make.py` makes a spec of them.
"""

from .make import Imported, import_file, import_line
from .table import Flag, Table, find_table
from .words import find_command, split

__all__ = ["Flag", "Imported", "Table", "find_command", "find_table", "import_file", "import_line", "split"]
