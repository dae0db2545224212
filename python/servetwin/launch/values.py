"""Values of flags as the spec wants them."""

from __future__ import annotations

import re
from typing import Any

import yaml

from ..errors import InputError
from .arguments import as_json

_HUMAN = re.compile(r"(\d+(?:\.\d+)?)(k|K|Ki|m|M|Mi)")
_IEC = {"k": 10**3, "K": 2**10, "Ki": 2**10, "m": 10**6, "Mi": 2**20}

FP8_CACHES = ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc")


def is_off(value: Any) -> bool:
    """Whether a flag that is refused was given so that it does nothing."""
    return value is False or value is None or str(value).lower() in ("false", "0", "0.0", "none", "null", "")


def spec_value(engine: str, version: str, flag: str, field: str, value: Any) -> Any:
    """What `field` is set to; None leaves it at its default. Raises InputError."""
    name = field.rsplit(".", 1)[-1]
    if name == "speculative":
        return _speculative(value)
    if name in ("max_model_len", "context_length", "max_seq_len") and str(value).lower() in ("auto", "-1"):
        return None
    if name in ("kv_cache_dtype", "dtype"):
        return _cache_type(engine, flag, str(value))
    if name == "cudagraph_mode":
        return _graph_mode(value)
    if name in ("cudagraph_capture_sizes", "cuda_graph_bs_decode") and isinstance(value, str):
        return [yaml.safe_load(size) for size in value.replace(",", " ").split()]
    if name == "quant_algo":
        return None if is_off(value) else str(value).upper()
    if not isinstance(value, str) or name == "model":
        return value
    if match := _HUMAN.fullmatch(value):
        number, unit = match.groups()
        # M is 10⁶ in SI, which vLLM 0.19 spelled m.
        scale = 2**20 if (unit, version) == ("M", "0.19") else _IEC.get(unit, 10**6)
        return int(float(number) * scale)
    return yaml.safe_load(value)


def _cache_type(engine: str, flag: str, value: str) -> str:
    if value in ("auto", "bfloat16", "bf16", "float16", "half"):
        return "auto"
    if value in FP8_CACHES:
        return value if engine == "sglang" and value != "fp8" else "fp8"
    raise InputError("not yet modelled", field=f"--{flag}", found=value, wanted="auto or fp8")


def _speculative(value: Any) -> dict[str, Any]:
    """vLLM's JSON: what the scheduler reads of it; where the head comes from changes no decision."""
    config = as_json("speculative-config", value) if isinstance(value, str) else value
    if not isinstance(config, dict):
        raise InputError("not an object", field="--speculative-config", found=repr(value), wanted="JSON in braces")
    method = str(config.get("method"))
    method = "mtp" if method.endswith("_mtp") else method
    read = {name: config[name] for name in SPECULATIVE if config.get(name) is not None}
    return {"method": method, "num_speculative_tokens": config.get("num_speculative_tokens")} | read


SPECULATIVE = ("num_speculative_tokens_per_batch_size", "disable_eagle_block_drop")


def _graph_mode(value: Any) -> str | None:
    """Of vLLM's compilation config, all that is modelled here but the sizes, which have flags of their own."""
    config = as_json("compilation-config", value) if isinstance(value, str) else value
    if not isinstance(config, dict):
        return None  # a level of compilation, which changes kernels alone
    for name, flag in (
        ("cudagraph_capture_sizes", "cudagraph-capture-sizes"),
        ("max_cudagraph_capture_size", "max-cudagraph-capture-size"),
    ):
        if name in config:
            raise InputError(f"{name} is read as --{flag} only", field="--compilation-config", wanted=f"--{flag}")
    mode = config.get("cudagraph_mode")
    return None if mode is None else str(mode).upper()
