"""How long a forward pass takes, in integers, and how well that is known.

`base.py` holds the protocol; `select.py` picks the spec's model; `drafting.py` adds what drafts cost; `draws.py`
makes a model as it may really be, given its error; `profile.py` and `calibrated.py` are what a calibration fits.
"""

from .base import Evidence, Lowered, PassLimits, TimingModel
from .drafting import with_drafting
from .effective import front_end
from .select import StageModels, lower, pass_limits, stage_models, timing_model

__all__ = [
    "Evidence",
    "Lowered",
    "PassLimits",
    "StageModels",
    "TimingModel",
    "front_end",
    "lower",
    "pass_limits",
    "stage_models",
    "timing_model",
    "with_drafting",
]
