"""A deployment of the sample as a spec of ours: checkpoint, launch options and benchmark.

The sample records neither launch options nor protocol. Both are those that the benchmarks publish: of InferenceX, its
scripts (SemiAnalysisAI/InferenceX, benchmarks/*.sh and its client): a closed loop of ten requests a user, all of them
sent at once at the start, prompts and answers drawn evenly from 80 to 100 % of their length, prefix caching off; of the
others AIPerf's, a closed loop of prompts and answers of the length given, or nearly. `Protocol` has what is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...catalog.checkpoints import CHECKPOINTS
from ...catalog.named import MODELS, model_name
from .rows import Deployment

STEPS = 21
"""Lengths that stand for all between the shortest and the longest."""


@dataclass(frozen=True)
class Protocol:
    """What the sample does not record of a benchmark."""

    requests_per_user: int = 10
    """InferenceX: `--num-prompts $((CONC * 10))`. Taken for the others as well."""
    shortest: float = 0.8
    """InferenceX: `RANDOM_RANGE_RATIO`, the shortest prompt and answer in parts of the longest."""
    drift: float = 0.2
    """AIPerf: how far answers are from the length asked for, so that users who begin together drift apart. Not with
    SGLang, whose passes of prompts keep them together: those who are ahead wait for the others' prompts."""

    def mean_share(self, one: Deployment) -> float:
        """Of the lengths that the sample names, those of a mean request."""
        return (1 + self.shortest) / 2 if one.benchmark == "inferencex" else 1.0

    def lengths(self, one: Deployment) -> tuple[Any, Any]:
        """Of prompts and answers."""
        if one.benchmark == "inferencex":
            return _evenly(self.shortest * one.input_tokens, one.input_tokens), _evenly(
                self.shortest * one.output_tokens, one.output_tokens
            )
        drift = 0.0 if one.engine == "sglang" else self.drift
        return one.input_tokens, _evenly((1 - drift / 2) * one.output_tokens, (1 + drift / 2) * one.output_tokens)


PUBLISHED = Protocol()


def _evenly(shortest: float, longest: float) -> Any:
    values = sorted({round(shortest + (longest - shortest) * step / (STEPS - 1)) for step in range(STEPS)})
    return values[0] if len(values) == 1 else {"values": values}


VERSIONS = {"vllm": "0.19", "sglang": "0.5.23", "trtllm": "1.2"}
"""Whose rules we have that are nearest to the versions measured."""

FORMATS = {"nvfp4": "nvfp4", "int4_wo": "int4"}
"""The sample's words for what is not FP8 or 16 bits."""


class NotSimulatedError(Exception):
    """Its text is the cause."""


def checkpoint(one: Deployment) -> str:
    """Our name of the checkpoint that was served. Raises NotSimulatedError."""
    name = model_name(one.checkpoint)
    base = next((model for model in MODELS if name == model or name.startswith(f"{model}-")), None)
    if base is None:
        raise NotSimulatedError(f"not in the catalog: {one.checkpoint}")
    if name in CHECKPOINTS:
        return name
    if f"{name}-fp8-static-pertensor" in CHECKPOINTS and one.products == "fp8":
        return f"{name}-fp8-static-pertensor"
    stored = MODELS[base].stored
    if base.startswith("gpt-oss"):
        # There is one checkpoint, its experts in MXFP4, whatever the sample calls them.
        return base
    wanted = one.experts if MODELS[base].has_experts else one.products
    if not wanted:
        return base
    if wanted in ("fp8", "fp8_block") and stored.quantised and stored.attention.arithmetic == "fp8":
        return base
    if wanted == "int4_wo" and stored.experts.name.startswith("int4"):
        return base
    suffix = {"nvfp4": "nvfp4", "fp8": "fp8", "fp8_block": "fp8"}.get(wanted)
    if suffix is None or f"{base}-{suffix}" not in CHECKPOINTS:
        raise NotSimulatedError(f"no checkpoint of {base} in {wanted} is known")
    return f"{base}-{suffix}"


