"""A result in the terminal, in the shape of NVIDIA AIPerf's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..result.intervals import Interval
from ..result.result import Result
from .console import Output
from .intervals import interval_lines, share_texts, sides
from .pools import pool_lines
from .text import idle_lines, stalled_requests

Line = tuple[str, str, str]
"""A label, what it is about, and a style."""

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
    "Chunk ITL (ms)": "chunk_itl_ms",
    "Request Latency (ms)": "e2e_ms",
    "Queue Time (ms)": "queue_ms",
    "Hand-over Time (ms)": "handover_ms",
    "KV Transfer Time (ms)": "transfer_ms",
    "Trajectory Time (ms)": "trajectory_ms",
    "Output Tokens/s per User": "output_tokens_per_s_per_user",
}

SINGLE = {
    "Output Tokens/s": "output_tokens_per_s",
    "Output Tokens/s per GPU": "output_tokens_per_s_per_gpu",
    "Input and Output Tokens/s": "total_tokens_per_s",
    "Requests/s": "requests_per_s",
    "Goodput (requests/s)": "goodput.requests_per_s",
    "Acceptance Length (tokens)": "acceptance_length",
    "Cost per 1M Output Tokens": "cost_per_million_output_tokens",
}

PER_REQUEST = ("ttft_ms", "tpot_ms", "e2e_ms")

EVIDENCE = {
    "analytic": "analytic (from data sheets, not calibrated)",
    "given": "given (taken at its word)",
    "interpolated": "interpolated (between timings of this model on this GPU)",
    "fitted": "fitted (to operator timings of this GPU; passes not calibrated)",
    "transferred": "transferred (operator timings of another GPU of its generation)",
}
"""What a word alone does not tell."""

NOTED = (
    "out_of_order",
    "blank_lines",
    "without_hash_ids",
    "delays_from_timestamps",
    "timestamps_without_effect",
    "roots_without_time",
    "turns_at_their_own_times",
    "overlapping_turns",
    "shortened_turns",
    "ids_without_effect",
    "failed_without_length",
    "sub_agents_placed_by_pauses",
    "sub_agents_without_a_call",
    "output_token_ids_without_effect",
    "policy_class_without_effect",
    "strict_priority_without_effect",
    "cut_by_max_output_tokens",
)
"""Of a workload, what its reader or generator made of it on its own, if there is any."""

LABEL = 11
"""Columns of the longest label."""

WIDTH = 118
"""Columns of output that goes to a file or a pipe."""

ENDLESS = 10_000
"""Columns of a terminal in which any table fits."""

FEWER = (tuple(STATISTICS), ("avg", "p99", "p95", "p90", "p50"), ("avg", "p99", "p95", "p50"), ("avg", "p99"), ("avg",))
"""What is left out where the terminal is too narrow: nothing is cut."""

FEWER_INTERVALS = (("avg", "p99", "p95", "p90", "p50"), ("avg", "p99", "p95", "p50"), ("avg", "p99", "p50"), *FEWER[3:])
"""Likewise of a table with intervals."""


def print_result(result: Result) -> None:
    console = Output(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    console.print(render(result, console))


def render(result: Result, console: Console) -> RenderableType:
    """The table, and below it what was counted, how well it is known, and what went wrong."""
    lines = [line for one in said(result) for line in _wrapped(one, console)]
    if any(f"{metric}.mean" in result.summary for metric in DISTRIBUTIONS.values()):
        return Group(_fitting(result, console), *lines)
    return Group(*lines)


def _wrapped(one: Line, console: Console) -> Iterator[Text]:
    label, text, style = one
    for line in Text(printable(text), style).wrap(console, max(console.width - LABEL - 2, 20)):
        line.rstrip()
        yield Text.assemble((f"{label:>{LABEL}}  ", "dim"), line)
        label = ""


def _fitting(result: Result, console: Console) -> Table:
    for columns in FEWER if result.replications is None else FEWER_INTERVALS:
        table = _metrics(result, columns)
        if console.measure(table, options=console.options.update(width=ENDLESS)).maximum <= console.width:
            break
    return table


def _metrics(result: Result, columns: Sequence[str]) -> Table:
    grid = Table(
        title="servetwin | LLM Metrics",
        box=SIMPLE_HEAD,
        title_style="bold",
        title_justify="left",
        header_style="bold",
        pad_edge=False,
    )
    grid.add_column("Metric", style="cyan")
    for name in columns:
        grid.add_column(name, justify="right", no_wrap=True)
    intervals = {} if result.replications is None else result.replications.intervals
    for name in ("timing", "workload") if intervals else ():
        grid.add_column(name, justify="right", no_wrap=True, style="dim")

    def row(title: str, metrics: Sequence[str]) -> None:
        cells = [_with_interval(result.summary.get(name), intervals.get(name)) for name in metrics]
        known = intervals.get(metrics[0])
        shares = share_texts(known.shares) if known else ("", "")
        grid.add_row(title, *cells, *[""] * (len(columns) - len(cells)), *(shares if intervals else ()))

    for title, metric in DISTRIBUTIONS.items():
        if f"{metric}.mean" in result.summary:
            row(title, [f"{metric}.{STATISTICS[name]}" for name in columns])
    for title, metric in SINGLE.items():
        if metric in result.summary:
            row(title, [metric])
    return grid


def _with_interval(value: float | None, interval: Interval | None) -> str:
    # A trickle is not nothing.
    shown = f"{value:.3g}" if value and 0 < value < 0.01 else _number(value)
    return shown if value is None or interval is None else f"{shown} [dim]{sides(value, interval)}[/]"


def said(result: Result) -> Iterator[Line]:
    summary = result.summary
    yield "requests", _requests(result), ""
    for reason, count in result.rejections.items():
        yield "not served", f"{count:,} × {reason}", "yellow"
    if result.status == "stalled":
        yield "stalled", f"no progress; {stalled_requests(result)}", "bold red"
    preemptions = f"{summary.get('preemptions', 0):,.0f} preemptions"
    if "prefix_reuse" in summary:
        places = {"host": "host memory", "disk": "disk", "shared": "the shared store"}
        shares = {f"prefix_reuse.{place}": name for place, name in places.items()}
        below = ", ".join(f"{summary[key]:.1%} from {name}" for key, name in shares.items() if key in summary)
        loaded = f" ({below})" if below else ""
        preemptions = f"{summary['prefix_reuse']:.1%} of input tokens from the prefix cache{loaded}, {preemptions}"
    yield "cache", preemptions, ""
    if "draft_acceptance_rate" in summary:
        accepted = f"{summary['draft_acceptance_rate']:.1%} of {summary['drafts']:,.0f} accepted"
        yield "drafts", f"{accepted}, {summary['acceptance_length']:.2f} tokens a row and pass with the bonus token", ""
    for label, text in idle_lines(summary):
        yield label, text, ""
    yield from _limits(summary)
    yield from _service_level(result)
    yield from _evidence(result)
    shown = [f"{metric}.mean" for metric in DISTRIBUTIONS.values()] + [*SINGLE.values()]
    yield from interval_lines(result, shown)
    timings = result.timings
    if "simulate_s" in timings:
        passes = f"{timings['passes']:,} passes, {timings['leaps']:,} leaps"
        parse = f"{timings['parse_s']:.3f} s to read the trace"
        yield "computed", f"in {timings['simulate_s']:.3f} s ({passes}), {parse}", ""


def _requests(result: Result) -> str:
    summary = result.summary
    counts = [f"{summary[name]:,.0f} {name}" for name in ("completed", "rejected", "unfinished") if summary.get(name)]
    text = ", ".join(counts) or "none completed"
    if summary.get("prefill_only"):
        text += f" ({summary['prefill_only']:,.0f} prefill only)"
    if not summary.get("duration_s"):
        return text
    seconds = f"{summary['duration_s']:,.1f} simulated seconds"
    ended = summary.get("ended.requests", summary["completed"])
    if ended == summary["completed"]:
        return f"{text} in {seconds}"
    # A warm-up or a window: whose latencies count, and what the rates count (docs/metrics.md).
    return f"{text} of those that arrived in {seconds}, in which {ended:,.0f} ended"


def _limits(summary: Mapping[str, Any]) -> Iterator[Line]:
    if "output_limit_use" not in summary:
        return
    text = f"{summary['output_limit_use']:.1%} of the output tokens asked for came"
    if "unused_reserve" in summary:
        text += f"; {summary['unused_reserve']:.1%} of the cache was reserved for the rest"
    yield "limits", text, ""


def _service_level(result: Result) -> Iterator[Line]:
    summary = result.summary
    if "slo.met" not in summary:
        return
    limits = result.provenance["spec"].get("slo", {})
    parts = []
    unserved = summary["requests"] - summary["completed"]
    if "slo.attainment" in summary:
        per_request = ", ".join(f"{name} {value:g}" for name, value in limits.items() if name in PER_REQUEST)
        wanted = f", {limits['attainment']:.2%} wanted" if "attainment" in limits else ""
        parts.append(f"{summary['slo.attainment']:.2%} of requests within limits ({per_request}){wanted}")
    for key in summary:
        if key.startswith("slo.") and key.endswith(".limit"):
            name = key.removeprefix("slo.").removesuffix(".limit")
            value = summary.get(key.removesuffix("limit") + "value")
            limit = _number(summary[key])
            found = "endless" if unserved else "without a sample"
            parts.append(f"{name} {found}, limit {limit}" if value is None else f"{name} {_number(value)} of {limit}")
    if unserved:
        parts.append(f"with {unserved:,} not served, late beyond all limits")
    met = bool(summary["slo.met"])
    yield "slo", f"{'met' if met else 'missed'}: {'; '.join(parts)}", "green" if met else "red"


def _evidence(result: Result) -> Iterator[Line]:
    known = result.provenance
    engine, timing = known["engine"], known["timing"]
    yield "engine", f"{engine['name']} {engine['version']}, rules {engine['rules']}", ""
    if "left_out" in engine:
        yield "left out", f"{', '.join(engine['left_out'])}: options of the spec's own engine", "yellow"
    evidence = EVIDENCE.get(timing["evidence"], timing["evidence"])
    assumptions = ", ".join(f"{name} {value}" for name, value in timing["assumptions"].items())
    yield "timing", f"{timing['kind']}, evidence {evidence}: {assumptions}", ""
    yield from _extrapolated(timing)
    if "pools" in known:
        for label, text in pool_lines(result):
            yield label, text, ""
    else:
        yield "kv cache", f"{engine['kv_cache']}, {engine['kv_capacity']}", ""
    if "gpu_hour" in known:
        yield "gpu hour", f"{known['gpu_hour']['price']:g}, {known['gpu_hour']['source']}", ""
    yield "max tokens", _max_tokens(known), ""
    yield "workload", _workload(known["workload"]), ""
    yield "seed", f"{known['seed']}, sha256 of the spec {known['spec_sha256'][:12]}", ""


def _extrapolated(timing: dict[str, Any]) -> Iterator[Line]:
    share = timing.get("shares", {}).get("extrapolated", 0.0)
    if share:
        yield "", f"{share:.1%} of the pass time is extrapolated, beyond what was measured", "yellow"


def _max_tokens(known: dict[str, Any]) -> str:
    given = known["spec"].get("workload", {}).get("max_output_tokens")
    if isinstance(given, dict):
        return f"max_output_tokens is {given['factor']:g} times each request's real output length, as given"
    if given is not None:
        return f"max_output_tokens is {given:,} for every request, as given"
    classes = known["spec"].get("workload", {}).get("classes", {})
    if any("max_output_tokens" in traffic for traffic in classes.values()):
        return "max_output_tokens is as given by class, else each request's real output length"
    return "max_output_tokens is not given, so each request's is its real output length"


def _workload(workload: dict[str, Any]) -> str:
    noted = (f"{workload[name]:,} {name.replace('_', ' ')}" for name in NOTED if workload.get(name))
    return ", ".join(
        [f"{workload['kind']}, {workload['requests']:,} requests, sha256 {workload['sha256'][:12]}", *noted]
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.2f}" if value < 100_000 else f"{value:,.0f}"
