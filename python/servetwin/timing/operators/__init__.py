"""How long single operators take: matrix products, attention, all-reduces.

`load.py`: what an operator asks of a GPU. `curve.py`: how far from the GPU's peak it runs, as a smooth curve. The
curves' coefficients are fitted by `bench/accuracy/fit_operators.py`; `fitted.py` finds the one for a GPU.
"""

from .curve import Curve
from .fitted import basis, operator_curve, provenance
from .load import Load, all_reduce, decode_attention, gemm, prefill_attention

__all__ = [
    "Curve",
    "Load",
    "all_reduce",
    "basis",
    "decode_attention",
    "gemm",
    "operator_curve",
    "prefill_attention",
    "provenance",
]
