"""Intervals beside runs that were measured, none of which the models were fitted to.

LLMServingSim's two recorded runs (casys-kaist/LLMServingSim, bench/examples): vLLM 0.19, Llama 3.1 8B, 300 requests of
ShareGPT each, with the times of every request.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...calibrate.measured import Measurement
from ...calibrate.read import read_measurements
from ...calibrate.runs import loads
from ...errors import MissingDataError
from ...replication import replicate
from ...spec import make_spec
from ...units import PS_PER_MS

RUNS: Mapping[str, dict[str, Any]] = {
    "RTX4090_Llama-3.1-8B": {"gpu": "rtx4090", "engine": {"max_num_seqs": 256, "max_model_len": 32768}},
    "RTXPRO6000_Llama-3.1-8B": {"gpu": "rtx-pro-6000", "engine": {"max_num_seqs": 128}},
}
"""What was run, as far as it differs; GPU and engine are as the runs' `meta.json` says."""

ALIKE: dict[str, Any] = {"version": "0.19", "max_num_batched_tokens": 2048}

STATISTICS = ("mean", "p50", "p90", "p95", "p99")

REPLICATIONS = 40


@dataclass(frozen=True)
class Figure:
    """A metric of a run: as measured, as simulated, and the interval."""

    run: str
    metric: str
    measured: float
    simulated: float
    low: float
    high: float

    @property
    def held(self) -> bool:
        return self.low <= self.measured <= self.high


def figures(data: Path | None = None) -> Iterator[Figure]:
    """Run by run. Raises MissingDataError where the recordings are not there."""
    folder = (data or Path(os.environ.get("SERVETWIN_DATA", "../shared/data"))) / "measured" / "llmservingsim"
    missing = [name for name in RUNS if not (folder / name / "requests.jsonl").is_file()]
    if missing:
        raise MissingDataError(
            f"has no run {missing[0]}", file=str(folder), wanted="LLMServingSim's bench/examples, or SERVETWIN_DATA"
        )
    for name, options in RUNS.items():
        engine = ALIKE | options["engine"]
        spec = make_spec({"model": "llama-3.1-8b", **options, "engine": engine, "workload": {"trace": "measured"}})
        [load] = loads(spec, read_measurements(folder / name))
        result = replicate(spec, load.trace, replications=REPLICATIONS)
        assert result.replications is not None
        for metric, value in _measured(load.measurement).items():
            found = result.replications.intervals[metric]
            yield Figure(name, metric, value, result.summary[metric], found.low, found.high)


def _measured(measurement: Measurement) -> dict[str, float]:
    """As the summary of a result names them."""
    requests = measurement.requests
    times = {
        "ttft_ms": [one.ttft_ps / PS_PER_MS for one in requests],
        "tpot_ms": [one.tpot_ps / PS_PER_MS for one in requests if one.tpot_ps is not None],
        "e2e_ms": [one.latency_ps / PS_PER_MS for one in requests],
    }
    return {f"{name}.{which}": _statistic(values, which) for name, values in times.items() for which in STATISTICS}


def _statistic(values: list[float], which: str) -> float:
    if which == "mean":
        return statistics.fmean(values)
    return statistics.quantiles(values, n=100, method="inclusive")[int(which.removeprefix("p")) - 1]
