"""KV capacity beside AIConfigurator's estimates, for the same model, GPU, ranks and memory option.

    pip install aiconfigurator-core==0.12.0 && python bench/accuracy/kv_capacity.py

AIConfigurator's are estimates too, on purpose careful ones (3.5 GiB and more of runtime a GPU, the memory printed on
the box); measured capacities are in docs/timing.md and held by tests/unit/test_memory.py.
"""

from __future__ import annotations

from typing import Any

from aiconfigurator_core.sdk import estimate_kv_cache  # type: ignore[import-not-found]

from servetwin import make_spec
from servetwin.catalog import resolve_engine

CASES = (
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "h100", "h100_sxm", 1),
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "a100-80g", "a100_sxm", 1),
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "l40s", "l40s", 1),
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "b200", "b200_sxm", 1),
    ("qwen3-32b", "Qwen/Qwen3-32B", "h200", "h200_sxm", 1),
    ("qwen3-32b", "Qwen/Qwen3-32B", "h200", "h200_sxm", 2),
    ("llama-3.1-70b", "meta-llama/Meta-Llama-3.1-70B", "h100", "h100_sxm", 4),
    ("llama-3.1-70b", "meta-llama/Meta-Llama-3.1-70B", "b200", "b200_sxm", 2),
    ("qwen3-30b-a3b", "Qwen/Qwen3-30B-A3B", "h100", "h100_sxm", 1),
    ("qwen3-235b-a22b", "Qwen/Qwen3-235B-A22B", "h200", "h200_sxm", 8),
    ("deepseek-v3", "deepseek-ai/DeepSeek-V3", "b200", "b200_sxm", 8),
)
TOKENS, ROWS, LENGTH = 8192, 256, 8192

ENGINES: dict[str, tuple[str, float, dict[str, Any]]] = {
    "vllm": (
        "of_total",
        0.9,
        {
            "gpu_memory_utilization": 0.9,
            "max_num_batched_tokens": TOKENS,
            "max_num_seqs": ROWS,
            "max_model_len": LENGTH,
        },
    ),
    "sglang": (
        "of_total",
        0.88,
        {"mem_fraction_static": 0.88, "chunked_prefill_size": TOKENS, "context_length": LENGTH},
    ),
    "trtllm": (
        "of_free",
        0.9,
        {
            "max_num_tokens": TOKENS,
            "max_batch_size": ROWS,
            "max_seq_len": LENGTH,
            "kv_cache_config": {"free_gpu_memory_fraction": 0.9},
        },
    ),
}


def ours(model: str, gpu: str, tensor: int, engine: str) -> int:
    spec = {
        "model": model,
        "gpu": gpu,
        "parallel": {"tensor": tensor},
        "engine": {"name": engine, **ENGINES[engine][2]},
    }
    found = resolve_engine(make_spec(spec))
    return found.blocks * found.block_tokens


def theirs(model: str, gpu: str, tensor: int, engine: str) -> int:
    kind, share, _ = ENGINES[engine]
    estimate = estimate_kv_cache(
        model,
        gpu,
        engine,
        "current",
        max_num_tokens=TOKENS,
        max_batch_size=ROWS,
        memory_fraction_kind=kind,
        memory_fraction_value=share,
        tp_size=tensor,
        moe_tp_size=tensor,
        moe_ep_size=1,
        kvcache_quant_mode="bfloat16",
    )
    return int(estimate["total_kv_size_tokens"])


def main() -> None:
    print(f"{'model':<16} {'GPU':<9} ranks " + "".join(f"{engine:>32}" for engine in ENGINES))
    for name, their_name, gpu, their_gpu, tensor in CASES:
        cells = []
        for engine in ENGINES:
            mine, estimate = ours(name, gpu, tensor, engine), theirs(their_name, their_gpu, tensor, engine)
            cells.append(f"{mine:>12,} / {estimate:>9,} {mine / estimate - 1:+7.1%}")
        print(f"{name:<16} {gpu:<9} {tensor:>5} " + "".join(cells))


if __name__ == "__main__":
    main()
