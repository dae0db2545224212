"""Intervals and shares from replications."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servetwin.result.intervals import interval, least_replications, quantile, shares
from servetwin.workload.block_length import block_length, without_trend

values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60)


@given(values, st.floats(0.01, 0.99))
def test_a_quantile_is_as_the_standard_library_has_it(drawn: list[float], share: float) -> None:
    # Its "exclusive" method is definition 6 too, but goes on beyond the extremes.
    cuts = statistics.quantiles(drawn, n=100, method="exclusive")
    place = round(share * 100)
    if 1 <= place <= 99 and 1 <= place / 100 * (len(drawn) + 1) <= len(drawn):
        assert quantile(drawn, place / 100) == pytest.approx(cuts[place - 1], rel=1e-9, abs=1e-6)
    assert min(drawn) <= quantile(drawn, share) <= max(drawn)


@given(st.integers(2, 60), st.floats(0.0, 1.0))
def test_draws_that_are_spread_evenly_lie_in_the_middle_of_their_parts(count: int, share: float) -> None:
    middles = [(place + 0.5) / count for place in range(count)]
    within = min(max(share, middles[0]), middles[-1])
    assert quantile(middles, share, even=1.0) == pytest.approx(within)
    others = [place / (count + 1) for place in range(1, count + 1)]
    assert quantile(others, share) == pytest.approx(min(max(share, others[0]), others[-1]))


@given(values, st.floats(0.1, 0.99))
def test_an_interval_holds_the_median(drawn: list[float], confidence: float) -> None:
    found = interval(drawn, {}, confidence)
    assert found.low <= found.median <= found.high


@pytest.mark.parametrize(("count", "confidence"), [(20, 0.9), (40, 0.9), (20, 0.8), (9, 0.8)])
def test_an_interval_holds_the_next_draw_as_often_as_it_says(count: int, confidence: float) -> None:
    assert count >= least_replications(confidence)
    chance, tries = random.Random(5), 4000
    held = 0
    for _ in range(tries):
        # Far from normal: what counts is the order.
        *drawn, following = (math.exp(chance.gauss(0, 1.5)) for _ in range(count + 1))
        found = interval(drawn, {}, confidence)
        held += found.low <= following <= found.high
    assert held / tries == pytest.approx(confidence, abs=4 * math.sqrt(confidence * (1 - confidence) / tries))


def test_fewer_replications_cannot_tell() -> None:
    assert [least_replications(confidence) for confidence in (0.5, 0.8, 0.9, 0.95, 0.99)] == [3, 9, 19, 39, 199]


@pytest.mark.parametrize("true", [0.1, 0.5, 0.9])
def test_shares_are_right_on_average_with_twenty_replications(true: float) -> None:
    chance = random.Random(3)
    found, errors = [], []
    for _ in range(600):
        drawn = [chance.gauss(0, 1) for _ in range(20)]
        metric = [10 + math.sqrt(true) * z + math.sqrt(1 - true) * chance.gauss(0, 1) for z in drawn]
        one = shares(metric, {"time": drawn})
        assert one is not None
        assert one.timing + one.workload == pytest.approx(1)
        found.append(one.timing)
        errors.append(one.error)
    assert statistics.mean(found) == pytest.approx(true, abs=0.05)
    assert statistics.mean(errors) == pytest.approx(statistics.stdev(found), rel=0.5)


def test_a_knee_is_the_timings_too() -> None:
    chance = random.Random(4)
    drawn = [chance.gauss(0, 1) for _ in range(20)]
    metric = [math.exp(0.6 * z) + chance.gauss(0, 0.02) for z in drawn]
    found = shares(metric, {"time": drawn})
    assert found is not None
    assert found.timing > 0.9


def test_several_terms_explain_together() -> None:
    chance = random.Random(6)
    one, other = ([chance.gauss(0, 1) for _ in range(30)] for _ in range(2))
    metric = [a - 2 * b for a, b in zip(one, other, strict=True)]
    together = shares(metric, {"prompts": one, "decodes": other})
    assert together is not None
    assert together.timing == pytest.approx(1, abs=1e-9)


def test_without_variance_or_errors_there_is_nothing_to_share() -> None:
    assert shares([5.0] * 20, {"time": list(map(float, range(20)))}) is None
    assert shares([1.0, 2.0, 4.0], {"time": [0.1, 0.3, -1.0]}) is None, "too few to tell"
    alone = shares([1.0, 2.0, 4.0], {})
    assert alone is not None
    assert alone.workload == 1


@pytest.mark.parametrize(("memory", "low", "high"), [(0.0, 1, 2), (0.5, 9, 19), (0.8, 22, 42)])
def test_block_lengths_follow_the_memory_of_a_series(memory: float, low: float, high: float) -> None:
    """Of an autoregression the best length is known: (6·(φ / (1 − φ²))² · n)^⅓, 13.9 and 30.9 for n = 1,000."""
    chance = random.Random(2)
    found = []
    for _ in range(10):
        series, value = [], 0.0
        for _ in range(1000):
            value = memory * value + chance.gauss(0, 1)
            series.append(value)
        found.append(block_length(series))
    assert low <= statistics.mean(found) <= high


def test_slow_changes_do_not_lengthen_blocks() -> None:
    chance = random.Random(2)
    day = [20 + 15 * math.sin(math.tau * place / 1000) + chance.gauss(0, 1) for place in range(1000)]
    assert block_length(day) > 20
    assert block_length(without_trend(day, 125)) < 8
