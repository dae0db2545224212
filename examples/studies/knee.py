"""The knee: latency by concurrency of one server, as Databricks published it. What physics has such a curve?

Two servers are fitted to three of the seven published medians and judged on the other four: one that admits only so
many requests, and one that admits all and whose prompts take the time. Three unknowns each: of a pass, its base and
what a row adds; and what saturates it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from servetwin import simulate

from .study import Study, main

PUBLISHED = {
    1: (2.8, 2.9, 3.0),
    4: (4.1, 4.3, 4.6),
    6: (4.4, 4.8, 5.4),
    8: (4.6, 4.8, 5.0),
    12: (6.5, 7.8, 8.7),
    16: (8.8, 9.2, 9.5),
    32: (17.6, 18.1, 18.6),
}
"""Concurrency, and the 50th, 90th and 99th percentile of latency in seconds."""
FITTED = (1, 8, 32)
"""An empty server, the most users whose 90th percentile is within the published target of 5 s, saturation."""
ALSO_FITTED = ((1, 4, 32), (1, 6, 32))
"""Other choices of the point in the middle: what is found should not hang on it."""
SPREAD = 3.0 / 2.8
"""p99 to p50 of an empty server: of the lengths of answers, for nothing else varies there."""
OUTPUT_TOKENS = 300
"""Not published. It scales the time of a pass, and nothing that is compared."""
PROMPT_TOKENS = 2000
"""Not published either: prompts are told apart by the time that they take."""
ENOUGH = 1e-3
"""A step of the search, as a share of an unknown, below which it ends."""

Unknowns = Mapping[str, float]


@dataclass(frozen=True)
class Server:
    """What limits a server, where the search for its unknowns starts, and what is tried for seats."""

    what: str
    start: Unknowns
    seats: Sequence[int] = (256,)


SERVERS = {
    "seats": Server("admits only so many at a time", {"base_ms": 8.0, "row_ms": 0.5}, seats=range(6, 13)),
    "prompts": Server("admits all; prompts take the time", {"base_ms": 6.0, "row_ms": 0.5, "prompt_ms": 400.0}),
}
PROMPT_MS = 100.0
"""Where it is no unknown."""


def run(server: Unknowns, users: int, requests: int) -> dict[str, float]:
    """The metrics of a closed loop of so many users."""
    spec = {
        "timing": {
            "kind": "linear",
            "base_ms": round(server["base_ms"], 6),
            "decode_row_ms": round(server["row_ms"], 6),
            "prefill_token_ms": round(server.get("prompt_ms", PROMPT_MS) / PROMPT_TOKENS, 6),
        },
        "engine": {
            "max_num_seqs": int(server["seats"]),
            "max_num_batched_tokens": 8192,
            "max_model_len": 8192,
            "num_gpu_blocks": 100_000,
            "enable_prefix_caching": False,
        },
        "workload": {
            "kind": "closed",
            "users": users,
            "requests": requests + 10 * users,
            "input_tokens": PROMPT_TOKENS,
            "output_tokens": {"p50": OUTPUT_TOKENS, "p99": round(OUTPUT_TOKENS * SPREAD)},
        },
        "seed": 0,
    }
    return simulate(spec).summary


def fit(server: Server, points: Sequence[int], requests: int) -> tuple[dict[str, float], float]:
    """The unknowns whose medians are nearest to the published ones at `points`, by steps along one at a time; and how
    far they are: the root mean square of the logarithms of their quotients."""

    def distance(unknowns: Unknowns) -> float:
        return error({users: run(unknowns, users, requests)["e2e_ms.p50"] / 1e3 for users in points})

    found = [descend(distance, {**server.start, "seats": float(seats)}) for seats in server.seats]
    return min(found, key=lambda one: one[1])


def descend(distance: Callable[[Unknowns], float], start: Unknowns) -> tuple[dict[str, float], float]:
    best = dict(start)
    least, step = distance(best), 0.5
    while step > ENOUGH:
        improved = False
        for name in sorted(best.keys() - {"seats"}):
            for value in (best[name] * (1 + step), best[name] / (1 + step)):
                tried = best | {name: value}
                if (found := distance(tried)) < least:
                    best, least, improved = tried, found, True
        step = step if improved else step / 2
    return best, least


def error(medians: Mapping[int, float]) -> float:
    logs = [math.log(median / PUBLISHED[users][0]) ** 2 for users, median in medians.items()]
    return math.sqrt(sum(logs) / len(logs))


def judge(
    server: Server, points: Sequence[int], requests: int
) -> tuple[dict[str, float], dict[int, dict[str, float]], str]:
    """The unknowns fitted at these points, the whole curve, and how it does on the others."""
    unknowns, distance = fit(server, points, requests)
    curve = {users: run(unknowns, users, requests) for users in PUBLISHED}
    medians = {users: summary["e2e_ms.p50"] / 1e3 for users, summary in curve.items()}
    held_out = error({users: median for users, median in medians.items() if users not in points})
    most = max(summary["requests_per_s"] for summary in curve.values())
    text = f"off by {distance:.1%} where fitted, {held_out:.1%} elsewhere; saturates at {most:.2f} requests/s"
    return unknowns, curve, f"{text}; knee at {knee(medians)}"


def knee(latencies: Mapping[int, float]) -> int:
    """Where throughput is greatest for the latency paid for it (Kleinrock's power)."""
    return max(latencies, key=lambda users: users / latencies[users] ** 2)


def study(given: argparse.Namespace) -> Study:
    """Fits a server to some points of a published curve and judges it on the others."""
    done = Study(
        name="knee",
        title="What gives a server the knee of the published latency curve?",
        published="Databricks, Reliable LLM Inference at Scale, figure 2 (2026-05-27): p50, p90 and p99 by concurrency",
        fixed={
            "fitted to": f"the medians at {', '.join(map(str, FITTED))}; judged on the others",
            "from the curve": f"answers vary by {SPREAD - 1:.0%} at p99, as an empty server's latency does",
            "chosen": f"{OUTPUT_TOKENS} output tokens, which scale the time of a pass and nothing else here",
        },
        columns=("users", "published p50 s", "published p90 s", "published req/s"),
    )
    columns: list[str] = list(done.columns)
    curves = {}
    for name, server in SERVERS.items():
        unknowns, curves[name], judged = judge(server, FITTED, given.requests)
        done.fixed[f"{name}: {server.what}"] = ", ".join(f"{key} {value:.3g}" for key, value in unknowns.items())
        columns += [f"{name} p50 s", f"{name} p90 s", f"{name} req/s"]
        done.found.append(f"{name}: {judged}")
        done.found += [
            f"{name}, fitted at {', '.join(map(str, points))}: {judge(server, points, given.requests)[2]}"
            for points in ALSO_FITTED
        ]
    done.columns = columns
    for users, (p50, p90, _) in PUBLISHED.items():
        row: list[float | int] = [users, p50, p90, users / p50]
        for curve in curves.values():
            summary = curve[users]
            row += [summary["e2e_ms.p50"] / 1e3, summary["e2e_ms.p90"] / 1e3, summary["requests_per_s"]]
        done.rows.append(row)
    theirs = {users: p50 for users, (p50, _, _) in PUBLISHED.items()}
    rate = max(users / p50 for users, p50 in theirs.items())
    done.found.insert(0, f"published: saturates at {rate:.2f} requests/s (Little's law); knee at {knee(theirs)}")
    return done


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, default=200, help="of a run, and ten more a user")


if __name__ == "__main__":
    main(study, options)
