"""What people see of a result."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from servetwin.report.progress import ProgressBar
from servetwin.report.terminal import render
from servetwin.result.result import Result

STATISTICS = dict.fromkeys(("count", "mean", "min", "max", "std", "p50", "p90", "p95", "p99"), 1234.5678)


def result(**changes: Any) -> Result:
    fields: dict[str, Any] = {
        "status": "completed",
        "summary": {
            "completed": 12031,
            "prefill_only": 3,
            "duration_s": 3540.2,
            "prefix_reuse": 0.366,
            "preemptions": 5,
            "output_tokens_per_s": 1234567.8,
            **{f"ttft_ms.{name}": value for name, value in STATISTICS.items()},
        },
        "provenance": {
            "seed": 7,
            "spec_sha256": "5" * 64,
            "workload": {"sha256": "3" * 64, "max_output_tokens": "the real output length"},
            "engine": {
                "name": "vllm",
                "version": "0.19",
                "rules": "unrecorded",
                "num_gpu_blocks": 2588,
                "kv_capacity": "given",
            },
            "timing": {"kind": "linear", "evidence": "given", "assumptions": {"base_ms": 8.5}},
        },
        "rejections": {},
        "stalled": [],
        "timings": {"simulate_s": 0.03, "parse_s": 0.02, "passes": 10, "leaps": 2},
        "_requests": None,
        "_series": None,
    }
    return Result(**fields | changes)


def text(shown: Result, width: int = 118) -> str:
    console = Console(width=width, soft_wrap=True)
    with console.capture() as capture:
        console.print(render(shown, wide=width >= 100))
    return capture.get()


def test_the_table_has_aiperfs_columns() -> None:
    lines = text(result()).splitlines()
    header = next(line for line in lines if "Metric" in line and "avg" in line)
    assert header.split() == ["Metric", "avg", "min", "max", "p99", "p95", "p90", "p50", "std"]
    row = next(line for line in lines if "Time to First Token (ms)" in line)
    assert row.count("1,234.57") == 8


def test_metrics_without_a_value_have_no_row() -> None:
    assert "Inter Token Latency" not in text(result())


def test_a_narrow_terminal_gets_fewer_columns() -> None:
    assert "std" not in text(result(), width=80)


def test_evidence_and_defaults_are_told() -> None:
    shown = text(result())
    for part in (
        "12,031 completed (3 prefill only)",
        "36.6%",
        "0.19, rules unrecorded",
        "evidence given",
        "real output",
    ):
        assert part in shown


def test_what_went_wrong_is_told() -> None:
    shown = text(result(status="stalled", stalled=["a", "b", "c", "d", "e", "f"], rejections={"too long": 4}))
    assert "4 × too long" in shown
    assert "6 requests hang: a, b, c, d, e, …" in shown


@pytest.mark.parametrize(("met", "verdict"), [(True, "met"), (False, "missed")])
def test_the_service_level_has_a_verdict(met: bool, verdict: str) -> None:
    summary = {"completed": 1, "slo.met": met, "slo.attainment": 0.97, "slo.ttft_ms.p95.limit": 500.0}
    shown = text(result(summary=summary))
    assert f"{verdict}: 97.00% of requests within limits; ttft_ms.p95 without a sample of 500.00" in shown


def test_the_progress_bar_waits_a_second(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr("servetwin.report.progress.time.monotonic", lambda: now[0])
    with ProgressBar() as progress:
        progress(0.1)
        assert progress._bar is None
        now[0] = 1.5
        progress(0.5)
        assert progress._bar is not None
    assert capsys.readouterr().out == ""
