"""Routers: what do eight replicas gain from one that knows their caches?"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from servetwin import Trace, simulate

from . import data
from .study import Cell, Study, main

EXAMPLES = Path(__file__).parents[1]
ROUTERS = ("round_robin", "least_requests", "power_of_two", "prefix_hash", "cache_aware", "llm_d", "kv_aware")
TRACES = ("toolagent_like", "conversation")
USERS = (16, 64, 256)
"""Of all replicas together; what the published runs had is not in their text."""
BLOCKS = 54_453
"""The pool of a MiniMax-M2.5 replica on B200s, in ai-dynamo/dynamo PR #12033, taken as blocks of 16 tokens."""
POOLS = (2, 4, 8)
"""Times as many: the size of a block is not said there, and neither is the pool of the published comparison."""
SERVER: dict[str, Any] = {
    "model": str(EXAMPLES / "long-context-8b.json"),
    "gpu": "h200",
    "replicas": 8,
    "engine": {
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "max_model_len": 262144,
        "num_gpu_blocks": BLOCKS,
    },
    "timing": "analytic",
    "seed": 0,
}


def run(trace: Trace, users: int, router: str, blocks: int = BLOCKS) -> dict[str, float]:
    engine = SERVER["engine"] | {"num_gpu_blocks": blocks}
    return simulate(SERVER | {"router": router, "engine": engine, "workload": {"users": users}}, trace).summary


def study(given: argparse.Namespace) -> Study:
    """Every router, two traces, and closed loops of more and more users."""
    done = Study(
        name="router",
        title="What do eight replicas gain from a router that knows their caches?",
        published="NVIDIA's blog on DynoSim (May 2026), figure 4: MiniMax-M2.5, TP4, 8 workers of vLLM 0.14, "
        "Mooncake's toolagent trace: prefix reuse from about 0.38 (round robin) to 0.44-0.45 (KV router), TTFT down, "
        "throughput up, TPOT worse at high concurrency",
        fixed={
            "from publications": f"8 replicas, pools of {BLOCKS:,} blocks (of 16 tokens, which is not said there)",
            "not the published ones": "Llama 3.1 8B with more positions, each replica on an H200; the conversation "
            "trace is Mooncake's own, and its toolagent trace is replaced by one made like it",
            "swept": f"users, {', '.join(map(str, given.users))}: as many requests at a time",
        },
        columns=(
            "trace",
            "users",
            "blocks",
            "router",
            "prefix reuse",
            "TTFT mean ms",
            "TTFT p95 ms",
            "TPOT mean ms",
            "output tokens/s",
        ),
    )
    for name in TRACES:
        trace, called = data.trace(name, given.requests)
        done.fixed[name] = f"{called}, {len(trace):,} requests"
        for users in given.users:
            summaries = {router: run(trace, users, router) for router in ROUTERS}
            done.rows += [row(name, users, BLOCKS, router, summary) for router, summary in summaries.items()]
            done.found.append(f"{name}, {users} users: {difference(summaries['round_robin'], summaries['kv_aware'])}")
        if name == TRACES[0]:
            for blocks in (BLOCKS * factor for factor in POOLS):
                users = given.users[len(given.users) // 2]
                summaries = {router: run(trace, users, router, blocks) for router in ("round_robin", "kv_aware")}
                done.rows += [row(name, users, blocks, router, summary) for router, summary in summaries.items()]
                change = difference(summaries["round_robin"], summaries["kv_aware"])
                done.found.append(f"{name}, {users} users, {blocks:,} blocks: {change}")
    return done


def row(trace: str, users: int, blocks: int, router: str, summary: dict[str, float]) -> list[Cell]:
    names = ("prefix_reuse", "ttft_ms.mean", "ttft_ms.p95", "tpot_ms.mean", "output_tokens_per_s")
    return [trace, users, blocks, router, *(float(summary[name]) for name in names)]


def difference(before: dict[str, float], after: dict[str, float]) -> str:
    def change(name: str) -> str:
        return f"{after[name] / before[name] - 1:+.0%}"

    return (
        f"from round_robin to kv_aware reuse {before['prefix_reuse']:.3f} to {after['prefix_reuse']:.3f}, mean TTFT "
        f"{change('ttft_ms.mean')}, mean TPOT {change('tpot_ms.mean')}, output {change('output_tokens_per_s')}"
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, help="of each trace, from its start; all if not given")
    parser.add_argument("--users", type=int, nargs="+", default=USERS)


if __name__ == "__main__":
    main(study, options)
