"""Models by name, or from a Hugging Face config.json: dense transformers with grouped-query attention."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError


@dataclass(frozen=True)
class Model:
    """The sizes that memory and time depend on."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_positions: int
    tied_embeddings: bool

    @property
    def layer_parameters(self) -> int:
        """Of one layer's matrices: q, k, v, o, and the gated MLP's three. Norms and biases are left out (< 0.1 %)."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def embedding_parameters(self) -> int:
        """Of the input embedding; the output head has as many, its own unless tied."""
        return self.vocab * self.hidden

    @property
    def parameters(self) -> int:
        return self.layers * self.layer_parameters + self.embedding_parameters * (1 if self.tied_embeddings else 2)


MODELS = {
    model.name: model
    for model in (
        # meta-llama/Llama-3.1-8B-Instruct, config.json
        Model("llama-3.1-8b", 32, 4096, 32, 8, 128, 14336, 128256, 131072, False),
        # meta-llama/Llama-3.1-70B-Instruct, config.json
        Model("llama-3.1-70b", 80, 8192, 64, 8, 128, 28672, 128256, 131072, False),
        # Qwen/Qwen3-32B, config.json
        Model("qwen3-32b", 64, 5120, 64, 8, 128, 25600, 151936, 40960, False),
    )
}

ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
"""Of config.json: those whose layers are the ones counted in `Model.layer_parameters`."""

_NOT_MODELLED = {
    "num_experts": "mixture of experts",
    "num_local_experts": "mixture of experts",
    "n_routed_experts": "mixture of experts",
    "kv_lora_rank": "multi-head latent attention",
    "index_topk": "sparse attention",
    "linear_attn_config": "linear attention",
    "ssm_cfg": "a state-space model",
    "dual_chunk_attention_config": "dual-chunk attention",
    "vision_config": "images",
}


def normal_name(name: str) -> str:
    """`meta-llama/Llama-3.1-8B-Instruct` and `Meta-Llama-3.1-8B` are both `llama-3.1-8b`."""
    return name.rsplit("/", 1)[-1].lower().removeprefix("meta-").removesuffix("-instruct")


def looks_like_path(name: str) -> bool:
    return name.endswith(".json") or name.startswith((".", "/", "~"))


def read_config(file: Path) -> Model:
    """A model from its config.json, or from the folder that holds it.

    Raises InputError for a missing or wrong field, and for what is not modelled.
    """
    try:
        if file.is_dir():
            file = file / "config.json"
        config = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"not JSON: {getattr(error, 'msg', error)}", file=str(file), line=line) from None
    if not isinstance(config, dict):
        raise InputError("not a JSON object", file=str(file))
    _refuse_unmodelled(config, str(file))

    def size(field: str, default: int | None = None) -> int:
        value = config.get(field, default)
        if value is None:
            raise InputError("missing", file=str(file), field=field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError("not a size", file=str(file), field=field, found=repr(value), wanted="a whole number ≥ 1")
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    tied = config.get("tie_word_embeddings", False)
    if not isinstance(tied, bool):
        raise InputError("not true or false", file=str(file), field="tie_word_embeddings", found=repr(tied))
    if config.get("head_dim") is None and hidden % heads:
        raise InputError(
            f"hidden_size {hidden} is no multiple of num_attention_heads {heads}", file=str(file), field="head_dim"
        )
    model = Model(
        name=str(config.get("_name_or_path") or file),
        layers=size("num_hidden_layers"),
        hidden=hidden,
        heads=heads,
        kv_heads=size("num_key_value_heads", heads),
        head_dim=hidden // heads if config.get("head_dim") is None else size("head_dim"),
        intermediate=size("intermediate_size"),
        vocab=size("vocab_size"),
        max_positions=size("max_position_embeddings"),
        tied_embeddings=tied,
    )
    if heads % model.kv_heads:
        raise InputError(
            f"{heads} attention heads are no multiple of {model.kv_heads} key-value heads",
            file=str(file),
            field="num_key_value_heads",
        )
    return model


def _refuse_unmodelled(config: dict[str, Any], file: str) -> None:
    for field, what in _NOT_MODELLED.items():
        if config.get(field) not in (None, 0, 1, {}):
            raise InputError(f"{what}: not yet modelled", file=file, field=field)
    if config.get("quantization_config"):
        raise InputError(
            "a quantized checkpoint: not yet modelled",
            file=file,
            field="quantization_config",
            wanted="the original config.json, with engine.quantization: fp8",
        )
    if config.get("use_sliding_window") or (
        config.get("sliding_window") is not None and config.get("use_sliding_window") is not False
    ):
        raise InputError("sliding-window attention: not yet modelled", file=file, field="sliding_window")
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1 or architectures[0] not in ARCHITECTURES:
        raise InputError(
            "not yet modelled",
            file=file,
            field="architectures",
            found=json.dumps(architectures),
            wanted=f"one of {', '.join(ARCHITECTURES)}",
        )
    dtype = config.get("torch_dtype", config.get("dtype", "bfloat16"))
    if dtype not in ("bfloat16", "float16"):
        raise InputError(
            "not yet modelled", file=file, field="torch_dtype", found=repr(dtype), wanted="bfloat16 or float16"
        )
