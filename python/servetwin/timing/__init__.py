"""How long a forward pass takes, in integers, and how well that is known.

`base.py` holds the protocol; `select.py` picks the spec's model; `drafting.py` adds what drafts cost.
"""

from .base import Evidence, Lowered, PassLimits, TimingModel
from .drafting import with_drafting
from .select import lower, pass_limits, timing_model

__all__ = ["Evidence", "Lowered", "PassLimits", "TimingModel", "lower", "pass_limits", "timing_model", "with_drafting"]
