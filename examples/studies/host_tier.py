"""A host tier: what does the memory of the host beside the GPU's do to the time to the first token?"""

from __future__ import annotations

import argparse
from typing import Any

from servetwin import Trace, simulate

from . import data
from .router import EXAMPLES
from .study import Cell, Study, main

TRACES = ("toolagent_like", "conversation")
USERS = (8, 32, 64)
POOLS = (8_192, 16_384)
"""Blocks of a replica. The first is a rank's in aisimulate's replay evidence (MiniMax-M2.5, TP2, two ranks, B200), the
second both ranks' together; what the published comparison had is not said."""
HOST_BLOCKS = (32_768, 131_072, 524_288)
"""The published tier's, if its blocks hold 32 tokens, 128, or 512 as those of the trace do."""
BLOCK_TOKENS = 32
"""As in the replay evidence."""
SERVER: dict[str, Any] = {
    "model": str(EXAMPLES / "long-context-8b.json"),
    "gpu": "h200",
    "router": "round_robin",
    "engine": {
        "max_num_seqs": 256,
        "max_num_batched_tokens": 8192,
        "max_model_len": 262144,
        "block_size": BLOCK_TOKENS,
    },
    "timing": "analytic",
    "seed": 0,
}


def run(trace: Trace, users: int, blocks: int, host_blocks: int) -> dict[str, float]:
    engine = SERVER["engine"] | {"num_gpu_blocks": blocks}
    tiers = {"tiers": {"host": {"blocks": host_blocks}}} if host_blocks else {}
    return simulate(SERVER | tiers | {"engine": engine, "workload": {"users": users}}, trace).summary


def study(given: argparse.Namespace) -> Study:
    """One replica, with a host tier and without, under closed loops of more and more users."""
    done = Study(
        name="host_tier",
        title="What does a tier of host memory do to the time to the first token?",
        published="NVIDIA's blog on DynoSim (May 2026), figure 5: MiniMax-M2.5, TP4, one worker of vLLM 0.14, "
        "Mooncake's toolagent trace, a host tier of 32,768 blocks: mean TTFT -19.3 % at a concurrency of 32, the most "
        "of all",
        fixed={
            "from publications": "a host tier of 32,768 blocks, which here are of 32, 128 and 512 tokens",
            "blocks here": f"of {BLOCK_TOKENS} tokens",
            "not the published ones": "Llama 3.1 8B with more positions on an H200; the toolagent trace is one made "
            "like Mooncake's",
            "swept": "traces, blocks of the GPU's pool and of the host's, users",
        },
        columns=(
            "trace",
            "pool",
            "users",
            "host blocks",
            "reuse",
            "from host",
            "TTFT mean ms",
            "change",
            "TPOT mean ms",
        ),
    )
    for name in TRACES:
        trace, called = data.trace(name, given.requests)
        ideal = trace.profile()["ideal_prefix_hit"]
        done.fixed[name] = f"{called}, {len(trace):,} requests; a cache that forgets nothing would find {ideal:.1%}"
        for blocks in given.pools:
            changes: dict[int, list[str]] = {host: [] for host in HOST_BLOCKS}
            for users in given.users:
                without = run(trace, users, blocks, 0)
                done.rows.append(row(name, blocks, users, 0, without, ""))
                for host in HOST_BLOCKS:
                    summary = run(trace, users, blocks, host)
                    change = f"{summary['ttft_ms.mean'] / without['ttft_ms.mean'] - 1:+.1%}"
                    done.rows.append(row(name, blocks, users, host, summary, change))
                    changes[host].append(f"{change} at {users}")
            done.found += [
                f"{name}, pool {blocks:,}, host {host:,}: mean TTFT {', '.join(changes[host])} users"
                for host in HOST_BLOCKS
            ]
    return done


def row(trace: str, blocks: int, users: int, host: int, summary: dict[str, float], change: str) -> list[Cell]:
    names = ("prefix_reuse", "prefix_reuse.host", "ttft_ms.mean", "tpot_ms.mean")
    reuse, from_host, ttft_ms, tpot_ms = (float(summary.get(name, 0)) for name in names)
    return [trace, blocks, users, host, reuse, from_host, ttft_ms, change, tpot_ms]


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--requests", type=int, help="of the trace, from its start; all if not given")
    parser.add_argument("--users", type=int, nargs="+", default=USERS)
    parser.add_argument("--pools", type=int, nargs="+", default=POOLS, help="blocks of the GPU's pool")


if __name__ == "__main__":
    main(study, options)
