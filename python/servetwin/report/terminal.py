"""A result in the terminal, in the shape of NVIDIA AIPerf's table."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..result.result import Result

STATISTICS = {
    "avg": "mean",
    "min": "min",
    "max": "max",
    "p99": "p99",
    "p95": "p95",
    "p90": "p90",
    "p50": "p50",
    "std": "std",
}
"""AIPerf's columns, and the names of ours."""

DISTRIBUTIONS = {
    "Time to First Token (ms)": "ttft_ms",
    "Time per Output Token (ms)": "tpot_ms",
    "Inter Token Latency (ms)": "itl_ms",
    "Request Latency (ms)": "e2e_ms",
    "Queue Time (ms)": "queue_ms",
    "Output Tokens/s per User": "output_tokens_per_s_per_user",
}

SINGLE = {
    "Output Tokens/s": "output_tokens_per_s",
    "Output Tokens/s per GPU": "output_tokens_per_s_per_gpu",
    "Input and Output Tokens/s": "total_tokens_per_s",
    "Requests/s": "requests_per_s",
    "Goodput (requests/s)": "goodput.requests_per_s",
    "Cost per 1M Output Tokens": "cost_per_million_output_tokens",
}

WIDTH = 118
"""Columns of output that goes to a file or a pipe."""


def print_result(result: Result) -> None:
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)
    console.print(render(result, wide=console.width >= 100))


def render(result: Result, *, wide: bool = True) -> RenderableType:
    """The table, and below it what was counted, how well it is known, and what went wrong."""
    return Group(_metrics(result, wide), *(line for line in _lines(result)))


def _metrics(result: Result, wide: bool) -> Table:
    columns = STATISTICS if wide else {name: STATISTICS[name] for name in ("avg", "p99", "p95", "p50")}
    grid = Table(
        title="servetwin | LLM Metrics", box=SIMPLE_HEAD, title_style="bold", header_style="bold", pad_edge=False
    )
    grid.add_column("Metric", style="cyan", no_wrap=wide)
    for name in columns:
        grid.add_column(name, justify="right", no_wrap=True)
    for title, metric in DISTRIBUTIONS.items():
        if f"{metric}.mean" in result.summary:
            grid.add_row(title, *(_number(result.summary.get(f"{metric}.{key}")) for key in columns.values()))
    for title, metric in SINGLE.items():
        if metric in result.summary:
            grid.add_row(title, _number(result.summary[metric]), *[""] * (len(columns) - 1))
    return grid


def _lines(result: Result) -> Iterator[Text]:
    summary = result.summary
    yield _line("requests", _requests(result))
    if "prefix_reuse" in summary:
        reuse = f"{summary['prefix_reuse']:.1%} of input tokens from the prefix cache"
        yield _line("cache", f"{reuse}, {summary.get('preemptions', 0):,.0f} preemptions")
    yield from _service_level(result)
    yield from _evidence(result)
    for reason, count in result.rejections.items():
        yield _line("not served", f"{count:,} × {reason}", style="yellow")
    if result.status == "stalled":
        names = ", ".join(result.stalled[:5]) + (", …" if len(result.stalled) > 5 else "")
        yield _line("stalled", f"no progress; {len(result.stalled):,} requests hang: {names}", style="bold red")
    timings = result.timings
    if "simulate_s" in timings:
        passes = f"{timings['passes']:,} passes, {timings['leaps']:,} leaps"
        yield _line(
            "computed", f"in {timings['simulate_s']:.3f} s ({passes}), {timings['parse_s']:.3f} s to read the trace"
        )


def _requests(result: Result) -> str:
    summary = result.summary
    counts = [f"{summary[name]:,.0f} {name}" for name in ("completed", "rejected", "unfinished") if summary.get(name)]
    text = ", ".join(counts) or "none completed"
    if summary.get("prefill_only"):
        text += f" ({summary['prefill_only']:,.0f} prefill only)"
    if "duration_s" in summary:
        text += f" in {summary['duration_s']:,.1f} simulated seconds"
    return text


def _service_level(result: Result) -> Iterator[Text]:
    summary = result.summary
    if "slo.met" not in summary:
        return
    parts = []
    if "slo.attainment" in summary:
        parts.append(f"{summary['slo.attainment']:.2%} of requests within limits")
    for key in summary:
        if key.startswith("slo.") and key.endswith(".limit"):
            name = key.removeprefix("slo.").removesuffix(".limit")
            value = summary.get(key.removesuffix("limit") + "value")
            parts.append(f"{name} {_number(value) or 'without a sample'} of {_number(summary[key])}")
    met = bool(summary["slo.met"])
    verdict = "met" if met else "missed"
    yield _line("slo", f"{verdict}: {'; '.join(parts)}", style="green" if met else "red")


def _evidence(result: Result) -> Iterator[Text]:
    known = result.provenance
    engine, timing, workload = known["engine"], known["timing"], known["workload"]
    yield _line("engine", f"{engine['name']} {engine['version']}, rules {engine['rules']}")
    assumptions = ", ".join(f"{name} {value}" for name, value in timing["assumptions"].items())
    yield _line("timing", f"{timing['kind']}, evidence {timing['evidence']}: {assumptions}")
    yield _line("kv cache", f"{engine['num_gpu_blocks']:,} blocks, {engine['kv_capacity']}")
    limit = workload.get("max_output_tokens")
    if limit is not None:
        yield _line("max tokens", f"max_output_tokens is {limit}")
    yield _line("seed", f"{known['seed']}, workload {workload['sha256'][:12]}, spec {known['spec_sha256'][:12]}")


def _line(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{label:>11}  ", "dim"), (text, style))


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if value < 100_000 else f"{value:,.0f}"
