"""One replica's engine with every default filled in, whatever its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SpecError
from ..spec import Spec
from .formats import BF16, FP8, Format
from .gpus import Gpu
from .layers import Experts
from .lookup import needed
from .memory import Memory
from .models import Model, Stored
from .parallel import ranks
from .window import Window


@dataclass(frozen=True)
class ResolvedEngine:
    """Nothing left to derive."""

    title: str
    """As its makers write it."""
    rules: str
    """How well its scheduler's rules are known."""
    options: Mapping[str, Any]
    """What the core reads: `name`, `version` and the scheduler's options, under the engine's own names."""
    model: Model | None
    gpu: Gpu | None
    stored: Stored
    """The weights' formats."""
    kv: Format
    """The cache's format."""
    rows: int
    """Most requests in a pass."""
    pass_tokens: int
    """Most tokens computed in a pass."""
    request_tokens: int
    """Most tokens of a request, prompt and answer."""
    block_tokens: int
    """Tokens of a cache block, or page."""
    blocks: int
    """Of the cache, those set aside among them."""
    memory: Memory | None
    """None where the size of the cache was given."""
    window: Window | None = None
    """Of layers that look back a window, where their cache is a pool of its own."""

    @property
    def kv_cache(self) -> str:
        """The cache's size, for people."""
        if self.block_tokens == 1:
            return f"{self.blocks:,} tokens"
        return f"{self.blocks:,} blocks of {self.block_tokens} tokens"


def check_model(spec: Spec, model: Model, unpaged: list[str]) -> None:
    """Raises SpecError where tensor-parallel ranks cannot share the model, and for what of its cache is `unpaged`."""
    if unpaged:
        raise spec.source.problem(
            ("model",),
            f"its cache under this engine is not yet simulated: {', '.join(unpaged)}",
            found=model.name,
            wanted="a model with full attention, such as deepseek-v3, or another engine (docs/catalog.md)",
        )
    tensor = spec.parallel.tensor
    shared = ranks(spec, model)
    widths = {
        layer.mlp.intermediate
        for layer in model.stack
        if layer.mlp.intermediate % (shared.expert_slices if isinstance(layer.mlp, Experts) else tensor)
    }
    if widths:
        raise spec.source.problem(
            ("parallel", "tensor"),
            f"MLPs of {' and '.join(f'{width:,}' for width in sorted(widths))} cannot be shared by this many ranks",
            found=str(shared.stage if shared.data > 1 else tensor),
        )
    if model.heads % tensor or max(tensor, model.kv_heads) % min(tensor, model.kv_heads):
        raise spec.source.problem(
            ("parallel", "tensor"),
            f"{model.heads} attention heads and {model.kv_heads} key-value heads cannot be shared by this many ranks",
            found=str(tensor),
        )


def stored_weights(spec: Spec, model: Model | None) -> Stored:
    """As the checkpoint holds them, or as the engine is asked to quantise them. Raises SpecError."""
    stored = Stored() if model is None else model.stored
    if spec.engine.quantization != "fp8":
        return stored
    if stored.quantised and stored.attention.arithmetic != "fp8":
        raise spec.source.problem(
            spec.engine.quantization_option,
            "the checkpoint is quantised in its own way, which an engine does not do again",
            found="fp8",
            wanted="none, or the original checkpoint",
        )
    return stored if stored.quantised else stored.with_weights(FP8)


def cache_format(model: Model | None, asked: str) -> Format:
    """`asked`: auto takes what the checkpoint says, or 16 bits."""
    if asked != "auto":
        return FP8
    return BF16 if model is None or model.stored.kv is None else model.stored.kv


def request_limit(spec: Spec, model: Model | None, option: str, given: int | None) -> int:
    """The longest request: `given` as the engine's `option`, or the model's own. Raises SpecError."""
    if model is None:
        if given is None:
            raise needed(spec, "model", f"engine.{option} is not given, and the model's own limit is its default")
        return given
    if given is not None and given > model.max_positions:
        raise spec.source.problem(
            ("engine", option),
            f"{model.name} has {model.max_positions:,} positions",
            found=f"{given:,}",
            wanted=f"at most {model.max_positions:,}, or a config.json with more",
        )
    return model.max_positions if given is None else given


def model_and_gpu(spec: Spec, model: Model | None, gpu: Gpu | None, option: str) -> tuple[Model, Gpu]:
    """Both, which the cache's size is derived from where `option` is not given. Raises SpecError."""
    why = f"engine.{option} is not given, and is derived from model and gpu"
    if model is None:
        raise needed(spec, "model", why)
    if gpu is None:
        raise needed(spec, "gpu", why)
    check_fp8(spec, gpu)
    if model.left_out:
        raise spec.source.problem(
            ("model",),
            f"the memory of its {' and '.join(model.left_out)} is not modelled, so engine.{option} cannot be derived",
            found=model.name,
            wanted=f"engine.{option}, as the engine logs it at start",
        )
    return model, gpu


def check_fp8(spec: Spec, gpu: Gpu) -> None:
    """Raises SpecError if the spec asks for FP8 matrices on a GPU without it."""
    if spec.engine.quantization == "fp8" and not gpu.fp8_flops:
        raise spec.source.problem(spec.engine.quantization_option, f"{gpu.title} has no FP8 arithmetic", found="fp8")


def weights_do_not_fit(spec: Spec, room: Memory, or_else: str = "") -> SpecError:
    """`or_else`: what else than GPUs would make room."""
    return spec.source.problem(
        ("model",),
        f"does not fit: {room.arithmetic()}{on_ranks(spec)}",
        wanted=f"more or larger GPUs (parallel.tensor, or for experts parallel.data){or_else}",
    )


def on_ranks(spec: Spec) -> str:
    return f" on each of {spec.parallel.gpus} GPUs" if spec.parallel.gpus > 1 else ""
