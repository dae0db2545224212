"""Intervals beside runs that were measured, none of which the models were fitted to.

LLMServingSim's two recorded runs (casys-kaist/LLMServingSim, bench/examples): vLLM 0.19, Llama 3.1 8B, 300 requests of
ShareGPT each, with the times of every request.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...calibrate.formats.servingsim import read_servingsim
from ...calibrate.measured import Measurement
from ...calibrate.runs import loads
from ...replication import replicate
from ...spec import make_spec
from ...units import PS_PER_MS
from ..servingsim import RECORDED, data_folder, deployment

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
    """Run by run. `data` as `servingsim.data_folder` takes it. Raises MissingDataError without the recordings."""
    folder = data_folder(data)
    for recorded in RECORDED:
        ran, _ = deployment(folder, recorded, measured_blocks=True)
        spec = make_spec(ran | {"timing": "analytic"})
        (load,) = loads(spec, read_servingsim(folder / recorded.folder))
        result = replicate(spec, load.trace, replications=REPLICATIONS)
        assert result.replications is not None
        for metric, value in _measured(load.measurement).items():
            found = result.replications.intervals[metric]
            yield Figure(recorded.folder, metric, value, result.summary[metric], found.low, found.high)


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