def spec_of(one: Deployment, protocol: Protocol) -> dict[str, Any]:
    """As `servetwin.make_spec` takes it. Raises NotSimulatedError."""
    inputs, outputs = protocol.lengths(one)
    return {
        "model": checkpoint(one),
        "gpu": one.gpu,
        "parallel": {"tensor": one.tensor, "data": one.data, "expert": one.expert},
        "engine": {"name": one.engine, "version": VERSIONS[one.engine], **_options(one)},
        "workload": {
            "kind": "closed",
            "users": one.concurrency,
            "requests": protocol.requests_per_user * one.concurrency,
            "input_tokens": inputs,
            "output_tokens": outputs,
        },
        "metrics": {"warmup": 0},
    }


def _options(one: Deployment) -> Mapping[str, Any]:
    longest = 2 * (one.input_tokens + one.output_tokens)
    if one.engine == "vllm":
        return _vllm(one, longest)
    if one.engine == "sglang":
        return _sglang(one, longest)
    return _trtllm(one, longest)


def _vllm(one: Deployment, longest: int) -> dict[str, Any]:
    options: dict[str, Any] = {"max_model_len": longest + 200}
    if one.benchmark == "inferencex":
        options |= {"enable_prefix_caching": False, "max_num_batched_tokens": 8192}
        if "llama" in one.checkpoint.lower():
            options["kv_cache_dtype"] = "fp8"
        if "MiniMax" in one.checkpoint and one.gpu.startswith("b"):
            options |= {"kv_cache_dtype": "fp8", "max_num_batched_tokens": 2 * one.input_tokens}
        elif "MiniMax" in one.checkpoint:
            options["gpu_memory_utilization"] = 0.95
    if "Kimi" in one.checkpoint:
        # Its vision tower is not counted, so no size of the cache is derived: all users fit.
        options["num_gpu_blocks"] = one.concurrency * (longest // 16 + 2)
    return options


def _sglang(one: Deployment, longest: int) -> dict[str, Any]:
    options: dict[str, Any] = {"context_length": longest + 200}
    if one.benchmark == "inferencex":
        options |= {"disable_radix_cache": True}
        if "deepseek" in one.checkpoint.lower():
            chunk = 16384 if one.experts == "nvfp4" else 32768
            fraction = 0.95 if one.tensor * one.data == 4 and one.experts != "nvfp4" else 0.82
            options |= {"chunked_prefill_size": chunk, "max_prefill_tokens": chunk, "mem_fraction_static": fraction}
            if one.gpu != "h200":
                options["kv_cache_dtype"] = "fp8_e4m3"
        else:
            options["chunked_prefill_size"] = 16384
    if "Qwen3.5" in one.checkpoint:
        # Its vision tower is not counted, so no size of the cache is derived: all users fit.
        options |= {"max_running_requests": one.concurrency, "max_total_tokens": one.concurrency * longest}
    if one.data > 1:
        options["enable_dp_attention"] = True
    return options


def _trtllm(one: Deployment, longest: int) -> dict[str, Any]:
    cache: dict[str, Any] = {"enable_block_reuse": False}
    if one.benchmark == "inferencex" or one.products == "fp8":
        # Checkpoints in FP8 by tensor, NVIDIA's, say so of their cache.
        cache["dtype"] = "fp8"
    waits: dict[str, Any] = {}
    if "Llama-3.1-70B" in one.checkpoint and one.tensor < 8 and one.input_tokens == one.output_tokens == 1024:
        waits = {"batch_wait_timeout_iters": 20, "batch_wait_max_tokens_ratio": 0.9}
    tokens = max(8192, -(-(one.concurrency + one.input_tokens + 64) // 64) * 64)
    return {
        "max_num_tokens": tokens,
        "max_batch_size": min(max(one.concurrency, 1), tokens),
        "max_seq_len": longest + 200,
        "kv_cache_config": cache,
        **waits,
        "cuda_graph_config": {"enable_padding": True, "max_batch_size": min(max(one.concurrency, 128), 1024)},
    }


def polling_passes(one: Deployment) -> int:
    """Passes that decode between two looks of SGLang for new requests (`--scheduler-recv-interval`); 0: after each.

    InferenceX asks for it with DeepSeek on Blackwell.
    """
    if one.engine != "sglang" or "DeepSeek" not in one.checkpoint or one.gpu == "h200":
        return 0
    return 10 if one.concurrency < 16 else 30
