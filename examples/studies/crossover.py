"""The crossover: when do separate prefill and decode replicas beat one monolithic one on the same eight GPUs?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from servetwin import simulate

from .study import Study, main

MEASURED = {1: (266.0, 4.12), 16: (258.0, 12.25)}
"""TTFT and TPOT, ms, by concurrency: SGLang's cookbook (deepseek-v4-benchmarks.jsx), 0.5.15, 8,192 random tokens in and
1,024 out, one node of 8 B300, its low-latency recipe: TP8, EAGLE with 3 steps and 4 draft tokens, chunks of 8,192."""

LENGTHS = ((2_000, 500), (8_000, 1_000), (32_000, 1_000), (100_000, 1_000))
"""Median tokens in and out; the 99th percentiles are 1.6 and 2.5 times these."""

USERS = (1, 4, 16, 64, 128)
ACCEPTANCES = (0.5, 0.7)
"""Beside the fitted one."""
CONTROL_MS = (1.0, 10.0)
RECIPES = ("low latency", "balanced")

LIKE_PUBLISHED = (1.3, 1.8)


@dataclass(frozen=True)
class Point:
    """A run of one deployment."""

    users: int
    tokens_per_s: float
    itl_p99_ms: float
    e2e_p95_ms: float
    busy: float
    """Of prefill replicas, the share of the time."""


def engine(acceptance: float, steps: int = 3, **options: Any) -> dict[str, Any]:
    return {
        "name": "sglang",
        "page_size": 256,  # SGLang sets it for this model
        "disable_overlap_schedule": True,
        "speculative_algorithm": "NEXTN",
        "speculative_num_steps": steps,
        "speculative_eagle_topk": 1,
        "speculative_num_draft_tokens": steps + 1,
        "speculation": {"acceptance": acceptance},
        **options,
    }


def deployment(kind: str, acceptance: float, control_ms: float) -> dict[str, Any]:
    """Of eight GPUs."""
    low_latency = engine(acceptance, chunked_prefill_size=8192, mem_fraction_static=0.90)
    if kind == "balanced":
        options = {"chunked_prefill_size": 32768, "mem_fraction_static": 0.92, "enable_dp_attention": True}
        return {"engine": engine(acceptance, 1, **options), "parallel": {"tensor": 1, "data": 8, "expert": 8}}
    if kind == "low latency":
        return {"engine": low_latency, "parallel": {"tensor": 8}}
    four = {"parallel": {"tensor": 4}}
    return {
        "engine": low_latency,
        "pools": {"prefill": four, "decode": four},
        "cluster": {"nodes": 1, "gpus_per_node": 8},
        "handover": {"control_ms": control_ms},
    }


def run(deployed: dict[str, Any], users: int, tokens: Any, outputs: Any, requests: int) -> dict[str, float]:
    workload = {
        "kind": "closed",
        "users": users,
        "requests": requests,
        "input_tokens": tokens,
        "output_tokens": outputs,
    }
    spec = {"model": "deepseek-v4-pro", "gpu": "b300", "workload": workload, "seed": 1, **deployed}
    return simulate(spec).summary


def fitted_acceptance() -> float:
    """The one unknown of the measured recipe, by its TPOT at concurrency 1: more accepted drafts, fewer passes."""
    low, high = 0.3, 0.99
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if measured_again(1, middle)[1] > MEASURED[1][1] else (low, middle)
    return round((low + high) / 2, 3)


def measured_again(users: int, acceptance: float) -> tuple[float, float]:
    """TTFT (the median: users that start together wait for each other's prompts) and mean TPOT as we have them."""
    summary = run(deployment("low latency", acceptance, 1.0), users, 8192, 1024, max(4 * users, 8))
    return summary["ttft_ms.p50"], summary["tpot_ms.mean"]


def curve(
    kind: str, acceptance: float, control_ms: float, lengths: tuple[int, int], users: Sequence[int]
) -> list[Point]:
    given, out = lengths
    tokens = {"p50": given, "p99": given * 1.6, "max": given * 2}
    outputs = {"p50": out, "p99": out * 2.5, "max": out * 4}
    found = []
    for count in users:
        summary = run(deployment(kind, acceptance, control_ms), count, tokens, outputs, max(6 * count, 24))
        figures = (summary[name] for name in ("output_tokens_per_s", "itl_ms.p99", "e2e_ms.p95"))
        found.append(Point(count, *figures, summary.get("busy.prefill", 0.0)))
    return found


def crossing(one: Sequence[Point], apart: Sequence[Point]) -> str:
    """The number of users from which on pools give more tokens; or those at which they do."""
    better = [b.tokens_per_s > a.tokens_per_s for a, b in zip(one, apart, strict=True)]
    where = [str(point.users) for point, is_better in zip(one, better, strict=True) if is_better]
    if not better[-1]:
        return f"at {', '.join(where)} only" if where else "never"
    first = len(better) - next((i for i, b in enumerate(reversed(better)) if not b), len(better))
    return f"from {one[first].users}"


def study(given: argparse.Namespace) -> Study:
    """Four GPUs for prompts and four for outputs, against all eight for both, DeepSeek V4-Pro on 8 B300."""
    fitted = fitted_acceptance()
    ours = {users: measured_again(users, fitted) for users in MEASURED}
    done = Study(
        name="crossover",
        title="When do prefill and decode pools beat one replica on 8 B300 with DeepSeek V4-Pro?",
        published="ZFLOW, 8 B300, SGLang, speculation: peak 826 tokens/s, 1.54 × the monolithic one's; tails 2 to 3 × "
        "better at high concurrency; monolithic better for one stream, low concurrency and very long contexts",
        fixed={
            "from measurements": f"acceptance {fitted:g} of each draft, by TPOT at concurrency 1",
            **{
                f"concurrency {users}": f"TTFT {mine[0]:.0f} ms (measured {theirs[0]:.0f}), "
                f"TPOT {mine[1]:.2f} ms (measured {theirs[1]:.2f})"
                for (users, mine), theirs in zip(ours.items(), MEASURED.values(), strict=True)
            },
            "recipes": "one replica: low latency (TP8, 3 drafts) or balanced (8 data ranks, 1 draft), whichever gives "
            "more; pools: TP4 and TP4, 3 drafts; no overlap loop",
            "columns": "ITL p99 and E2E p95 are the one replica's over the pools', at the most users",
            "not published, swept": "lengths, acceptance, messages of a hand-over, users",
        },
        columns=(
            "tokens in/out",
            "acceptance",
            "control ms",
            "one, peak/s",
            "pools, peak/s",
            "ratio",
            "more, users",
            "ITL p99",
            "E2E p95",
            "prefill busy",
        ),
    )
    ratios: dict[tuple[int, int], list[float]] = {}
    users = tuple(given.users)
    for lengths in given.lengths:
        for acceptance in sorted({*given.acceptances, fitted}):
            alone = [curve(kind, acceptance, 0.0, lengths, users) for kind in RECIPES]
            one = [max(points, key=lambda point: point.tokens_per_s) for points in zip(*alone, strict=True)]
            for control_ms in given.control_ms:
                apart = curve("pools", acceptance, control_ms, lengths, users)
                peaks = [max(point.tokens_per_s for point in points) for points in (one, apart)]
                ratio = peaks[1] / peaks[0]
                ratios.setdefault(lengths, []).append(ratio)
                last = (one[-1], apart[-1])
                done.rows.append(
                    [
                        f"{lengths[0]:,}/{lengths[1]:,}",
                        f"{acceptance:g}",
                        f"{control_ms:g}",
                        *peaks,
                        ratio,
                        crossing(one, apart),
                        last[0].itl_p99_ms / last[1].itl_p99_ms,
                        last[0].e2e_p95_ms / last[1].e2e_p95_ms,
                        last[1].busy,
                    ]
                )
    done.found = said(done, ratios, users)
    return done


def said(done: Study, ratios: dict[tuple[int, int], list[float]], users: tuple[int, ...]) -> list[str]:
    everything = [ratio for found in ratios.values() for ratio in found]
    low, high = LIKE_PUBLISHED
    like = sum(low <= ratio <= high for ratio in everything) / len(everything)
    found = [
        f"{like:.0%} of {len(everything)} settings give {low:g} to {high:g} × the monolithic peak (published 1.54)"
    ]
    for lengths, values in ratios.items():
        rows = [row for row in done.rows if row[0] == f"{lengths[0]:,}/{lengths[1]:,}"]
        tails, busy = ([float(row[place]) for row in rows] for place in (8, 9))
        starts = " or ".join(sorted({str(row[6]) for row in rows}))
        found.append(
            f"{lengths[0]:,} tokens in: ratio {min(values):.2f} to {max(values):.2f}; pools give more {starts} "
            f"users; at {users[-1]} users the monolithic p95 latency is {min(tails):.1f} to {max(tails):.1f} × "
            f"theirs; their prefill replica computes {min(busy):.0%} to {max(busy):.0%} of the time"
        )
    return [*found, WHY]


WHY = (
    "why: in one replica each prompt stops all outputs while it is computed, so ITL p99 grows with the users; in pools "
    "outputs never stop, and have half the GPUs. One stream has half the GPUs in each half of its life. Prompts of "
    "32,000 tokens and more keep the prefill replica busy all the time while the other waits for them: four to four is "
    "the wrong split there, and the only one that holds the weights"
)


def options(parser: argparse.ArgumentParser) -> None:
    def pair(text: str) -> tuple[int, int]:
        given, out = text.split("/")
        return int(given), int(out)

    parser.add_argument("--users", type=int, nargs="+", default=USERS)
    parser.add_argument("--lengths", type=pair, nargs="+", default=LENGTHS, help="median tokens in and out: 8000/1000")
    parser.add_argument("--acceptances", type=float, nargs="+", default=ACCEPTANCES)
    parser.add_argument("--control-ms", type=float, nargs="+", default=CONTROL_MS)


if __name__ == "__main__":
    main(study, options)
