"""What is measured, and how good it must be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .measure import OurRun
from .router import own_cost_s
from .traces import CONVERSATION, TOOLAGENT, ConstantTrace, TraceSource


@dataclass(frozen=True)
class Target:
    """A bound on one of a case's figures."""

    figure: str
    bound: float
    at_least: bool

    def met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


@dataclass(frozen=True)
class Baseline:
    """Another case run in turn with this one, and what the two say together."""

    case: Case
    figures: Callable[[OurRun, OurRun], dict[str, float]]
    """Of this case's medians and the baseline's."""


@dataclass(frozen=True)
class Case:
    """One deployment and one workload.

    Attributes:
        name: how `--case` selects it; `e` selects `e-rush` as well.
        spec: as in a spec's file.
        trace: replayed in place of the spec's workload; None where the spec generates it.
        peer: what a peer is to be told beyond trace and replicas, as options of `dynamo.replay`; None where
            there is nothing to compare with.
    """

    name: str
    about: str
    spec: Mapping[str, Any]
    trace: TraceSource | None = None
    peer: tuple[str, ...] | None = None
    targets: tuple[Target, ...] = ()
    baseline: Baseline | None = None

    @property
    def replicas(self) -> int:
        pools = self.spec.get("pools")
        return int(self.spec["replicas"]) if pools is None else sum(int(pool["replicas"]) for pool in pools.values())


def select(names: list[str]) -> list[Case]:
    """The cases of these names, or of names that begin with them and a dash; all without any. A name may be several,
    with commas between them. Raises InputError."""
    names = [name for several in names for name in several.split(",")]
    for name in names:
        if not any(_matches(case, name) for case in CASES):
            raise InputError("no such case", field="--case", found=name, wanted=", ".join(case.name for case in CASES))
    return [case for case in CASES if not names or any(_matches(case, name) for name in names)]


def _matches(case: Case, name: str) -> bool:
    return case.name == name or case.name.startswith(f"{name}-")


