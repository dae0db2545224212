"""What goes to the core."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from servetwin.catalog import GPUS
from servetwin.describe import resolve, run_description, summary_options
from servetwin.spec import load_spec, make_spec

SMALL = {"timing": "polynomial", "engine": {"num_gpu_blocks": 101, "max_model_len": 4096}}


def test_examples_resolve(examples: Path) -> None:
    files = sorted(examples.glob("*.yaml"))
    assert files
    for file in files:
        spec = load_spec(file)
        if spec.search is not None:
            continue  # a question, whose own values need not make a deployment
        json.dumps(run_description(spec, resolve(spec), leap=True, own_router=False), allow_nan=False)


def test_watermark_becomes_blocks_as_vllm_computes_them() -> None:
    spec = make_spec(SMALL, ["engine.watermark=0.1"])
    engine = run_description(spec, resolve(spec), leap=True, own_router=False)["pools"][0]["engine"]
    assert engine["watermark_blocks"] == 10


def test_chances_become_a_table_of_outcomes() -> None:
    spec = make_spec(
        SMALL,
        ["engine.speculative={method: ngram, num_speculative_tokens: 3, acceptance: {conditional: [1, 0.5, 0]}}"],
    )
    engine = run_description(spec, resolve(spec), leap=True, own_router=False)["pools"][0]["engine"]
    assert engine["acceptance"]["counts"] == [0, 2**15, 2**15, 0]
    assert engine["async_scheduling"] is False


@pytest.mark.parametrize(
    ("router", "own", "described"),
    [
        ("random", False, {"kind": "random"}),
        ("random", True, {"kind": "python", "interval_ps": 0, "delay_ps": 0}),
        (
            {"kind": "python", "object": "a:B", "interval_ms": 100, "delay_ms": 0.5},
            True,
            {"kind": "python", "interval_ps": 10**11, "delay_ps": 5 * 10**8},
        ),
    ],
)
def test_router_is_described(router: object, own: bool, described: dict[str, object]) -> None:
    spec = make_spec({**SMALL, "router": router})
    assert run_description(spec, resolve(spec), leap=False, own_router=own)["pools"][0]["router"] == described


def test_users_make_a_closed_loop() -> None:
    spec = make_spec({**SMALL, "workload": {"trace": "t", "users": 64}})
    assert run_description(spec, resolve(spec), leap=True, own_router=False)["users"] == 64


def test_summary_options_carry_limits_and_window() -> None:
    spec = make_spec(
        {
            **SMALL,
            "slo": {"ttft_ms": 2000, "tpot_ms": {"p95": 50}},
            "metrics": {"warmup": 1.5, "window": 60},
            "replicas": 2,
            "parallel": {"tensor": 2},
        }
    )
    assert summary_options(spec, resolve(spec)) == {
        "warmup_ps": 1_500_000_000_000,
        "window_ps": 60 * 10**12,
        "gpus": 4,
        "kv_blocks": 202,
        "gpu_price_per_hour": None,
        "slo": {"ttft_ms": 2000.0, "tpot_ms": {"p95": 50.0}, "attainment": 0.95},
    }


def test_a_gpu_hour_costs_what_is_given_or_what_the_catalog_lists() -> None:
    listed = make_spec({**SMALL, "gpu": "h100"})
    assert summary_options(listed, resolve(listed))["gpu_price_per_hour"] == GPUS["h100"].price.usd  # type: ignore[union-attr]
    given = make_spec({**SMALL, "gpu": "h100", "cluster": {"gpu_price_per_hour": 2.5}})
    assert summary_options(given, resolve(given))["gpu_price_per_hour"] == 2.5
    unlisted = make_spec({**SMALL, "gpu": "l4"})
    assert summary_options(unlisted, resolve(unlisted))["gpu_price_per_hour"] is None
