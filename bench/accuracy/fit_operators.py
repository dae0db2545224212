"""Fits the curves of `servetwin.timing.operators` and writes their coefficients.

    pip install aiconfigurator-core==0.12.0 numpy && python bench/accuracy/fit_operators.py [operator …]

Least squares of log(measured / (roofline + floor)) on the curve's terms, over four fifths of the shapes, weighted
toward the least absolute error. `servetwin accuracy operators` shows the errors on the fifth that is kept out.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

import servetwin.timing.operators
from servetwin.accuracy.readers import READERS
from servetwin.accuracy.readers.base import Timing
from servetwin.accuracy.timings import SYSTEMS, data_folder, timings
from servetwin.timing.operators.curve import Curve, terms
from servetwin.timing.operators.fitted import curve_from

SOURCE = "aiconfigurator-core 0.12.0, kernels of vLLM 0.24 (A100: 0.14{more})"
OTHERS = {
    "gemm": "; FP8 in blocks: TensorRT-LLM 1.3; FP8 of B200: SGLang 0.5.14",
    "latent_prompt": "; H100, H200, B300, GB200: TensorRT-LLM 1.3",
    "latent_decode": "; H100, H200, B300, GB200: TensorRT-LLM 1.3",
    "sparse_prompt": "; below 2,048 tokens: TensorRT-LLM 1.3",
    "collective": "; NCCL 2.27 to 2.29",
}
"""Of the kernels, those that are not vLLM's."""
MOST = 8000
LEAST = 2
"""Shapes for each coefficient; of fewer no curve is fitted."""
ROUNDS = 6
LEAST_RESIDUAL = 0.03
SMALLEST = 1e-5
"""Singular values below this share of the largest are left out: directions in which nothing was measured."""


def fit(shapes: list[Timing], held_out: list[Timing]) -> dict[str, Any]:
    # What the smallest of them take: launch and latency.
    floor = float(np.percentile([one.seconds for one in shapes], 0.5))
    regimes = np.array([one.load.regime for one in shapes])
    x = np.array([terms(one.load.regime, one.load.corrections) for one in shapes])
    y = np.log([one.seconds / (one.load.roofline_s + floor) for one in shapes])
    scale = np.abs(x).max(axis=0)
    scale[scale == 0] = 1
    weight = np.ones(len(y))
    for _ in range(ROUNDS):
        found = np.linalg.lstsq(x / scale * weight[:, None], y * weight, rcond=SMALLEST)[0] / scale
        weight = np.maximum(np.abs(x @ found - y), LEAST_RESIDUAL) ** -0.5
    written: dict[str, Any] = {
        "floor_us": round(floor * 1e6, 4),
        "exponent": [round(float(value), 4) for value in np.percentile(y, (0.1, 99.9))],
        "low": [round(float(value), 4) for value in regimes.min(axis=0)],
        "high": [round(float(value), 4) for value in regimes.max(axis=0)],
        "coefficients": [float(f"{value:.6g}") for value in found],
        "error": 0.0,
    }
    return written | {"error": error(curve_from(written), held_out or shapes)}


def error(curve: Curve, shapes: list[Timing]) -> float:
    """The median, of those that were kept from the fit."""
    return round(float(np.median([abs(curve.seconds(one.load) / one.seconds - 1) for one in shapes])), 4)


def some(shapes: list[Timing]) -> list[Timing]:
    return shapes if len(shapes) <= MOST else random.Random(0).sample(shapes, MOST)


def fit_operator(folder: Path, operator: str) -> dict[str, dict[str, Any]]:
    """By kind and GPU."""
    curves: dict[str, dict[str, Any]] = defaultdict(dict)
    for system, gpu in SYSTEMS.items():
        found: dict[tuple[str, bool], list[Timing]] = defaultdict(list)
        for one in timings(folder, operator, system):
            found[one.kind, one.held_out].append(one)
        for kind in dict.fromkeys(kind for kind, _ in found):
            shapes, held_out = some(found[kind, False]), some(found[kind, True])
            if shapes and len(shapes) >= LEAST * len(terms(shapes[0].load.regime, shapes[0].load.corrections)):
                curves[kind][gpu] = fit(shapes, held_out)
                print(operator, gpu, kind, len(shapes), f"{curves[kind][gpu]['error']:.1%}", flush=True)
    return curves


def main() -> None:
    folder = data_folder(None)
    target = Path(servetwin.timing.operators.__file__).with_name("coefficients")
    target.mkdir(exist_ok=True)
    for operator in sys.argv[1:] or READERS:
        text = json.dumps(
            {"source": SOURCE.format(more=OTHERS.get(operator, "")), "curves": fit_operator(folder, operator)}, indent=1
        )
        (target / f"{operator}.json").write_text(compact(text) + "\n")


def compact(text: str) -> str:
    """Lists of numbers on one line."""
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)


if __name__ == "__main__":
    main()
