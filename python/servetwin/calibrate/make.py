"""Measurements and a spec to a profile."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._core import __version__
from ..errors import InputError
from ..native import numbers
from ..spec import Spec
from ..timing.profile import Domain, Error, FittedTerm, Made, Profile
from ..timing.profile import Source as ProfileSource
from ..timing.terms import REQUEST
from .fit import Fit, Judged, Runs, fit, judge
from .groups import MetricError, errors, groups, saturated
from .measured import Measurement
from .possible import check_possible
from .ranges import TermRange, ranges
from .read import read_measurements
from .runs import Load, Simulator, loads


@dataclass(frozen=True)
class Calibration:
    """What was fitted, and how well. `before` and `after`: errors by metric without the terms and with them, where
    they were fitted; `waited`: by load, how many requests waited, and the errors of their means with the terms."""

    profile: Profile
    measurements: list[Measurement]
    ranges: list[TermRange]
    fit: Fit
    judged: Judged
    before: dict[str, MetricError]
    after: dict[str, MetricError]
    waited: dict[str, tuple[int, dict[str, float]]]


def calibrate(
    paths: Sequence[Path],
    spec: Spec,
    *,
    beside: Path,
    fixed: Collection[str] = (),
    told: Callable[[int], None] = lambda count: None,
) -> Calibration:
    """Fits the terms of the spec's timing to measurements.

    Args:
        paths: files or folders, of any format that is known.
        spec: of the deployment that was measured; its workload is not read.
        beside: the folder that the profile will lie in, which paths in it start from.
        fixed: terms that are left as they are.
        told: called with 1 after each simulation.

    Raises:
        InputError: measurements that cannot be read, are of another deployment, or too few.
        SpecError: a spec that cannot be run, or whose timing has no terms.
    """
    simulator = Simulator(spec)
    read = [one for path in paths for one in read_measurements(path)]
    measurements = [check_possible(simulator, one) for one in read]
    every = loads(spec, measurements)
    clients = {one.front_end for one in measurements}
    if len(clients) > 1:
        raise InputError(
            "times of clients and times from inside the engine cannot be fitted together",
            file=next(one.name for one in measurements if not one.front_end),
            wanted="two profiles, or measurements of one kind",
        )
    found = ranges(simulator, client=clients == {True})
    unknown = sorted(set(fixed) - {one.name for one in found})
    if unknown:
        raise InputError(
            "no term of this timing", file="--fix", found=unknown[0], wanted=", ".join(one.name for one in found)
        )
    runs = Runs(simulator, told)
    judged = judge(runs, every, found, fixed)
    of = [group for load in every for group in groups(load)]
    fitted = fit(runs, of, found, fixed)
    start = {one.name: one.start for one in found}
    terms = start | fitted.terms
    waited = {load.name: saturated(load, runs.of(load, terms)) for load in every}
    return Calibration(
        profile=_profile(spec, simulator, every, found, fitted, judged, beside),
        measurements=measurements,
        ranges=found,
        fit=fitted,
        judged=judged,
        before=errors(runs.pairs(of, start)),
        after=errors(runs.pairs(of, terms)),
        waited={name: one for name, one in waited.items() if one is not None},
    )


def _profile(
    spec: Spec,
    simulator: Simulator,
    every: list[Load],
    found: list[TermRange],
    fitted: Fit,
    judged: Judged,
    beside: Path,
) -> Profile:
    by_name = {one.name: one for one in found}
    start = {one.name: one.start for one in found}
    terms = {
        name: FittedTerm(
            value=round(value, 6), std=round(fitted.stds[name], 6), low=by_name[name].low, high=by_name[name].high
        )
        for name, value in fitted.terms.items()
    }
    held_out = {
        name: Error(mean=round(one.mean, 5), median_group=round(one.median_group, 5))
        for name, one in judged.errors.items()
    }
    spread = judged.errors.get("tpot") or judged.errors["latency"]
    return Profile(
        servetwin_profile=1,
        servetwin=__version__,
        fitted_for=Made.of(spec),
        over=_over(spec, simulator, fitted, beside),
        terms=terms,
        fixed=fitted.fixed,
        correlation=fitted.correlation,
        spread=round(spread.median_group, 5),
        held_out=held_out,
        held_out_by=judged.by,
        domain=_domain(simulator, every, start | fitted.terms),
        sources=_sources(every, beside),
    )


def _over(spec: Spec, simulator: Simulator, fitted: Fit, beside: Path) -> dict[str, Any]:
    """The timing, its path as it is from beside the profile. Times from inside the engine have no front end."""
    over: dict[str, Any] = {"kind": simulator.timing.kind, **simulator.timing.model_dump(exclude_unset=True)}
    if "path" in over:
        path = spec.source.path(("timing", "path"), over["path"])
        over["path"] = os.path.relpath(path.absolute(), beside.absolute())
    if REQUEST in fitted.terms:
        over.pop(REQUEST, None)
    return over


def _sources(every: list[Load], beside: Path) -> list[ProfileSource]:
    seen: dict[str, ProfileSource] = {}
    for load in every:
        one = load.measurement
        seen[one.name] = ProfileSource(
            file=one.name,
            format=one.format,
            sha256=one.sha256,
            requests=len(one.requests) or sum(point.requests for point in one.points),
            left_out=dict(one.left_out),
        )
    return list(seen.values())


def _domain(simulator: Simulator, every: list[Load], terms: Mapping[str, float]) -> Domain:
    """Of the runs at the fitted terms: what they were in the middle of is what was measured."""
    engine = simulator.deployment.first.engine
    batch, context, rates, prompts = 1, 1, [], []
    for load in every:
        run = simulator.run(load, terms)
        running, used = (numbers(run.series(name), "I") for name in ("running", "used_blocks"))
        batch = max(batch, *running)
        ends = numbers(run.column("last_token_ps"), "q")
        lengths = numbers(load.trace.column("input_tokens"), "I")
        totals = [new + out for new, out in zip(lengths, numbers(run.column("output_tokens"), "I"), strict=True)]
        means = [blocks * engine.block_tokens // rows for rows, blocks in zip(running, used, strict=True) if rows]
        context = max(context, min(max(means, default=max(totals)), max(totals)))
        rates.append(len(lengths) / max(max(ends) / 1e12, 1e-9))
        prompts += [min(lengths), max(lengths)]
    return Domain(
        pass_tokens=min(engine.pass_tokens, max(prompts) + batch),
        batch=batch,
        context_tokens=context,
        prompt_tokens=(min(prompts), max(prompts)),
        requests_per_s=(round(min(rates), 4), round(max(rates), 4)),
    )
