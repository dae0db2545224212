"""One replica's engine with every default filled in, whatever its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import SpecError
from ..spec import Spec
from .gpus import Gpu
from .lookup import needed
from .memory import Memory
from .models import Model


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
    weight_bytes: int
    """Of an element of a matrix."""
    kv_bytes: int
    """Of a cached element."""
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

    @property
    def kv_cache(self) -> str:
        """The cache's size, for people."""
        if self.block_tokens == 1:
            return f"{self.blocks:,} tokens"
        return f"{self.blocks:,} blocks of {self.block_tokens} tokens"


def check_model(spec: Spec, model: Model) -> None:
    """Raises SpecError for a model that is not simulated, or whose heads tensor-parallel ranks cannot share."""
    beyond = model.beyond_dense()
    if beyond:
        raise spec.source.problem(
            ("model",),
            f"not yet simulated: {', '.join(beyond)}",
            found=model.name,
            wanted="a dense model with grouped-query attention, such as llama-3.1-8b",
        )
    tensor = spec.parallel.tensor
    if model.heads % tensor or max(tensor, model.kv_heads) % min(tensor, model.kv_heads):
        raise spec.source.problem(
            ("parallel", "tensor"),
            f"{model.heads} attention heads and {model.kv_heads} key-value heads cannot be shared by this many ranks",
            found=str(tensor),
        )


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
    return model, gpu


def check_fp8(spec: Spec, gpu: Gpu) -> None:
    """Raises SpecError if the spec asks for FP8 matrices on a GPU without it."""
    if spec.engine.quantization == "fp8" and not gpu.fp8_flops:
        raise spec.source.problem(spec.engine.quantization_option, f"{gpu.title} has no FP8 arithmetic", found="fp8")


def weights_do_not_fit(spec: Spec, room: Memory) -> SpecError:
    return spec.source.problem(
        ("model",),
        f"does not fit: {room.arithmetic()}{on_ranks(spec)}",
        wanted="more or larger GPUs (parallel.tensor)",
    )


def on_ranks(spec: Spec) -> str:
    return f" on each of {spec.parallel.tensor} ranks" if spec.parallel.tensor > 1 else ""
