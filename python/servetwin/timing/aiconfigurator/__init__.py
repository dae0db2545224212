"""Pass times by NVIDIA's AIConfigurator, where its core is installed.

`names.py`: its names of GPUs, models and formats. `curves.py`: its operators as curves of a pass.
"""

from .curves import Aiconfigurator, aiconfigurator
from .names import SYSTEMS

__all__ = ["SYSTEMS", "Aiconfigurator", "aiconfigurator"]
