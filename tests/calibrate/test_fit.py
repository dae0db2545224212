"""What was put in comes out: terms of simulated measurements are found again, or named as not told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.calibrate.fit import Runs, fit, judge
from servetwin.calibrate.groups import errors, groups
from servetwin.calibrate.ranges import ranges
from servetwin.calibrate.runs import Simulator, loads
from servetwin.calibrate.solve import Unknown, inverse, solve, solved
from servetwin.errors import InputError, SpecError

from .worlds import measured, spec

SIMULATOR = Simulator(spec())


@settings(max_examples=5, derandomize=True)
@given(st.floats(0.85, 1.3), st.floats(0.9, 1.4), st.floats(0, 30), st.integers(1, 50))
def test_known_terms_are_found_again(compute: float, memory: float, request: float, seed: int) -> None:
    truth = {"compute": compute, "memory": memory, "request_ms": request}
    (load,) = loads(SIMULATOR.spec, [measured(SIMULATOR, truth, seed=seed)])
    runs, found = Runs(SIMULATOR), ranges(SIMULATOR, client=True)
    fitted = fit(runs, groups(load), found, ["host_ms", "attention"])
    start = {one.name: one.start for one in found}
    after = errors(runs.pairs(groups(load), start | fitted.terms))
    assert all(abs(one.mean) < 0.03 for one in after.values()), "the means are met"
    for one in found:
        if one.name in truth:
            off = abs(one.inner(max(fitted.terms[one.name], 1e-9)) - one.inner(max(truth[one.name], 1e-9)))
            assert off < max(5 * fitted.stds[one.name], 0.05 if one.factor else 1.0), one.name


def test_terms_that_nothing_tells_are_fixed_and_named() -> None:
    """One request at a time, of short prompts: nothing is limited by arithmetic, and attention is a trifle."""
    made = measured(SIMULATOR, {"memory": 1.1})
    short = [one for one in made.requests if one.input_tokens < 700]
    spaced = [
        type(one)(one.at, i * 10**13, one.input_tokens, one.output_tokens, one.ttft_ps, one.latency_ps)
        for i, one in enumerate(short)
    ]
    made.requests = spaced
    (load,) = loads(SIMULATOR.spec, [made])
    fitted = fit(Runs(SIMULATOR), groups(load), ranges(SIMULATOR, client=True), ())
    assert "attention" in fitted.fixed
    assert "do not tell" in fitted.fixed["attention"]
    assert "attention" not in fitted.terms


def test_a_term_can_be_given() -> None:
    (load,) = loads(SIMULATOR.spec, [measured(SIMULATOR, {"memory": 1.2})])
    fitted = fit(Runs(SIMULATOR), groups(load), ranges(SIMULATOR, client=True), ["host_ms"])
    assert fitted.fixed["host_ms"] == "given"
    assert "host_ms" not in fitted.terms


def test_what_was_fitted_is_judged_on_the_later_half() -> None:
    (load,) = loads(SIMULATOR.spec, [measured(SIMULATOR, {"memory": 1.25, "host_ms": 1.0})])
    judged = judge(Runs(SIMULATOR), [load], ranges(SIMULATOR, client=True), ())
    assert judged.by == "the later half of the requests"
    assert all(abs(one.mean) < 0.05 for one in judged.errors.values())


def test_every_second_of_several_is_kept_back() -> None:
    made = [measured(SIMULATOR, {"memory": 1.2}, seed=seed) for seed in (1, 2, 3)]
    for number, one in enumerate(made):
        one.name = f"{number}.jsonl"
    judged = judge(Runs(SIMULATOR), loads(SIMULATOR.spec, made), ranges(SIMULATOR, client=True), ())
    assert judged.by == "every second of 3 measurements, by their load"


def test_fewer_data_than_terms_are_refused() -> None:
    made = measured(SIMULATOR, {})
    made.requests = made.requests[:20]
    (load,) = loads(SIMULATOR.spec, [made])
    with pytest.raises(InputError, match=r"2 measured means cannot tell 5 terms"):
        fit(Runs(SIMULATOR), groups(load), ranges(SIMULATOR, client=True), ())


def test_nothing_is_left_to_judge_by() -> None:
    made = measured(SIMULATOR, {})
    made.requests = made.requests[:20]
    (load,) = loads(SIMULATOR.spec, [made])
    with pytest.raises(InputError, match="cannot be parted"):
        judge(Runs(SIMULATOR), [load], ranges(SIMULATOR, client=True), ())


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"timing": {"kind": "linear", "base_ms": 5.0}, "model": "llama-3.1-8b"}, "not over linear"),
        ({"timing": {"kind": "polynomial"}}, "not over polynomial"),
        ({"pools": {"prefill": {}, "decode": {}}}, "one engine is calibrated at a time"),
    ],
)
def test_timings_without_terms_are_refused(changes: dict[str, object], wrong: str) -> None:
    with pytest.raises(SpecError, match=wrong):
        Simulator(spec(**changes))


def test_a_roofline_has_its_own_terms() -> None:
    simulator = Simulator(spec(gpu="mi300x"))
    assert [one.name for one in ranges(simulator, client=True)] == ["compute", "memory", "host_ms", "request_ms"]


@pytest.mark.parametrize("gpu", ["h100", "mi300x"])
def test_stages_have_their_terms_together(gpu: str) -> None:
    """Operators were measured of the first GPU, nothing of the second."""
    simulator = Simulator(spec(gpu=gpu, parallel={"pipeline": 2}))
    found = ranges(simulator, client=True)
    assert all(one.low < 1 for one in found if one.factor)
    truth = {"memory": 1.3, "compute": 1.2}
    (load,) = loads(simulator.spec, [measured(simulator, truth)])
    fitted = fit(Runs(simulator), groups(load), found, ["attention", "host_ms"])
    assert {name: fitted.terms[name] for name in truth} == pytest.approx(truth, rel=0.05)


def test_no_factor_beats_the_data_sheet() -> None:
    """The measurement says 3 times as fast as the model: the fit stops at what the GPU can do, and says so."""
    made = measured(SIMULATOR, {})
    made.requests = [
        type(one)(one.at, one.sent_ps, one.input_tokens, one.output_tokens, one.ttft_ps // 3, one.latency_ps // 3)
        for one in made.requests
    ]
    (load,) = loads(SIMULATOR.spec, [made])
    found = ranges(SIMULATOR, client=True)
    fitted = fit(Runs(SIMULATOR), groups(load), found, ())
    memory = next(one for one in found if one.name == "memory")
    assert fitted.terms["memory"] == pytest.approx(memory.low)
    assert fitted.at_bounds["memory"] == "not faster than the data sheet's rates"


def test_least_squares_find_a_line() -> None:
    points = [(x, 2.0 + 0.5 * x) for x in range(8)]
    unknowns = [Unknown(0, -10, 10, 100, 0.1), Unknown(0, -10, 10, 100, 0.1)]
    solution = solve(lambda at: [at[0] + at[1] * x - y for x, y in points], ["y"] * 8, unknowns, 0.1, 1e-3)
    assert solution.at == pytest.approx([2.0, 0.5], abs=1e-3)


def test_a_wild_residual_counts_less() -> None:
    values = [1.0] * 9 + [50.0]
    solution = solve(
        lambda at: [at[0] - value for value in values], ["y"] * 10, [Unknown(0, -99, 99, 1e3, 0.1)], 0.1, 1e-3
    )
    assert abs(solution.at[0] - 1.0) < 1.0, "their mean is 5.9"


@given(st.lists(st.floats(-3, 3), min_size=9, max_size=9))
def test_systems_are_solved(numbers: list[float]) -> None:
    rows = [numbers[3 * i : 3 * i + 3] for i in range(3)]
    matrix = [
        [sum(a * b for a, b in zip(x, y, strict=True)) + 0.1 * (i == j) for j, y in enumerate(rows)]
        for i, x in enumerate(rows)
    ]
    back = solved(matrix, [sum(row) for row in matrix])
    assert back == pytest.approx([1.0] * 3, abs=1e-6)
    unit = inverse(matrix)
    assert all(
        math.isclose(sum(matrix[i][k] * unit[k][j] for k in range(3)), float(i == j), abs_tol=1e-6)
        for i in range(3)
        for j in range(3)
    )
