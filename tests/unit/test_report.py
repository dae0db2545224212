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
            "spec": {"workload": {"kind": "trace"}, "slo": {"ttft_ms": 2000.0, "attainment": 0.95}},
            "workload": {"kind": "trace", "requests": 12034, "sha256": "3" * 64, "out_of_order": 3, "blank_lines": 0},
            "engine": {
                "name": "vllm",
                "version": "0.19",
                "rules": "unrecorded",
                "kv_cache": "2,588 blocks of 16 tokens",
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
    console = Console(width=width)
    with console.capture() as capture:
        console.print(render(shown, console))
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


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("value", [0.001, 1.0, 12_345.678, 1e9, 1e15])
def test_nothing_is_cut_nor_too_wide(width: int, value: float) -> None:
    shown = result(summary={"completed": 1, **{f"itl_ms.{name}": value for name in STATISTICS}})
    lines = text(shown, width).splitlines()
    assert "…" not in "".join(lines)
    assert max(map(len, lines)) <= width
    assert "│" not in "".join(lines)


def test_small_rates_keep_their_digits() -> None:
    assert "0.00123" in text(result(summary={"completed": 1, "itl_ms.mean": 1.0, "requests_per_s": 0.001234}))


def test_long_lines_wrap_beside_their_label() -> None:
    shown = result(provenance=result().provenance | {"seed": " ".join(["seven"] * 30)})
    lines = text(shown, 80).splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("       seed  seven"))
    assert lines[first + 1].startswith(" " * 13 + "seven")


def test_what_the_reader_made_of_a_trace_is_told() -> None:
    shown = text(result())
    assert "12,034 requests" in shown
    assert "3 out of order" in shown
    assert "blank" not in shown


def test_control_characters_are_escaped() -> None:
    shown = text(result(status="stalled", stalled=["a\x1b[31m", "\ufeffb"]))
    assert "\\x1b[31m" in shown
    assert "\\ufeffb" in shown


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


def test_ranks_and_stages_tell_what_they_lose() -> None:
    one, pools = result(), result()
    one.summary["barrier_wait_share"] = 0.2349
    pools.summary.update({"bubble_share.prefill": 0.5, "barrier_wait_share.decode": 0.0})
    assert "ranks  data ranks wait for the slowest in 23.5% of their time in passes" in text(one)
    assert "stages  prefill: stages stand idle in 50.0% of their time while passes are under way" in text(pools)
    assert "ranks  decode: data ranks wait for the slowest in 0.0% of their time in passes" in text(pools)
    assert "stages" not in text(one)


def test_what_went_wrong_is_told() -> None:
    shown = text(result(status="stalled", stalled=["a", "b", "c", "d", "e", "f"], rejections={"too long": 4}))
    assert "4 × too long" in shown
    assert "6 requests hang: a, b, c, d, e, f" in shown


def test_many_names_are_counted() -> None:
    shown = " ".join(text(result(status="stalled", stalled=[f"r{i}" for i in range(1234)])).split())
    assert "1,234 requests hang: r0, r1," in shown
    assert "r19 and 1,214 more, which result.json names" in shown


@pytest.mark.parametrize(("met", "verdict"), [(True, "met"), (False, "missed")])
def test_the_service_level_has_a_verdict(met: bool, verdict: str) -> None:
    summary = {"requests": 1, "completed": 1, "slo.met": met, "slo.attainment": 0.97, "slo.ttft_ms.p95.limit": 500.0}
    shown = " ".join(text(result(summary=summary)).split())
    assert f"{verdict}: 97.00% of requests within limits (ttft_ms 2000), 95.00% wanted" in shown
    assert "ttft_ms.p95 without a sample, limit 500.00" in shown


def test_limits_on_statistics_say_of_how_many_requests() -> None:
    summary = {"requests": 4, "completed": 3, "rejected": 1, "unfinished": 0, "slo.met": True}
    summary |= {"slo.ttft_ms.p95.limit": 500.0, "slo.ttft_ms.p95.value": 20.0}
    shown = " ".join(text(result(summary=summary)).split())
    assert "ttft_ms.p95 20.00 of 500.00; with 1 not served, late beyond all limits" in shown
    endless = {name: value for name, value in summary.items() if name != "slo.ttft_ms.p95.value"} | {"slo.met": False}
    assert "missed: ttft_ms.p95 endless, limit 500.00" in " ".join(text(result(summary=endless)).split())


def test_the_progress_bar_waits_a_second(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    monkeypatch.setattr("servetwin.report.progress.time.monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with ProgressBar() as progress:
        progress(0.1)
        assert progress._bar is None
        now[0] = 1.5
        progress(0.5)
        assert progress._bar is not None
    assert capsys.readouterr().out == ""


def test_no_progress_bar_goes_to_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("servetwin.report.progress.PATIENCE_S", 0.0)
    with ProgressBar() as progress:
        progress(0.5)
    assert capsys.readouterr().err == ""
