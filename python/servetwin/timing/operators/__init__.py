"""How long single operators take: matrix products, experts, attention of every kind, collectives.

`load.py` and its neighbours: what an operator asks of a GPU. `curve.py`: how far from the GPU's peak it runs, as a
smooth curve. The curves' coefficients, a file an operator in `coefficients/`, are fitted by
`bench/accuracy/fit_operators.py`; `fitted.py` finds the one for a GPU.
"""

from .attention import attention_kind, decode_attention, prefill_attention
from .collective import all_gather, all_reduce, combine, dispatch
from .curve import Curve
from .delta import convolution, delta_rule
from .fitted import basis, operator_curve, provenance
from .load import Load, gemm
from .mixture import experts
from .module import decode_module, prompt_module

__all__ = [
    "Curve",
    "Load",
    "all_gather",
    "all_reduce",
    "attention_kind",
    "basis",
    "combine",
    "convolution",
    "decode_attention",
    "decode_module",
    "delta_rule",
    "dispatch",
    "experts",
    "gemm",
    "operator_curve",
    "prefill_attention",
    "prompt_module",
    "provenance",
]
