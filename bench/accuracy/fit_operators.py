"""Fits the curves of `servetwin.timing.operators` and writes their coefficients.

    pip install aiconfigurator-core==0.12.0 numpy && python bench/accuracy/fit_operators.py

Least squares of log(measured / (roofline + floor)) on the curve's terms, over four fifths of the shapes, weighted
toward the least absolute error. `servetwin accuracy operators` shows the errors on the fifth that is kept out.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from pathlib import Path

import numpy as np

import servetwin.timing.operators
from servetwin.accuracy.timings import SYSTEMS, Timing, data_folder, timings
from servetwin.timing.operators.curve import terms

OPERATORS = ("gemm", "prefill_attention", "decode_attention", "all_reduce")
SOURCE = "aiconfigurator-core 0.12.0, kernels of vLLM 0.24 (A100: 0.14)"
MOST = 8000
ROUNDS = 6
LEAST_RESIDUAL = 0.03
SMALLEST = 1e-5
"""Singular values below this share of the largest are left out: directions in which nothing was measured."""


def fit(shapes: list[Timing]) -> dict[str, object]:
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
    return {
        "floor_us": round(floor * 1e6, 4),
        "exponent": [round(float(value), 4) for value in np.percentile(y, (0.1, 99.9))],
        "low": [round(float(value), 4) for value in regimes.min(axis=0)],
        "high": [round(float(value), 4) for value in regimes.max(axis=0)],
        "coefficients": [float(f"{value:.6g}") for value in found],
    }


def main() -> None:
    folder = data_folder(None)
    curves: dict[str, dict[str, dict[str, object]]] = {operator: defaultdict(dict) for operator in OPERATORS}
    for operator in OPERATORS:
        for system, gpu in SYSTEMS.items():
            kinds: dict[str, list[Timing]] = defaultdict(list)
            for one in timings(folder, operator, system):
                if not one.held_out:
                    kinds[one.kind].append(one)
            for kind, shapes in kinds.items():
                if len(shapes) > MOST:
                    shapes = random.Random(0).sample(shapes, MOST)
                if len(shapes) >= 2 * len(terms(shapes[0].load.regime, shapes[0].load.corrections)):
                    curves[operator][kind][gpu] = fit(shapes)
            print(operator, gpu, {kind: len(shapes) for kind, shapes in kinds.items()})
    file = Path(servetwin.timing.operators.__file__).with_name("coefficients.json")
    lines = json.dumps({"source": SOURCE, "curves": curves}, indent=1)
    file.write_text(compact(lines) + "\n")


def compact(text: str) -> str:
    """Lists of numbers on one line."""
    import re

    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda found: "[" + " ".join(found[1].split()) + "]", text)


if __name__ == "__main__":
    main()
