"""Agents: what do coding sessions gain from a router that keeps them together, and from host memory?"""

from __future__ import annotations

import argparse
from typing import Any

from servetwin import Trace, simulate

from . import data
from .router import EXAMPLES
from .study import Cell, Study, main

ROUTERS = ("round_robin", "least_requests", "session_affinity", "cache_aware", "llm_d", "kv_aware")
USERS = 64
SERVER: dict[str, Any] = {
    "model": str(EXAMPLES / "long-context-1m.json"),
    "gpu": "h200",
    "parallel": {"tensor": 4},
    "replicas": 4,
    "engine": {"block_size": 64, "max_num_seqs": 64, "max_num_batched_tokens": 16384, "max_model_len": 1048576},
    "timing": "analytic",
    "workload": {"users": USERS},
    "seed": 0,
}
"""As `examples/agents.yaml` has it."""
POOLS = (None, 31_250, 15_625)
"""Blocks of 64 tokens of a replica: all of its memory, 2 million tokens, 1 million."""
HOST_BLOCKS = 125_000
"""8 million tokens, which take 1.05 TB: half of what a host with eight GPUs, two replicas, may have."""
WITH_HOST = ("least_requests", "session_affinity", "llm_d")


def run(trace: Trace, router: str, blocks: int | None, host_blocks: int = 0) -> dict[str, float]:
    engine = SERVER["engine"] | ({} if blocks is None else {"num_gpu_blocks": blocks})
    tiers = {"tiers": {"host": {"blocks": host_blocks}}} if host_blocks else {}
    return simulate(SERVER | tiers | {"router": router, "engine": engine}, trace).summary


def study(given: argparse.Namespace) -> Study:
    """Sessions of coding agents over four replicas, by router and by the size of the pool."""
    trace, called = data.trace("agents", given.requests)
    done = Study(
        name="agents",
        title="What do coding sessions gain from a router that keeps them together, and from host memory?",
        published="the trace itself (callanjfox/kv-cache-tester): 96 % of prompts was cached where it was recorded, at "
        "an API whose routing is not published",
        fixed={
            "trace": f"{called}, {len(trace):,} requests",
            "server": f"examples/agents.yaml: four replicas of four H200s, a million positions; {USERS} users",
            "swept": "routers, blocks of 64 tokens a replica, and as many more in host memory",
        },
        columns=(
            "blocks",
            "host blocks",
            "router",
            "prefix reuse",
            "TTFT mean ms",
            "TTFT p95 ms",
            "TPOT mean ms",
            "trajectory mean s",
            "preemptions",
        ),
    )
    ideal = trace.profile()["ideal_prefix_hit"]
    done.found.append(f"a cache that forgets nothing would find {ideal:.1%} of the prompts' blocks")
    for blocks in given.pools:
        summaries = {router: run(trace, router, blocks) for router in ROUTERS}
        tiered = {router: run(trace, router, blocks, HOST_BLOCKS) for router in WITH_HOST}
        done.rows += [row(blocks, 0, router, summary) for router, summary in summaries.items()]
        done.rows += [row(blocks, HOST_BLOCKS, router, summary) for router, summary in tiered.items()]
        least, kept = summaries["least_requests"], summaries["session_affinity"]
        done.found.append(
            f"{size(blocks)}: from least_requests to session_affinity reuse {least['prefix_reuse']:.3f} to "
            f"{kept['prefix_reuse']:.3f}, mean TTFT {kept['ttft_ms.mean'] / least['ttft_ms.mean'] - 1:+.0%}"
        )
        changes = [
            f"{router} {summary['ttft_ms.mean'] / summaries[router]['ttft_ms.mean'] - 1:+.0%}"
            for router, summary in tiered.items()
        ]
        done.found.append(f"{size(blocks)}: mean TTFT with the host tier, against without: {', '.join(changes)}")
    return done


def size(blocks: int | None) -> str:
    return "all memory" if blocks is None else f"{blocks:,} blocks"


def row(blocks: int | None, host: int, router: str, summary: dict[str, float]) -> list[Cell]:
    names = ("prefix_reuse", "ttft_ms.mean", "ttft_ms.p95", "tpot_ms.mean")
    figures = [float(summary[name]) for name in names]
    trajectory = float(summary.get("trajectory_ms.mean", summary["e2e_ms.mean"])) / 1e3
    return [size(blocks), host, router, *figures, trajectory, int(summary["preemptions"])]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, help="of the trace, from its start; all if not given")
    parser.add_argument("--pools", type=lambda text: None if text == "all" else int(text), nargs="+", default=POOLS)


if __name__ == "__main__":
    main(study, options)
