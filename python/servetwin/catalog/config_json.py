"""A model from a Hugging Face config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from .formats import BF16, FP32
from .layers import (
    CompressedAttention,
    Dense,
    Experts,
    GatedDelta,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Layer,
    Mixer,
    stack,
)
from .models import Model, Stored
from .quantization import read_quantization

ARCHITECTURES = (
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
    "Qwen3VLForConditionalGeneration",
    "MiMoForCausalLM",
    "MixtralForCausalLM",
    "Qwen3MoeForCausalLM",
    "Qwen3VLMoeForConditionalGeneration",
    "MiniMaxM2ForCausalLM",
    "GptOssForCausalLM",
    "MiMoV2FlashForCausalLM",
    "DeepseekV3ForCausalLM",
    "KimiK25ForConditionalGeneration",
    "DeepseekV32ForCausalLM",
    "GlmMoeDsaForCausalLM",
    "DeepseekV4ForCausalLM",
    "Qwen3NextForCausalLM",
    "Qwen3_5ForConditionalGeneration",
    "Qwen3_5MoeForConditionalGeneration",
)
"""Those whose layers are the ones of `layers.py`."""

_NOT_MODELLED = {
    "linear_attn_config": "linear attention of this kind",
    "ssm_cfg": "a state-space model",
    "mamba_num_heads": "a state-space model",
    "dual_chunk_attention_config": "dual-chunk attention",
    "audio_config": "audio",
}


def looks_like_path(name: str) -> bool:
    return name.endswith(".json") or name.startswith((".", "/", "~"))


def read_config(file: Path) -> Model:
    """A model from its config.json, or from the folder that holds it; hf_quant_config.json beside it counts too.

    Raises InputError for a missing or wrong field, and for what is not modelled.
    """
    if file.is_dir():
        file = file / "config.json"
    config = _Config(_load(file), str(file))
    _check_architecture(config)
    text = config.inner("text_config")
    layers = text.size("num_hidden_layers")
    experts = _experts(text)
    mixers, mlps = _mixers(text, layers), _mlps(text, layers, experts)
    return Model(
        name=str(text.fields.get("_name_or_path") or config.fields.get("_name_or_path") or file),
        hidden=text.size("hidden_size"),
        vocab=text.size("vocab_size"),
        max_positions=text.size("max_position_embeddings"),
        stack=stack(zip(mixers, mlps, strict=True)),
        tied_embeddings=text.flag("tie_word_embeddings", config.flag("tie_word_embeddings", False)),
        stored=_stored(config, text, layers, file),
        mtp=_mtp(text, mixers[-1], experts or mlps[-1]),
        hyper_connections=text.size("hc_mult", 0, least=0),
        left_out=("vision tower",) if config.fields.get("vision_config") else (),
        architecture=config.fields["architectures"][0],
    )


def _load(file: Path) -> dict[str, Any]:
    try:
        fields = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except ValueError as error:
        line = getattr(error, "lineno", None)
        raise InputError(f"not JSON: {getattr(error, 'msg', error)}", file=str(file), line=line) from None
    if not isinstance(fields, dict):
        raise InputError("not a JSON object", file=str(file))
    return fields


class _Config:
    """Fields of a file, read strictly."""

    def __init__(self, fields: dict[str, Any], file: str, prefix: str = "") -> None:
        self.fields, self.file, self.prefix = fields, file, prefix

    def problem(self, field: str, message: str, *, found: str | None = None, wanted: str | None = None) -> InputError:
        return InputError(message, file=self.file, field=self.prefix + field, found=found, wanted=wanted)

    def inner(self, field: str) -> _Config:
        """The object in `field`; these fields themselves where it is absent."""
        value = self.fields.get(field)
        if value is None:
            return self
        if not isinstance(value, dict):
            raise self.problem(field, "not a JSON object", found=repr(value)[:80])
        return _Config(value, self.file, f"{self.prefix}{field}.")

    def has(self, field: str) -> bool:
        return self.fields.get(field) is not None

    def size(self, field: str, default: int | None = None, *, least: int = 1) -> int:
        value = self.fields.get(field)
        if value is None:
            if default is None:
                raise self.problem(field, "missing")
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise self.problem(field, "not a size", found=repr(value)[:80], wanted=f"a whole number ≥ {least}")
        return value

    def first(self, *names: str) -> str | None:
        """Which of these fields is there."""
        return next((name for name in names if self.has(name)), None)

    def flag(self, field: str, default: bool) -> bool:
        value = self.fields.get(field)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.problem(field, "not true or false", found=repr(value)[:80])
        return value

    def each_layer(self, field: str, layers: int, *, more: int = 0) -> list[Any] | None:
        """A list with an entry a layer, and up to `more` for layers behind the last; None if it is no list."""
        value = self.fields.get(field)
        if not isinstance(value, list):
            return None
        if not layers <= len(value) <= layers + more:
            raise self.problem(
                field, f"truncated? the model has {layers} layers", found=f"{len(value)} entries", wanted=f"{layers}"
            )
        return value[:layers]


def _check_architecture(config: _Config) -> None:
    for fields in (config, config.inner("text_config")):
        for field, what in _NOT_MODELLED.items():
            if fields.fields.get(field) not in (None, 0, {}):
                raise fields.problem(field, f"{what}: not modelled")
        dtype = fields.fields.get("torch_dtype", fields.fields.get("dtype", "bfloat16"))
        if dtype not in ("bfloat16", "float16"):
            raise fields.problem("torch_dtype", "not modelled", found=repr(dtype), wanted="bfloat16 or float16")
    architectures = config.fields.get("architectures")
    if not isinstance(architectures, list) or len(architectures) != 1 or architectures[0] not in ARCHITECTURES:
        raise config.problem(
            "architectures",
            "not modelled",
            found=json.dumps(architectures),
            wanted=f"one of {', '.join(ARCHITECTURES)}",
        )


def _mixers(config: _Config, layers: int) -> list[Mixer]:
    heads = config.size("num_attention_heads")
    if config.has("compress_ratios"):
        return _compressed(config, layers, heads)
    if config.has("kv_lora_rank"):
        return _latent(config, layers, heads)
    full = _grouped(config, heads, "")
    if config.has("linear_num_value_heads"):
        return _hybrid(config, layers, full)
    return _windows(config, layers, full)


def _grouped(config: _Config, heads: int, prefix: str) -> GroupedAttention:
    """Of the full layers; or, with a prefix, of those whose fields are named so."""
    hidden = config.size("hidden_size")
    if not config.has("head_dim") and hidden % heads:
        raise config.problem("head_dim", f"hidden_size {hidden} is no multiple of num_attention_heads {heads}")
    head_dim = config.size(f"{prefix}head_dim", config.size("head_dim", hidden // heads))
    field = f"{prefix}num_key_value_heads"
    kv_heads = config.size(field, heads)
    if heads % kv_heads:
        raise config.problem(field, f"{heads} attention heads are no multiple of {kv_heads} key-value heads")
    value_dim = config.size(f"{prefix}v_head_dim", config.size("v_head_dim", head_dim))
    return GroupedAttention(heads, kv_heads, head_dim, value_dim, gated=config.flag("attn_output_gate", False))


def _windows(config: _Config, layers: int, full: GroupedAttention) -> list[Mixer]:
    if not config.has("sliding_window") or config.fields.get("use_sliding_window") is False:
        return [full] * layers
    size = config.size("sliding_window")
    near = _near(full, size)
    pattern = config.each_layer("hybrid_layer_pattern", layers)
    if pattern is not None:
        near = _near(_grouped(config, config.size("swa_num_attention_heads", full.heads), "swa_"), size)
        return [near if one else full for one in pattern]
    kinds = config.each_layer("layer_types", layers)
    if kinds is not None:
        known: dict[Any, Mixer] = {"sliding_attention": near, "full_attention": full}
        unknown = next((kind for kind in kinds if kind not in known), None)
        if unknown is not None:
            raise config.problem("layer_types", "not modelled", found=repr(unknown), wanted=" or ".join(known))
        return [known[kind] for kind in kinds]
    if config.fields.get("use_sliding_window"):
        # Qwen: the first layers look at everything.
        first = config.size("max_window_layers", 0, least=0)
        return [full if layer < first else near for layer in range(layers)]
    return [near] * layers


def _near(full: GroupedAttention, window: int) -> GroupedAttention:
    return GroupedAttention(full.heads, full.kv_heads, full.head_dim, full.value_dim, window, full.gated)


def _latent(config: _Config, layers: int, heads: int) -> list[Mixer]:
    def mixer(indexer: Indexer | None) -> LatentAttention:
        return LatentAttention(
            heads,
            config.size("q_lora_rank") if config.has("q_lora_rank") else None,
            config.size("kv_lora_rank"),
            config.size("qk_nope_head_dim"),
            config.size("qk_rope_head_dim"),
            config.size("v_head_dim"),
            indexer,
        )

    if not config.has("index_topk"):
        return [mixer(None)] * layers
    sizes = config.size("index_n_heads"), config.size("index_head_dim"), config.size("index_topk")
    own, shared = mixer(Indexer(*sizes)), mixer(Indexer(*sizes, shared=True))
    kinds = config.each_layer("indexer_types", layers)
    return [shared if kind == "shared" else own for kind in kinds or ["full"] * layers]


def _compressed(config: _Config, layers: int, heads: int) -> list[Mixer]:
    ratios = config.each_layer("compress_ratios", layers, more=config.size("num_nextn_predict_layers", 0, least=0))
    if ratios is None:
        raise config.problem("compress_ratios", "not a list", wanted="an entry a layer")
    wrong = next((ratio for ratio in ratios if ratio not in (0, 4, 128)), None)
    if wrong is not None:
        raise config.problem("compress_ratios", "not modelled", found=repr(wrong), wanted="0, 4 or 128")
    indexer = Indexer(config.size("index_n_heads"), config.size("index_head_dim"), config.size("index_topk"))
    known = {
        ratio: CompressedAttention(
            heads,
            config.size("head_dim"),
            config.size("qk_rope_head_dim"),
            config.size("q_lora_rank"),
            config.size("o_groups"),
            config.size("o_lora_rank"),
            config.size("sliding_window"),
            ratio,
            indexer if ratio == 4 else None,
        )
        for ratio in set(ratios)
    }
    return [known[ratio] for ratio in ratios]


def _hybrid(config: _Config, layers: int, full: GroupedAttention) -> list[Mixer]:
    state = str(config.fields.get("mamba_ssm_dtype", "float32"))
    formats = {"float32": FP32, "bfloat16": BF16}
    if state not in formats:
        raise config.problem("mamba_ssm_dtype", "not modelled", found=repr(state), wanted=" or ".join(formats))
    delta = GatedDelta(
        config.size("linear_num_key_heads"),
        config.size("linear_num_value_heads"),
        config.size("linear_key_head_dim"),
        config.size("linear_value_head_dim"),
        config.size("linear_conv_kernel_dim"),
        formats[state],
    )
    kinds = config.each_layer("layer_types", layers)
    if kinds is None:
        every = config.size("full_attention_interval")
        kinds = ["linear_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)]
    known: dict[Any, Mixer] = {"linear_attention": delta, "full_attention": full}
    unknown = next((kind for kind in kinds if kind not in known), None)
    if unknown is not None:
        raise config.problem("layer_types", "not modelled", found=repr(unknown), wanted=" or ".join(known))
    return [known[kind] for kind in kinds]


def _experts(config: _Config) -> Experts | None:
    counted = config.first("num_experts", "num_local_experts", "n_routed_experts")
    if counted is None or config.fields[counted] == 0:
        return None
    own = "moe_intermediate_size" if config.has("moe_intermediate_size") else "intermediate_size"
    each = config.size(own)
    shared = config.first("shared_expert_intermediate_size", "shared_intermediate_size")
    return Experts(
        config.size(counted),
        config.size(config.first("num_experts_per_tok", "num_experts_per_token") or "num_experts_per_tok"),
        each,
        each * config.size("n_shared_experts", 0, least=0) if shared is None else config.size(shared, least=0),
    )


def _mlps(config: _Config, layers: int, experts: Experts | None) -> list[Dense | Experts]:
    if experts is None:
        return [Dense(config.size("intermediate_size"))] * layers
    kinds = config.each_layer("mlp_layer_types", layers)
    frequency = config.each_layer("moe_layer_freq", layers)
    dense = config.fields.get("mlp_only_layers") or []
    if kinds is not None:
        sparse = [kind == "sparse" for kind in kinds]
    elif frequency is not None:
        sparse = [bool(one) for one in frequency]
    else:
        first = config.size("first_k_dense_replace", 0, least=0)
        every = config.size(config.first("moe_layer_freq", "decoder_sparse_step") or "moe_layer_freq", 1)
        sparse = [layer >= first and layer not in dense and (layer + 1) % every == 0 for layer in range(layers)]
        if config.has("moe_layer_freq"):
            sparse = [layer >= first and layer % every == 0 for layer in range(layers)]
    return [experts if one else Dense(config.size("intermediate_size")) for one in sparse]


def _mtp(config: _Config, mixer: Mixer, mlp: Dense | Experts) -> tuple[Layer, ...]:
    if isinstance(mixer, CompressedAttention):
        # Behind the last layer the list of ratios goes on with 0: a window and nothing else.
        mixer = CompressedAttention(
            mixer.heads, mixer.head_dim, mixer.rope_dim, mixer.q_rank, mixer.o_groups, mixer.o_rank, mixer.window, 0
        )
    field = config.first("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
    count = 0 if field is None else config.size(field, least=0)
    return (Layer(count, mixer, mlp),) if count else ()


def _stored(config: _Config, text: _Config, layers: int, file: Path) -> Stored:
    for fields in (config, text):
        written = fields.fields.get("quantization_config")
        if written:
            if not isinstance(written, dict):
                raise fields.problem("quantization_config", "not a JSON object", found=repr(written)[:80])
            return read_quantization(written, layers, text.fields.get("expert_dtype"), fields.problem)
    beside = file.with_name("hf_quant_config.json")
    if beside.is_file():
        other = _Config(_load(beside), str(beside))
        return read_quantization(other.fields, layers, None, other.problem)
    return Stored()
