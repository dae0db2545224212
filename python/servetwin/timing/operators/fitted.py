"""The fitted curves, by operator, kind (a format, or what it is among how many ranks) and GPU."""

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
def _file(operator: str) -> dict[str, Any]:
    file = resources.files(__package__).joinpath("coefficients", f"{operator}.json")
    return json.loads(file.read_text())  # type: ignore[no-any-return]


def provenance() -> str:
    """What the coefficients were fitted to."""
    return str(_file("gemm")["source"])


def basis(gpu: str) -> str | None:
    """Whose timings stand for this GPU: its own, a relative's, or nobody's."""
    known = _file("gemm")["curves"]["bf16"]
    if gpu in known:
        return gpu
    return RELATIVES.get(gpu)


def kinds(operator: str, gpu: str) -> list[str]:
    """Those of an operator that were measured on `gpu`, as `basis` names it."""
    return [kind for kind, curves in _file(operator)["curves"].items() if gpu in curves]


@cache
def operator_curve(operator: str, kind: str, gpu: str) -> Curve | None:
    """`gpu` as `basis` names it; None where nothing was measured."""
    found = _file(operator)["curves"].get(kind, {}).get(gpu)
    return None if found is None else curve_from(found)


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
        error=written["error"],
    )
