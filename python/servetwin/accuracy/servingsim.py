"""LLMServingSim's runs of vLLM 0.19, with its timings of layers: what error schedule, cache and terms leave.

Two overloaded runs of 300 requests each (casys-kaist/LLMServingSim, bench/examples, MIT). Each is simulated with the
layers' timings as they are, with the number of cache blocks that the engine logged (only one did) and with ours; then
with terms that were fitted to the earlier half of its requests, and with those that fit the other run.
"""

from __future__ import annotations

import csv
import os
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from ..calibrate.fit import Runs, fit, judge
from ..calibrate.formats.servingsim import read_meta, read_servingsim
from ..calibrate.groups import MetricError, errors, groups, saturated
from ..calibrate.ranges import ranges
from ..calibrate.runs import Load, Simulator, loads
from ..errors import InputError, MissingDataError
from ..native import numbers
from ..spec import make_spec

MODEL = "llama-3.1-8b"
PROFILE = "meta-llama/Llama-3.1-8B/bf16"
SERIES_S = 0.05
"""Between samples of the simulated cache; the measured ones are a second apart."""


@dataclass(frozen=True)
class Recorded:
    """One of the runs: its folder, that of its GPU's timings, and the figures that LLMServingSim publishes of itself.

    `published`: errors of the means, as shares (validation/summary.txt at commit 030c1bc).
    """

    folder: str
    profile: str
    gpu: str
    published: dict[str, float]


RECORDED = (
    Recorded(
        "RTX4090_Llama-3.1-8B", "RTX4090", "rtx4090", {"ttft": 0.006, "tpot": 0.002, "latency": 0.005}
    ),
    Recorded(
        "RTXPRO6000_Llama-3.1-8B", "RTXPRO6000", "rtx-pro-6000", {"ttft": -0.040, "tpot": -0.010, "latency": -0.018}
    ),
)  # fmt: skip

PUBLISHED = "over its four published runs and their versions: TPOT ≤ 1.7 %, latency ≤ 2.2 %, TTFT −13.6 to +1.3 %"
TARGETS = {"ttft": 0.05, "tpot": 0.015, "latency": 0.02}
KV_TARGET = 0.03


@dataclass(frozen=True)
class Row:
    """Errors of one way to simulate a run. `waited`: of the requests that waited; `kv`: mean distance of the cache's
    use over time, as a share of the cache; None where that was not judged or not logged."""

    run: str
    how: str
    errors: dict[str, float]
    waited: dict[str, float] | None = None
    kv: float | None = None


def data_folder(given: Path | None) -> Path:
    """`given`, else `SERVETWIN_DATA` or ../shared/data. Raises MissingDataError without the runs."""
    folder = given or Path(os.environ.get("SERVETWIN_DATA", "../shared/data")) / "measured/llmservingsim"
    if not (folder / "profiles").is_dir():
        raise MissingDataError(
            "LLMServingSim's runs are not here",
            file=str(folder),
            wanted="a folder with its bench/examples and profiles, or SERVETWIN_DATA",
        )
    return folder


def servingsim_errors(folder: Path) -> Iterator[Row]:
    """Raises InputError for files that cannot be read."""
    fitted: dict[str, dict[str, float]] = {}
    prepared = []
    for recorded in RECORDED:
        simulator, load, logged = _prepared(folder, recorded, measured_blocks=True)
        yield Row(recorded.folder, "LLMServingSim, as published", recorded.published)
        if logged:
            derived, derived_load, _ = _prepared(folder, recorded, measured_blocks=False)
            how = f"layers as timed, {derived.deployment.first.engine.blocks:,} blocks as we derive"
            yield _row(folder, recorded, derived, derived_load, how, {})
        blocks = f"{simulator.deployment.first.engine.blocks:,} blocks {'as logged' if logged else 'as we derive'}"
        yield _row(folder, recorded, simulator, load, f"layers as timed, {blocks}", {})
        runs, found = Runs(simulator), ranges(simulator, client=False)
        judged = judge(runs, [load], found, ())
        fitted[recorded.folder] = fit(runs, groups(load), found, ()).terms
        how = "terms fitted to the earlier half, judged on the later"
        yield Row(recorded.folder, how, _means(judged.errors))
        terms = fitted[recorded.folder]
        yield _row(folder, recorded, simulator, load, f"fitted to all: {_told(terms)}", terms)
        prepared.append((recorded, simulator, load))
    for recorded, simulator, load in prepared:
        for other, terms in fitted.items():
            if other != recorded.folder:
                yield _row(folder, recorded, simulator, load, f"terms of {other}", terms)


