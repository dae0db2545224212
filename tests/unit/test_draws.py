"""Models drawn from what is known of their errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.catalog import resolve_engine
from servetwin.describe import resolve, with_error
from servetwin.reference.lowered import step_time
from servetwin.reference.step_time import Features
from servetwin.spec import make_spec
from servetwin.timing import pass_limits, timing_model
from servetwin.timing.base import Lowered, PassLimits
from servetwin.timing.draws import ErrorDraw, Scaled, drawn, scaled

OWN: dict[str, Any] = {"num_gpu_blocks": 4096, "max_model_len": 8192}
ANALYTIC = {"model": "llama-3.1-8b", "gpu": "h100"}
SPECS: list[Mapping[str, Any]] = [
    ANALYTIC,
    {**ANALYTIC, "timing": {"kind": "analytic", "compute_efficiency": 0.6}},
    {"timing": "polynomial", "engine": OWN},
    {"timing": {"kind": "linear", "base_ms": 5, "context_token_ms": 0.0001}, "engine": OWN},
]


def lowered(spec: Mapping[str, Any]) -> tuple[Lowered, PassLimits]:
    made = make_spec(spec)
    engine = resolve_engine(made)
    limits = pass_limits(engine)
    return timing_model(made, engine).lower(limits), limits


def features(rows: int, context: int, prompt: int, past: int) -> Features:
    return Features(
        prefill_tokens=prompt,
        prefill_work=prompt * (2 * past + prompt),
        prefill_context=past + prompt if prompt else 0,
        decode_rows=rows,
        draft_tokens=0,
        context=rows * context + (past + prompt if prompt else 0),
        sequences=rows + bool(prompt),
        ready_context=rows * context,
        ready_rows=rows,
    )


@pytest.mark.parametrize("spec", SPECS, ids=["curves", "roofline", "polynomial", "linear"])
@given(
    factor=st.floats(0.25, 4),
    pass_=st.tuples(st.integers(0, 200), st.integers(1, 4000), st.integers(0, 2000), st.integers(0, 4000)),
)
def test_every_pass_takes_so_many_times_as_long(
    spec: Mapping[str, Any], factor: float, pass_: tuple[int, int, int, int]
) -> None:
    rows, context, prompt, past = pass_
    prompt = prompt or int(rows == 0)
    before, limits = lowered(spec)
    after = scaled(before, factor, limits)
    work = features(rows, context, prompt, past if prompt else 0)
    was = step_time(before.description).picoseconds(work)
    now = step_time(after.description).picoseconds(work)
    # Knots keep their places, so what is left is rounding: of coefficients, of the factor, and of slopes.
    assert now == pytest.approx(was * factor, rel=1e-4, abs=after.error_ps)


def test_a_factor_of_one_changes_nothing() -> None:
    before, limits = lowered(ANALYTIC)
    assert scaled(before, 1.0, limits) is before


def test_draws_have_the_median_error_that_is_stated() -> None:
    spec = make_spec(ANALYTIC)
    model = timing_model(spec, resolve_engine(spec))
    assert model.spread > 0
    factors = []
    for replication in range(2000):
        one = drawn(model, ErrorDraw(7, replication))
        assert isinstance(one, Scaled)
        factors.append(math.log(one.factor))
    assert statistics.median(map(abs, factors)) == pytest.approx(model.spread, rel=0.08)
    assert abs(statistics.mean(factors)) < 3 * statistics.stdev(factors) / math.sqrt(len(factors))


def test_what_the_user_gives_is_taken_at_its_word() -> None:
    for options in SPECS[2:]:
        spec = make_spec(options)
        model = timing_model(spec, resolve_engine(spec))
        assert drawn(model, ErrorDraw(0, 1)) is model


def test_specs_that_are_compared_meet_the_same_errors() -> None:
    draws = [ErrorDraw(3, 5), ErrorDraw(3, 5)]
    one, other = (
        with_error(resolve(make_spec({**ANALYTIC, "gpu": gpu})), draw)
        for gpu, draw in zip(("h100", "h200"), draws, strict=True)
    )
    assert draws[0].normals == draws[1].normals != {}
    assert draws[0].normals != {"time": ErrorDraw(3, 6).normal("time")}
    sigmas = []
    for deployment in (one, other):
        timing = deployment.first.timing
        assert isinstance(timing, Scaled)
        sigmas.append(math.log(timing.factor) / timing.spread)
    assert sigmas[0] == pytest.approx(sigmas[1])
