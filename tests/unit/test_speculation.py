"""Chances become outcomes, and drafting a cost."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.catalog.speculation import OUTCOMES, chances, mean_length, outcomes
from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.spec.engine import Acceptance

MODEL = {"model": "llama-3.1-8b", "gpu": "h100", "workload": {"kind": "poisson", "requests": 1, "rate_per_s": 1}}
LINEAR = {"kind": "linear", "base_ms": 1}


def described(timing: Any = None, **speculative: Any) -> dict[str, Any]:
    eagle = {"method": "eagle", "num_speculative_tokens": 3, "acceptance": 0.5} | speculative
    workload = MODEL["workload"] | {"input_tokens": 10, "output_tokens": 10}
    spec = make_spec(
        MODEL | {"engine": {"speculative": eagle}, "workload": workload} | ({"timing": timing} if timing else {})
    )
    description = run_description(spec, resolve(spec), leap=True, own_router=False)
    return description["pools"][0]  # type: ignore[no-any-return]


def test_a_mean_length_is_one_chance_for_every_draft() -> None:
    for drafts, length in ((1, 1.0), (1, 2.0), (3, 2.5), (8, 4.25)):
        made = chances(Acceptance(mean_length=length), drafts)
        assert len(set(made)) == 1
        assert mean_length(made) == pytest.approx(length, abs=1e-12)
    assert chances(Acceptance(each=0.7), 3) == [0.7] * 3
    assert chances(Acceptance(conditional=[0.9, 0.2]), 2) == [0.9, 0.2]


def test_outcomes_come_with_their_chances() -> None:
    assert outcomes([0.5, 0.5]) == [OUTCOMES // 2, OUTCOMES // 4, OUTCOMES // 4]
    assert outcomes([1.0, 0.0]) == [0, OUTCOMES, 0]
    for conditional in ([0.3, 0.7, 0.1], [1 / 3] * 8, [0.123456789]):
        counts = outcomes(conditional)
        assert sum(counts) == OUTCOMES
        mean = sum((accepted + 1) * count for accepted, count in enumerate(counts)) / OUTCOMES
        assert mean == pytest.approx(mean_length(conditional), abs=len(conditional) ** 2 / OUTCOMES)


def test_costs_are_taken_at_their_word() -> None:
    given = described(LINEAR, draft_ms=0.5, draft_token_ms=0.001, verify_token_ms=0.002)["step_time"]["draft"]
    assert (given["base_ps"], given["draft_token_ps"]) == (500_000_000, 3_000_000)
    free = described(LINEAR)["step_time"]["draft"]
    assert not any(free.values())


def test_a_head_reads_a_layer_and_the_output_matrix_for_every_draft() -> None:
    """Llama 3.1 8B: a layer of 218,103,808 elements, 2 · 4,096², and 4,096 · 128,256; 3.35 TB/s at 0.8."""
    draft = described()["step_time"]["draft"]
    elements = 218_103_808 + 2 * 4096**2 + 4096 * 128_256
    step_ps = 2 * elements / (3.35e12 * 0.8) * 1e12 + 20e6
    assert draft["base_ps"] == pytest.approx(3 * step_ps, rel=1e-3)
    assert described(method="ngram")["step_time"]["draft"]["base_ps"] == 0
    assert described(draft_ms=1)["step_time"]["draft"]["base_ps"] == 10**9


@pytest.mark.parametrize(("timing", "cost"), [("polynomial", "draft_ms"), (None, "verify_token_ms")])
def test_a_cost_without_effect_is_refused(timing: str | None, cost: str) -> None:
    with pytest.raises(SpecError) as caught:
        described(timing, **{cost: 1.0})
    assert caught.value.field == f"engine.speculative.{cost}"


def test_multi_token_prediction_needs_layers_for_it() -> None:
    with pytest.raises(SpecError) as caught:
        described(method="mtp")
    assert caught.value.field == "engine.speculative.method"


@pytest.mark.parametrize(("method", "asynchronous"), [("eagle", True), ("eagle3", True), ("ngram", False)])
def test_heads_run_asynchronously_if_nothing_is_said(method: str, asynchronous: bool) -> None:
    assert described(method=method)["engine"]["async_scheduling"] is asynchronous


def test_what_the_core_is_told() -> None:
    engine = described(num_speculative_tokens_per_batch_size=[[1, 8, 3], [9, 64, 0]])["engine"]
    assert (engine["num_lookahead_tokens"], engine["eagle_block_drop"]) == (3, True)
    assert engine["num_speculative_tokens_per_batch_size"] == [(1, 3), (9, 0)]
    assert engine["acceptance"]["counts"] == outcomes([0.5] * 3)