def _told(terms: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in terms.items())


def _means(found: dict[str, MetricError]) -> dict[str, float]:
    return {name: one.mean for name, one in found.items()}


def deployment(folder: Path, recorded: Recorded, *, measured_blocks: bool) -> tuple[dict[str, Any], bool]:
    """The spec of what ran, without its timing; and whether the engine logged its blocks."""
    meta = read_meta(folder / recorded.folder / "meta.json")
    try:
        options = meta["engine_kwargs"]
        blocks = meta.get("kv_cache", {}).get("num_gpu_blocks")
        engine: dict[str, Any] = {
            "name": "vllm",
            "version": "0.19",
            **{name: options[name] for name in ("max_num_seqs", "max_num_batched_tokens")},
        }
    except (KeyError, TypeError, AttributeError):
        raise InputError(
            "lacks the engine's arguments", file=str(folder / recorded.folder / "meta.json"), field="engine_kwargs"
        ) from None
    if options.get("max_model_len"):
        engine["max_model_len"] = options["max_model_len"]
    if blocks and measured_blocks:
        engine["num_gpu_blocks"] = blocks
    return {"model": MODEL, "gpu": recorded.gpu, "engine": engine}, bool(blocks)


def _prepared(folder: Path, recorded: Recorded, *, measured_blocks: bool) -> tuple[Simulator, Load, bool]:
    """The deployment that ran, its requests, and whether the engine logged its blocks."""
    ran, logged = deployment(folder, recorded, measured_blocks=measured_blocks)
    path = str((folder / "profiles" / recorded.profile / PROFILE).absolute())
    timed = {"timing": {"kind": "table", "path": path}, "metrics": {"series_interval": SERIES_S}}
    spec = make_spec(ran | timed)
    simulator = Simulator(spec)
    (load,) = loads(spec, read_servingsim(folder / recorded.folder))
    return simulator, load, logged


def _row(folder: Path, recorded: Recorded, simulator: Simulator, load: Load, how: str, terms: dict[str, float]) -> Row:
    simulated = simulator.simulated(load, terms)
    waited = saturated(load, simulated)
    return Row(
        recorded.folder,
        how,
        _means(errors([(group, simulated) for group in groups(load)])),
        None if waited is None else waited[1],
        _cache_distance(folder / recorded.folder / "timeseries.csv", simulator, load, terms),
    )


def _cache_distance(file: Path, simulator: Simulator, load: Load, terms: dict[str, float]) -> float | None:
    """Mean distance of the share of the cache in use, second by second. Raises InputError."""
    try:
        with file.open(encoding="utf-8") as text:
            measured = [(float(row["t"]), float(row["kv_cache_pct"]) / 100) for row in csv.DictReader(text)]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"cannot be read: {error}", file=str(file), wanted="columns t and kv_cache_pct") from None
    if not any(share for _, share in measured):
        return None
    run = simulator.run(load, terms)
    times, used = numbers(run.series("time_ps"), "q"), numbers(run.series("used_blocks"), "I")
    blocks = simulator.deployment.first.engine.blocks

    def simulated(second: float) -> float:
        at = bisect_right(times, round(second * 1e12)) - 1
        return used[at] / blocks if 0 <= at < len(times) - 1 else 0.0

    return fmean(abs(simulated(second) - share) for second, share in measured)
