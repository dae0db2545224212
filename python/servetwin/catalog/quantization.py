"""What a checkpoint says of its quantisation, in config.json or in hf_quant_config.json beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from ..errors import InputError
from .formats import BF16, FORMATS, Format
from .layers import Part
from .models import QUANTISED_PARTS, Stored

Problem = Callable[..., InputError]
"""Makes an error about a field of the file."""

METHODS = ("fp8", "mxfp4", "modelopt", "compressed-tensors", "awq", "gptq")

_PLACES = {
    Part.ATTENTION: ("self_attn.o_proj", "linear_attn.out_proj", "attn.wo_b"),
    Part.MLP: ("mlp.down_proj", "ffn.w2"),
    Part.SHARED: ("mlp.shared_experts.down_proj", "mlp.shared_expert.down_proj", "ffn.shared_experts.w2"),
    Part.EXPERTS: ("mlp.experts.0.down_proj", "block_sparse_moe.experts.0.w2", "ffn.experts.0.w2"),
}
"""Under what names checkpoints have one matrix of each part, inside a layer."""

_LAYERS = ("model.layers.{}.", "model.language_model.layers.{}.", "language_model.model.layers.{}.", "layers.{}.")


def read_quantization(config: dict[str, Any], layers: int, expert_dtype: Any, problem: Problem) -> Stored:
    """Raises InputError for a method or a mixture that is not known."""
    method = config.get("quant_method")
    if method is None and isinstance(config.get("quantization"), dict):
        return _modelopt(config["quantization"], "quantization", layers, problem)
    if method is None and "quant_algo" in config:
        method = "modelopt"
    if method not in METHODS:
        raise problem(
            "quantization_config.quant_method", "not known", found=repr(method), wanted=f"one of {', '.join(METHODS)}"
        )
    ignored = _names(config, ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules"), problem)
    kv = FORMATS["fp8"] if _bits(config.get("kv_cache_scheme")) == 8 else None
    if method == "modelopt":
        return _modelopt(config, "quantization_config", layers, problem)
    if method == "mxfp4":
        stored = Stored(experts=FORMATS["mxfp4"], kv=kv)
    elif method == "fp8":
        stored = Stored.alike(FORMATS["fp8_block" if config.get("weight_block_size") else "fp8"], kv=kv)
        experts = {"NVFP4": "nvfp4"}.get(str(config.get("moe_quant_algo"))) or {"fp4": "mxfp4"}.get(str(expert_dtype))
        if experts is not None:
            # Only the experts are held so; what else is listed as left alone is what the method itself holds in FP8.
            return replace(stored, experts=FORMATS[experts])
    elif method == "compressed-tensors":
        stored = Stored.alike(_group_format(config, problem), kv=kv)
    else:
        stored = Stored.alike(_integer(config.get("bits", config.get("w_bit")), config.get("group_size"), problem))
    return _without(stored, ignored, layers)


def _modelopt(config: dict[str, Any], field: str, layers: int, problem: Problem) -> Stored:
    algorithm = str(config.get("quant_algo"))
    scheme = config.get("kv_cache_scheme")
    eight = "FP8" in (config.get("kv_cache_quant_algo"), scheme) or _bits(scheme) == 8
    cache = FORMATS["fp8"] if eight else None
    if algorithm == "MIXED_PRECISION":
        return replace(_mixed(config, field, problem), kv=cache)
    known = {"FP8": "fp8", "FP8_PB_WO": "fp8_block", "FP8_BLOCK": "fp8_block", "NVFP4": "nvfp4", "W4A16_AWQ": "int4"}
    if algorithm not in known:
        raise problem(f"{field}.quant_algo", "not known", found=repr(algorithm), wanted=f"one of {', '.join(known)}")
    ignored = _names(config, ("ignore", "exclude_modules"), problem)
    return _without(Stored.alike(FORMATS[known[algorithm]], kv=cache), ignored, layers)


def _mixed(config: dict[str, Any], field: str, problem: Problem) -> Stored:
    """A format for each layer by name: each part takes the one that most of its layers have."""
    listed = config.get("quantized_layers")
    if not isinstance(listed, dict) or not listed:
        raise problem(f"{field}.quantized_layers", "needed for MIXED_PRECISION", found=repr(listed))
    counts: dict[Part, dict[str, int]] = {part: {} for part in QUANTISED_PARTS}
    for name, layer in listed.items():
        algorithm = str(layer.get("quant_algo")) if isinstance(layer, dict) else repr(layer)
        part = _part_of(name)
        if part is not None:
            counts[part][algorithm] = counts[part].get(algorithm, 0) + 1
    formats = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_NVFP4": "nvfp4", "FP8_PB_WO": "fp8_block"}
    found: dict[str, Format] = {}
    for part, algorithms in counts.items():
        if algorithms:
            most = max(algorithms, key=lambda one: algorithms[one])
            if most not in formats:
                raise problem(f"{field}.quantized_layers", "quant_algo not known", found=repr(most))
            found[part.value] = FORMATS[formats[most]]
    return Stored(**found)


def _part_of(name: str) -> Part | None:
    if "shared_expert" in name:
        return Part.SHARED
    if "experts" in name:
        return Part.EXPERTS
    if "attn" in name:
        return Part.ATTENTION
    return Part.MLP if "mlp." in name or "ffn." in name else None


def _group_format(config: dict[str, Any], problem: Problem) -> Format:
    groups = config.get("config_groups")
    field = "quantization_config.config_groups"
    if not isinstance(groups, dict) or len(groups) != 1:
        count = len(groups) if isinstance(groups, dict) else None
        raise problem(field, "one group of layers is modelled", found=repr(count), wanted="one")
    weights = next(iter(groups.values())).get("weights") or {}
    bits, kind, group = weights.get("num_bits"), weights.get("type"), weights.get("group_size")
    if kind == "float" and bits == 8:
        return FORMATS["fp8_block" if weights.get("strategy") == "block" else "fp8"]
    if kind == "float" and bits == 4:
        return FORMATS["mxfp4" if group == 32 else "nvfp4"]
    if kind == "int":
        return _integer(bits, group, problem)
    raise problem(f"{field}.weights", "not known", found=f"{bits} bits of type {kind!r}")


def _integer(bits: Any, group: Any, problem: Problem) -> Format:
    if bits == 8:
        return FORMATS["int8"]
    names = {32: "int4_g32", 64: "int4_g64"}
    if bits == 4:
        return FORMATS[names.get(group, "int4") if isinstance(group, int) else "int4"]
    raise problem("quantization_config.bits", "not known", found=repr(bits), wanted="4 or 8")


def _bits(scheme: Any) -> Any:
    return scheme.get("num_bits") if isinstance(scheme, dict) else None


def _names(config: dict[str, Any], fields: Sequence[str], problem: Problem) -> list[str]:
    for field in fields:
        names = config.get(field)
        if names is not None:
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise problem(f"quantization_config.{field}", "not a list of names", found=repr(names)[:80])
            return names
    return []


def _without(stored: Stored, ignored: list[str], layers: int) -> Stored:
    """Parts of which most layers are listed as left alone are back in bfloat16."""
    if not ignored:
        return stored
    patterns = [_pattern(name) for name in dict.fromkeys(ignored)]
    for part, places in _PLACES.items():
        left = sum(
            any(pattern(name) for name in _probes(layer, places) for pattern in patterns) for layer in range(layers)
        )
        if 2 * left > layers:
            stored = replace(stored, **{part.value: BF16})
    return stored


def _probes(layer: int, places: Sequence[str]) -> Iterator[str]:
    for prefix in _LAYERS:
        for place in places:
            yield prefix.format(layer) + place


def _pattern(written: str) -> Callable[[str], bool]:
    """As vLLM, ModelOpt and compressed-tensors read them: a regular expression, a glob, a module or its name."""
    if written.startswith("re:"):
        expression = re.compile(written[3:])
        return lambda name: expression.match(name) is not None
    if "*" in written or "?" in written:
        return lambda name: fnmatchcase(name, written) or fnmatchcase(name, f"{written}.*")
    if "." in written:
        return lambda name: name == written or name.startswith(f"{written}.")
    return lambda name: written in name.split(".")
