"""What single changes of a deployment do: simulated, with intervals from paired replications."""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError, SpecError
from ..replication import replicate
from ..result.intervals import quantile
from ..simulation import simulate
from ..spec import Spec
from .changes import Change

if TYPE_CHECKING:
    from .._core import Trace
    from ..result.result import Result

SHOWN = ("ttft_ms.p95", "itl_ms.p99", "output_tokens_per_s_per_gpu", "cost_per_million_output_tokens")
"""Beside the figure that decides."""

SAME = 0.002
"""A smaller relative effect is none."""


@dataclass(frozen=True)
class Effect:
    """Relative, -0.31 being 31 % less.

    Attributes:
        value: between the runs without draws.
        low, high: what the replications' pairs hold, with the confidence of `explain`.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Changed:
    """A change that was simulated.

    Attributes:
        gpus: more of them; fewer below 0.
        figure: the effect on what decides.
        effects: on other metrics, by name, as far as both runs have them.
        trouble: why the run is none to compare: it stalls, or serves nothing. Then there are no effects.
    """

    change: Change
    gpus: int
    figure: Effect | None
    effects: Mapping[str, Effect]
    trouble: str | None


def figure(spec: Spec, summary: Mapping[str, float]) -> str:
    """The metric that decides: the statistic nearest to the service level's limit, or furthest beyond it.

    A limit on requests counts at its attainment's percentile, taken as p95. Without a level, p95 of the latency.
    """
    nearest, figure = -math.inf, "e2e_ms.p95"
    for name in ("ttft_ms", "tpot_ms", "e2e_ms"):
        limit = None if spec.slo is None else getattr(spec.slo, name)
        limits = (
            {} if limit is None else {"p95": limit} if isinstance(limit, float) else limit.model_dump(exclude_none=True)
        )
        for statistic, most in limits.items():
            value = summary.get(f"{name}.{statistic}")
            if value is not None and value / most > nearest:
                nearest, figure = value / most, f"{name}.{statistic}"
    return figure


def tried(
    spec: Spec, trace: Trace, todo: list[Change], decides: str, base: Mapping[str, float], workers: int
) -> list[tuple[Change, float | None, str | None]]:
    """Each change on the whole workload: the relative effect on what decides, or the trouble."""

    def one(change: Change) -> tuple[Change, float | None, str | None]:
        try:
            run = simulate(change.spec, trace)
        except (SpecError, InputError) as error:
            return change, None, error.message
        if run.status == "stalled":
            return change, None, "it stalls"
        value, before = run.summary.get(decides), base[decides]
        if value is None:
            return change, None, "it serves nothing"
        return change, value / before - 1 if before else 0.0, None

    with ThreadPoolExecutor(workers, thread_name_prefix="servetwin-explain") as pool:
        return list(pool.map(one, todo))


def chosen(effects: list[tuple[Change, float | None, str | None]], most: int) -> list[Change]:
    """Those that help most, the best first, and those that hurt most, the worst last; one of each field and side."""
    known = sorted(
        ((effect, index, change) for index, (change, effect, _) in enumerate(effects) if effect is not None),
        key=lambda one: one[:2],
    )
    helps = _first_of_each_field([change for effect, _, change in known if effect < -SAME])[:most]
    hurts = _first_of_each_field([change for effect, _, change in reversed(known) if effect > SAME])[:most]
    return [*helps, *reversed(hurts)]


def _first_of_each_field(ordered: list[Change]) -> list[Change]:
    found: dict[str, Change] = {}
    for change in ordered:
        found.setdefault(change.path, change)
    return list(found.values())


def compared(
    base: Result, trace: Trace, todo: list[Change], decides: str, *, replications: int, confidence: float
) -> list[Changed]:
    """With intervals: each replication of a change meets the same errors and requests as the same of `base`."""
    found = []
    for change in todo:
        run = replicate(change.spec, trace, replications=replications, confidence=confidence)
        assert base.replications is not None
        assert run.replications is not None
        names = dict.fromkeys((decides, *SHOWN))
        effects = {}
        for name in names:
            if name not in base.summary or name not in run.summary or not base.summary[name]:
                continue
            pairs = zip(base.replications.values.get(name, ()), run.replications.values.get(name, ()), strict=False)
            ratios = [after / before - 1 for before, after in pairs if before and after is not None]
            if len(ratios) == replications:
                tail = (1 - confidence) / 2
                effects[name] = Effect(
                    run.summary[name] / base.summary[name] - 1, quantile(ratios, tail), quantile(ratios, 1 - tail)
                )
        figure = effects.pop(decides, None)
        trouble = None if figure is not None else "its replications do not all serve requests"
        found.append(Changed(change, change.spec.gpus - int(base.summary["gpus"]), figure, effects, trouble))
    return found