def _spec(
    replicas: int,
    *,
    block_size: int = 512,
    num_gpu_blocks: int = 16384,
    workload: Mapping[str, Any] | None = None,
    router: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """DynoSim's defaults: its timing, its batch limits, every decision after the results of the pass before."""
    return {
        "replicas": replicas,
        "engine": {
            "max_num_seqs": 256,
            "max_num_batched_tokens": 8192,
            "max_model_len": 262144,
            "block_size": block_size,
            "num_gpu_blocks": num_gpu_blocks,
            "enable_prefix_caching": True,
            "async_scheduling": False,
        },
        "timing": {"kind": "polynomial"},
        "router": router or {"kind": "round_robin"},
        "workload": workload or {},
    }


def _sglang_spec(replicas: int, page_size: int) -> dict[str, Any]:
    """DynoSim's defaults for SGLang, in a pool as large as that of `_spec`, its loop without overlap."""
    return _spec(replicas) | {
        "engine": {
            "name": "sglang",
            "page_size": page_size,
            "max_total_tokens": POOL_TOKENS,
            "max_running_requests": 256,
            "context_length": 262144,
            "chunked_prefill_size": 8192,
            "max_prefill_tokens": 16384,
            "disable_overlap_schedule": True,
        },
    }


def _sglang_pool(page_size: int) -> tuple[str, str]:
    options = {"engine_type": "sglang", "block_size": page_size, "num_gpu_blocks": POOL_TOKENS // page_size}
    return "--extra-engine-args", json.dumps(options)


def _pool(block_size: int, num_gpu_blocks: int) -> tuple[str, str]:
    # The script of the peer gives a block size already; of two, the last counts.
    return "--extra-engine-args", json.dumps({"block_size": block_size, "num_gpu_blocks": num_gpu_blocks})


def _users(count: int) -> tuple[str, str]:
    return "--replay-concurrency", str(count)


def _generated(replicas: int, requests: int) -> dict[str, Any]:
    """Chat-like traffic at four requests a second and replica."""
    workload = {
        "kind": "poisson",
        "requests": requests,
        "rate_per_s": 4 * replicas,
        "input_tokens": {"p50": 1000, "p99": 8000, "max": 32000},
        "output_tokens": {"p50": 200, "p99": 1000, "max": 2048},
        "prefix": {"groups": 50, "tokens": 1024, "share": 0.5, "zipf": 1.0},
    }
    return _spec(replicas, block_size=16, num_gpu_blocks=65536, workload=workload)


def _cost_growth(ours: OurRun, baseline: OurRun) -> dict[str, float]:
    return {"cost_growth": (ours.simulate_s / ours.completed) / (baseline.simulate_s / baseline.completed)}


def _router_us(ours: OurRun, baseline: OurRun) -> dict[str, float]:
    decision_us = (ours.simulate_s - baseline.simulate_s) / ours.completed * 1e6
    own_us = own_cost_s() * 1e6
    return {"router_own_us": own_us, "router_us": decision_us - own_us}


def _plain_ratio(ours: OurRun, baseline: OurRun) -> dict[str, float]:
    return {"plain_ratio": ours.simulate_s / baseline.simulate_s}


def _beside_peer(simulate: float, process: float | None = None) -> tuple[Target, ...]:
    targets = [Target("simulate_ratio", simulate, at_least=True)]
    if process is not None:
        targets.append(Target("process_ratio", process, at_least=True))
    return tuple(targets)


def _eagle(replicas: int) -> dict[str, Any]:
    """Of the drafts, 0.7 are accepted if all before them were: 2.5 tokens a pass."""
    spec = _spec(replicas)
    eagle = {"method": "eagle3", "num_speculative_tokens": 3, "acceptance": 0.7}
    return spec | {"engine": spec["engine"] | {"speculative": eagle}}


def _data_ranks(count: int) -> dict[str, Any]:
    """Of a mixture of experts, whose ranks wait for each other in vLLM; its requests have 163,840 tokens at most."""
    spec = _spec(1) | {"model": "deepseek-v3", "parallel": {"data": count, "expert": count}}
    return spec | {"engine": spec["engine"] | {"max_model_len": 163_840}}


def _kv_aware(replicas: int) -> dict[str, Any]:
    return _spec(replicas, router={"kind": "kv_aware"})


def _disaggregated(prefill: int, decode: int) -> dict[str, Any]:
    """Hand-overs of 131,072 bytes a token among H100s of one NVLink domain."""
    spec = _kv_aware(prefill + decode)
    del spec["replicas"]
    pools = {"prefill": {"replicas": prefill}, "decode": {"replicas": decode}}
    return spec | {"gpu": "h100", "pools": pools, "handover": {"kv_bytes_per_token": 131_072}}


_DISAGGREGATED_PEER = (
    *("--router-mode", "kv_router", "--num-prefill-workers", "4", "--num-decode-workers", "4"),
    *("--prefill-engine-args", '{"block_size":512,"worker_type":"prefill"}'),
    *("--decode-engine-args", '{"block_size":512,"worker_type":"decode"}'),
)
"""dynamo.replay takes no --extra-engine-args beside these."""


def _routed(router: str, replicas: int) -> dict[str, Any]:
    return {**_generated(replicas, replicas * REQUESTS_A_REPLICA), "router": {"kind": router}}


def _with_host_memory(spec: dict[str, Any]) -> dict[str, Any]:
    """Llama 3.1 8B's bytes a token, and four times the GPU's blocks on a host at PCIe 5's rate."""
    speeds = {"store_gbytes_per_s": 50.0, "load_gbytes_per_s": 50.0}
    blocks = 4 * spec["engine"]["num_gpu_blocks"]
    return spec | {"tiers": {"host": {"blocks": blocks, **speeds}, "kv_bytes_per_token": 131_072}}


REQUESTS_A_REPLICA = 1000
POOL_TOKENS = 512 * 16384
STARVED_BLOCKS = 300
"""Of 512 tokens: enough for the longest request of the trace, too few for what arrives together."""

_TOOLAGENT = Case(
    "b",
    "tool agents (toolagent-like, 23,608 requests), 8 replicas",
    _spec(8),
    TOOLAGENT,
    peer=(),
    targets=(*_beside_peer(100, 15), Target("peak_mb", 150, at_least=False)),
)
_SMALL_CACHES = Case("tier-plain", "a with 2,048 blocks a replica", _spec(8, num_gpu_blocks=2048), CONVERSATION)
_FEW_REPLICAS = Case("r-8", "1,000 requests each on 8 replicas", _generated(8, 8 * REQUESTS_A_REPLICA))

_CONVERSATION = Case(
    "a",
    "Mooncake conversation (12,031 requests), 8 replicas",
    _spec(8),
    CONVERSATION,
    peer=(),
    targets=_beside_peer(100, 15),
)

CASES: tuple[Case, ...] = (
    _CONVERSATION,
    _TOOLAGENT,
    Case(
        "c",
        "b in blocks of 16, 524,288 of them",
        _spec(8, block_size=16, num_gpu_blocks=524288),
        TOOLAGENT,
        peer=_pool(16, 524288),
        targets=_beside_peer(50),
    ),
    Case(
        "e-rush",
        "b with arrivals ×10",
        _spec(8, workload={"speedup": 10}),
        TOOLAGENT,
        peer=("--arrival-speedup-ratio", "10"),
        targets=_beside_peer(50),
    ),
    Case(
        "e-starved",
        f"b with arrivals ×2 and {STARVED_BLOCKS} blocks: requests preempt each other",
        _spec(8, num_gpu_blocks=STARVED_BLOCKS, workload={"speedup": 2}),
        TOOLAGENT,
        peer=(*_pool(512, STARVED_BLOCKS), "--arrival-speedup-ratio", "2"),
        targets=_beside_peer(50),
    ),
    *(
        Case(
            f"sglang-{page_size}",
            f"b on SGLang, pages of {page_size}",
            _sglang_spec(8, page_size),
            TOOLAGENT,
            peer=_sglang_pool(page_size),
            targets=_beside_peer(50),
        )
        for page_size in (1, 64)
    ),
    *(
        Case(
            f"f-{replicas}",
            f"10,000 requests 4,000/500, 64 users, replicas: {replicas}",
            _spec(replicas, workload={"users": 64}),
            ConstantTrace(requests=10_000, input_tokens=4000, output_tokens=500),
            peer=_users(64),
            targets=_beside_peer(50),
        )
        for replicas in (1, 8)
    ),
    Case(
        "g",
        "131,072 requests 1,024/128, 64 users, 1 replica",
        _spec(1, workload={"users": 64}),
        ConstantTrace(requests=131_072, input_tokens=1024, output_tokens=128),
        peer=_users(64),
    ),
    Case(
        "h",
        "1,000,000 generated requests, 256 replicas",
        _generated(256, 1_000_000),
        targets=(Target("process_s", 10, at_least=False), Target("peak_mb", 1500, at_least=False)),
    ),
    _FEW_REPLICAS,
    *(
        Case(
            f"r-{replicas}",
            f"1,000 requests each on {replicas:,} replicas",
            _generated(replicas, replicas * REQUESTS_A_REPLICA),
            targets=(Target("cost_growth", 1.5, at_least=False),),
            baseline=Baseline(_FEW_REPLICAS, _cost_growth),
        )
        for replicas in (32, 128, 1024)
    ),
    *(
        Case(
            f"kv-{replicas}",
            f"b with kv_aware, replicas: {replicas}",
            _kv_aware(replicas),
            TOOLAGENT,
            peer=("--router-mode", "kv_router"),
            targets=_beside_peer(50),
        )
        for replicas in (8, 32, 128)
    ),
    Case(
        "disaggregated",
        "b with kv_aware, 4 replicas that prefill and 4 that decode",
        _disaggregated(4, 4),
        TOOLAGENT,
        peer=_DISAGGREGATED_PEER,
        targets=_beside_peer(50),
    ),
    *(
        Case(
            f"n-{router}",
            f"r-1024 with {router}, beside 8 replicas with it",
            _routed(router, 1024),
            targets=(Target("cost_growth", 2, at_least=False),),
            baseline=Baseline(Case(f"n-{router}-8", f"r-8 with {router}", _routed(router, 8)), _cost_growth),
        )
        for router in ("kv_aware", "least_requests", "cache_aware", "llm_d", "power_of_two", "prefix_hash")
    ),
    Case(
        "eagle",
        "a with a drafting head of 3 drafts",
        _eagle(8),
        CONVERSATION,
        targets=(Target("plain_ratio", 5, at_least=False),),
        baseline=Baseline(_CONVERSATION, _plain_ratio),
    ),
    Case(
        "dp",
        "a on one replica of 8 data ranks in step",
        _data_ranks(8),
        CONVERSATION,
        targets=(Target("plain_ratio", 5, at_least=False),),
        baseline=Baseline(_CONVERSATION, _plain_ratio),
    ),
    Case(
        "p",
        "b with a router in Python that takes replicas in turn",
        _spec(8, router={"kind": "python", "object": "servetwin.bench.router:InTurn"}),
        TOOLAGENT,
        targets=(Target("router_us", 5, at_least=False),),
        baseline=Baseline(_TOOLAGENT, _router_us),
    ),
    Case(
        "tier",
        "a with 2,048 blocks a replica, and 8,192 in host memory",
        _with_host_memory(_spec(8, num_gpu_blocks=2048)),
        CONVERSATION,
        targets=(Target("plain_ratio", 5, at_least=False),),
        baseline=Baseline(_SMALL_CACHES, _plain_ratio),
    ),
)
