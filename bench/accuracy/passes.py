"""Pass times of kind `analytic` beside AIConfigurator's sums of kernels, for dense models.

    pip install aiconfigurator-core==0.12.0 && python bench/accuracy/passes.py

Both are without the host's share. Ours over theirs: decodes as rows × context of each, prompts by their tokens.
"""

from __future__ import annotations

import statistics
from typing import Any

from aiconfigurator_core.sdk import EngineHandle  # type: ignore[import-not-found]

from servetwin import make_spec
from servetwin.describe import resolve
from servetwin.reference import Features, step_time

CASES: tuple[tuple[str, str, str, str, int, str | None], ...] = (
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "h100", "h100_sxm", 1, None),
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "a100-80g", "a100_sxm", 1, None),
    ("llama-3.1-8b", "meta-llama/Meta-Llama-3.1-8B", "l40s", "l40s", 1, None),
    ("qwen3-32b", "Qwen/Qwen3-32B", "h200", "h200_sxm", 2, None),
    ("qwen3-32b", "Qwen/Qwen3-32B", "h200", "h200_sxm", 2, "fp8"),
    ("llama-3.1-70b", "meta-llama/Meta-Llama-3.1-70B", "h100", "h100_sxm", 4, None),
    ("llama-3.1-70b", "meta-llama/Meta-Llama-3.1-70B", "b200", "b200_sxm", 2, None),
    ("qwen3-8b", "Qwen/Qwen3-8B", "gb200", "gb200", 1, None),
    ("llama-3.1-70b", "meta-llama/Meta-Llama-3.1-70B", "h200", "h200_sxm", 8, "fp8"),
)
DECODES = ((1, 1024), (8, 1024), (8, 8192), (64, 1024), (64, 4096), (256, 1024))
PROMPTS = (256, 1024, 2048, 8192)
LIMITS = {"max_model_len": 32768, "num_gpu_blocks": 60000, "max_num_batched_tokens": 8192, "max_num_seqs": 256}


def pass_ms(description: dict[str, Any], prefill: int, decode: int, context: int, rows: int) -> float:
    """Of the lowered form: one prompt of `prefill` tokens, or `decode` rows."""

    work, context_of_prompts = prefill**2, context if prefill else 0
    features = Features(prefill, work, context_of_prompts, decode, 0, context, rows, context, rows)
    return step_time(description).picoseconds(features) / 1e9


def main() -> None:
    errors = []
    for name, their_name, gpu, their_gpu, tensor, quantization in CASES:
        spec = make_spec(
            {
                "model": name,
                "gpu": gpu,
                "parallel": {"tensor": tensor},
                "engine": {**LIMITS, **({"quantization": quantization} if quantization else {})},
                "timing": {"kind": "analytic", "host_ms": 0, "eager_layer_us": 0, "piecewise_layer_us": 0},
            }
        )
        description = resolve(spec).lowered.description
        modes = {"gemm_quant_mode": quantization or "bfloat16", "kvcache_quant_mode": "bfloat16"}
        engine = EngineHandle.compile(
            their_name,
            their_gpu,
            "vllm",
            backend_version="current",
            tp_size=tensor,
            fmha_quant_mode="bfloat16",
            **modes,
        )
        cells = []
        for rows, context in DECODES:
            ratio = pass_ms(description, 0, rows, rows * context, rows) / engine.predict_decode_latency(
                rows, context, 2
            )
            cells.append((f"{rows}×{context}", ratio))
        for tokens in PROMPTS:
            ratio = pass_ms(description, tokens, 0, tokens, 1) / engine.predict_prefill_latency(1, tokens, 0)
            cells.append((f"{tokens}", ratio))
        errors += [abs(ratio - 1) for _, ratio in cells]
        shown = "  ".join(f"{label} {ratio - 1:+.0%}" for label, ratio in cells)
        print(f"{name} {gpu} ×{tensor} {quantization or 'bf16'}: {shown}")
    errors.sort()
    print(f"median {statistics.median(errors):.1%}, p90 {errors[int(0.9 * len(errors))]:.1%}, largest {errors[-1]:.1%}")


if __name__ == "__main__":
    main()
