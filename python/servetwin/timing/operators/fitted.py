"""The fitted curves, by operator, kind (a format, or a number of ranks) and GPU."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from .curve import Curve

RELATIVES = {
    "a100-40g": "a100-80g",
    "h100-pcie": "h100",
    "h100-nvl": "h100",
    "l4": "l40s",
    "rtx4090": "l40s",
}
"""GPUs without timings, and one of their generation with them: its distances from the peak are taken over."""


@cache
def _file() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("coefficients.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


def provenance() -> str:
    """What the coefficients were fitted to."""
    return str(_file()["source"])


def basis(gpu: str) -> str | None:
    """Whose timings stand for this GPU: its own, a relative's, or nobody's."""
    known = _file()["curves"]["gemm"]["bf16"]
    if gpu in known:
        return gpu
    return RELATIVES.get(gpu)


@cache
def operator_curve(operator: str, kind: str, gpu: str) -> Curve | None:
    """`gpu` as `basis` names it; None where nothing was measured."""
    found = _file()["curves"].get(operator, {}).get(kind, {}).get(gpu)
    if found is None:
        return None
    return curve_from(found)


def curve_from(written: dict[str, Any]) -> Curve:
    """As the file has it."""
    least, most = written["exponent"]
    return Curve(
        written["floor_us"] * 1e-6,
        least,
        most,
        low=tuple(written["low"]),
        high=tuple(written["high"]),
        coefficients=tuple(written["coefficients"]),
    )
