"""Lowered step times equal their formulas, within the error they state."""

from __future__ import annotations

import random
from typing import Any

import pytest

from servetwin.catalog import resolve_engine
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.timing import Lowered, PassLimits, lower, pass_limits, stage_models, timing_model


def lowered(options: dict[str, Any]) -> tuple[Lowered, PassLimits]:
    spec = make_spec(options)
    engine = resolve_engine(spec)
    limits = pass_limits(engine)
    return lower(spec, timing_model(spec, engine), limits), limits


def affine_ps(description: dict[str, Any], p: int, w: int, d: int, c: int, n: int) -> int:
    def value(a: dict[str, int]) -> int:
        return (
            a["base_ps"]
            + a["prefill_token_ps"] * p
            + (a["work_fps"] * w >> 20)
            + a["decode_row_ps"] * d
            + a["context_ps"] * c
            + a["sequence_ps"] * n
        )

    return value(description["host"]) + max((value(term) for term in description["terms"]), default=0)


def polynomial_ps(description: dict[str, Any], p: int, r: int) -> int:
    q2, q1, q0 = description["prefill_fps"]
    prefill = (q2 * p * p + q1 * p + q0) >> 20 if p else 0
    width, start, slope = (description[name] for name in ("segment_tokens", "start_ps", "slope_ps"))
    i = min(r // width, len(start) - 1)
    return int(prefill + (start[i] + slope[i] * (r - i * width) if r else 0))


def test_linear_is_exact() -> None:
    options = {
        "timing": {
            "kind": "linear",
            "base_ms": 8.5,
            "prefill_token_ms": 0.02,
            "decode_row_ms": 0.1,
            "context_token_ms": 0.0001,
        },
        "engine": {"num_gpu_blocks": 100, "max_model_len": 4096},
    }
    result, _ = lowered(options)
    assert result.error_ps == 0
    assert affine_ps(result.description, 100, 7, 5, 900, 6) == 8_500_000_000 + 2_000_000_000 + 500_000_000 + 90_000_000


def test_linear_refuses_fractions_of_a_picosecond() -> None:
    with pytest.raises(SpecError, match="whole number of picoseconds") as caught:
        lowered({"timing": {"kind": "linear", "base_ms": 1e-10}, "engine": {"num_gpu_blocks": 9, "max_model_len": 99}})
    assert caught.value.field == "timing.base_ms"


def test_passes_of_over_100_days_are_refused() -> None:
    with pytest.raises(SpecError, match="100 days"):
        lowered({"timing": {"kind": "linear", "base_ms": 1e10}, "engine": {"num_gpu_blocks": 9, "max_model_len": 99}})


@pytest.mark.parametrize(("blocks", "size"), [(16384, 512), (524288, 16), (2, 16), (3, 16), (37, 16), (300, 16)])
def test_polynomial_stays_within_its_stated_error(blocks: int, size: int) -> None:
    result, limits = lowered(
        {"timing": "polynomial", "engine": {"num_gpu_blocks": blocks, "block_size": size, "max_model_len": 131072}}
    )
    draw = random.Random(blocks)
    for _ in range(2000):
        p, r = draw.randrange(limits.tokens + 1), draw.randrange(int(limits.cache_tokens * 1.2) + 1)
        x = min(r / limits.cache_tokens, 1)
        ms = (4.209989e-07 * p * p + 1.518344e-02 * p + 16.50142 if p else 0) + (
            max(-25.74 * x * x + 54.01 * x + 5.74, 1) if r else 0
        )
        ps = polynomial_ps(result.description, p, r)
        assert abs(ps - ms * 1e9) <= result.error_ps + 1
        assert ps <= result.greatest_ps


def test_polynomial_matches_the_published_points() -> None:
    result, limits = lowered(
        {"timing": "polynomial", "engine": {"num_gpu_blocks": 16384, "block_size": 512, "max_model_len": 131072}}
    )
    for tokens, ms in ((512, 24.39), (2048, 49.36), (8192, 169.14)):
        assert polynomial_ps(result.description, tokens, 0) / 1e9 == pytest.approx(ms, abs=0.005)
    for share, ms in ((0.1, 10.88), (0.5, 26.31), (1, 34.01)):
        assert polynomial_ps(result.description, 0, int(limits.cache_tokens * share)) / 1e9 == pytest.approx(
            ms, abs=0.005
        )
    assert result.error_ps < 150_000


def test_analytic_with_efficiencies_is_a_roofline() -> None:
    roofline = {"kind": "analytic", "compute_efficiency": 0.7}
    result, limits = lowered({"model": "llama-3.1-8b", "gpu": "h100", "timing": roofline})
    one_decode = affine_ps(result.description, 0, 0, 1, 1000, 1) / 1e9
    weights = (32 * (4096 * 128 * 80 + 3 * 4096 * 14336) * 2 + 2 * 128256 * 4096) / 3.35e12 / 0.8 * 1e3
    assert one_decode == pytest.approx(0.5 + weights, rel=0.01)
    prompt = affine_ps(result.description, 8192, 8192**2, 0, 8192, 1) / 1e9
    arithmetic = 2 * 32 * (4096 * 128 * 80 + 3 * 4096 * 14336) * 8192 / (989.5e12 * 0.7) * 1e3
    assert arithmetic < prompt < 1.2 * arithmetic
    assert result.greatest_ps > affine_ps(result.description, limits.tokens, 0, limits.rows, 0, limits.rows)


def test_a_roofline_adds_all_reduces_for_ranks() -> None:
    options = {"model": "llama-3.1-8b", "gpu": "h100", "timing": {"kind": "analytic", "memory_efficiency": 0.8}}
    one, _ = lowered(options)
    four, _ = lowered({**options, "parallel": {"tensor": 4}})
    assert four.description["host"]["base_ps"] == one.description["host"]["base_ps"] + 64 * 8_000_000
    for small, large in zip(four.description["terms"], one.description["terms"], strict=True):
        assert all(abs(4 * small[name] - large[name]) <= 4 for name in large)


def test_stages_of_a_roofline_add_up_to_the_whole() -> None:
    options = {"model": "llama-3.1-8b", "gpu": "h100", "timing": {"kind": "analytic", "memory_efficiency": 0.8}}
    whole, _ = lowered(options)
    spec = make_spec({**options, "parallel": {"pipeline": 3}})
    models = stage_models(spec, resolve_engine(spec))
    kinds = [lower(spec, model, pass_limits(resolve_engine(spec))).description for model in models.kinds]
    stages = [kinds[kind] for kind in models.stages]
    for index, term in enumerate(whole.description["terms"]):
        added = {name: sum(stage["terms"][index][name] for stage in stages) for name in term}
        assert added == pytest.approx(term, abs=2)
    # The host prepares a pass in the first; two states of a token go to the next, over 450 GB/s and after 10 µs.
    sent = 2 * 2 * 4096 / 450e9 * 1e12
    assert [stage["host"]["base_ps"] / 1e6 for stage in stages] == [500 + 10, 10, 0]
    assert [stage["host"]["decode_row_ps"] for stage in stages] == pytest.approx([sent, sent, 0], abs=1)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"engine": {"num_gpu_blocks": 9, "max_model_len": 99}}, "model"),
        ({"model": "llama-3.1-8b", "engine": {"num_gpu_blocks": 9}}, "gpu"),
        (
            {"model": "llama-3.1-8b", "gpu": "h100", "parallel": {"tensor": 8}, "cluster": {"nvlink_domain": 4}},
            "parallel.tensor",
        ),
    ],
)
def test_analytic_says_what_it_needs(options: dict[str, Any], field: str) -> None:
    with pytest.raises(SpecError) as caught:
        lowered(options)
    assert caught.value.field == field
