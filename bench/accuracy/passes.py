"""Passes by our curves beside AIConfigurator's sums of kernels.

    pip install aiconfigurator-core==0.12.0 && python bench/accuracy/passes.py

Both are without the host's share, of vLLM's kernels. Ours over theirs: decodes as rows × context of each, prompts by
their tokens. Formats are those whose timings are sound in both: products in FP8 blocks are not (AIConfigurator's table
of them for vLLM times launches). Of DeepSeek V3 on several ranks its third all-reduce a layer is taken away.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiconfigurator_core  # type: ignore[import-not-found]
from aiconfigurator_core.sdk import EngineHandle  # type: ignore[import-not-found]

from servetwin.catalog import FORMATS, GPUS, MODELS, Stored
from servetwin.catalog.parallel import Ranks
from servetwin.timing.aiconfigurator.names import EXPERTS, PRODUCTS, models, system
from servetwin.timing.composed import Composed


@dataclass(frozen=True)
class Case:
    model: str
    gpu: str
    tensor: int = 1
    stored: str = "bf16"
    expert: int = 1


DENSE = (
    Case("llama-3.1-8b", "h100"),
    Case("llama-3.1-8b", "a100-80g"),
    Case("llama-3.1-8b", "l40s"),
    Case("qwen3-32b", "h200", 2),
    Case("qwen3-32b", "h200", 2, "fp8"),
    Case("llama-3.1-70b", "h100", 4),
    Case("llama-3.1-70b", "b200", 2),
    Case("llama-3.1-70b", "b300", 2, "nvfp4"),
    Case("qwen3-8b", "gb200"),
    Case("llama-3.1-70b", "h200", 8, "fp8"),
)
MIXTURES = (
    Case("qwen3-30b-a3b", "h100"),
    Case("qwen3-30b-a3b", "b200", 2),
    Case("qwen3-30b-a3b", "l40s", 2, "fp8"),
    Case("qwen3-235b-a22b", "h200", 8),
    Case("qwen3-235b-a22b", "h200", 8, "fp8"),
    Case("qwen3-235b-a22b", "h200", 8, "bf16", 8),
    Case("qwen3-235b-a22b", "b300", 4, "nvfp4"),
)
LATENT = (
    Case("deepseek-v3", "h200", 8),
    Case("deepseek-v3", "b200", 8, "nvfp4"),
    Case("deepseek-v3", "b300", 4, "nvfp4"),
    Case("deepseek-v3", "gb200", 4, "nvfp4", 4),
    Case("deepseek-v3.2", "b200", 8, "nvfp4"),
)
DECODES = ((1, 1024), (8, 1024), (8, 8192), (64, 1024), (64, 4096), (256, 1024))
PROMPTS = (256, 1024, 2048, 8192)
AGAIN = "tp_allreduce"
"""An operator that counts all-reduces a second time."""


def both(case: Case) -> tuple[Composed, Any]:
    model, stored = MODELS[case.model], Stored.alike(FORMATS[case.stored])
    # AIConfigurator's loads of experts: of DeepSeek's the milder power law, of others the steeper.
    skew = 1.01 if case.model.startswith("deepseek") else 1.2
    ranks = Ranks(tensor=case.tensor, expert=case.expert)
    modes = {"gemm_quant_mode": PRODUCTS[case.stored], "kvcache_quant_mode": "bfloat16", "fmha_quant_mode": "bfloat16"}
    sizes = {"tp_size": case.tensor}
    if model.has_experts:
        modes["moe_quant_mode"] = EXPERTS[case.stored]
        sizes |= {"moe_tp_size": ranks.expert_slices, "moe_ep_size": case.expert}
    name = models(Path(aiconfigurator_core.__path__[0]) / "model_configs")[case.model]
    theirs = EngineHandle.compile(name, system(case.gpu), "vllm", backend_version="current", **modes, **sizes)
    return Composed(model, GPUS[case.gpu], ranks, stored, FORMATS["bf16"], skew), theirs


def theirs_ms(handle: Any, mode: str, rows: int, length: int) -> float:
    prompts, decodes = handle.run_static_per_op(batch_size=rows, isl=length, osl=2, mode=mode)
    return sum(ms for name, ms, _, _ in (*prompts, *decodes) if not name.endswith(AGAIN))


def compare(title: str, cases: Sequence[Case]) -> None:
    errors = []
    for case in cases:
        ours, theirs = both(case)
        cells = []
        for rows, context in DECODES:
            total = ours.tokens_s(rows) + ours.decode_s(rows, rows * context) + ours.head_s(rows)
            ratio = total * 1e3 / theirs_ms(theirs, "static_gen", rows, context)
            cells.append((f"{rows}×{context}", ratio))
        for tokens in PROMPTS:
            total = ours.tokens_s(tokens) + ours.prompt_s(tokens, tokens**2) + ours.head_s(1)
            cells.append((f"{tokens}", total * 1e3 / theirs_ms(theirs, "static_ctx", 1, tokens)))
        errors += [abs(ratio - 1) for _, ratio in cells]
        name = f"{case.model} {case.gpu} ×{case.tensor} {case.stored}"
        name += f", experts ×{case.expert}" if case.expert > 1 else ""
        print(f"{name}: " + "  ".join(f"{label} {ratio - 1:+.0%}" for label, ratio in cells))
    errors.sort()
    print(
        f"{title}: median {statistics.median(errors):.1%}, p90 {errors[int(0.9 * len(errors))]:.1%}, "
        f"largest {errors[-1]:.1%}\n"
    )


def main() -> None:
    for title, cases in (("dense", DENSE), ("mixtures", MIXTURES), ("latent attention", LATENT)):
        compare(title, cases)


if __name__ == "__main__":
    main()
