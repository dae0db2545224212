"""Models by name. Sizes are those of the config.json that its maker publishes under the name in the comment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .formats import FORMATS, FP32
from .layers import (
    CompressedAttention,
    Dense,
    Experts,
    GatedDelta,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Layer,
    stack,
)
from .models import Model, Stored


def _dense(
    name: str,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    intermediate: int,
    vocab: int,
    positions: int,
    *,
    tied: bool = False,
    head_dim: int = 128,
    window: int | None = None,
) -> Model:
    attention = GroupedAttention(heads, kv_heads, head_dim, head_dim, window)
    return Model(name, hidden, vocab, positions, (Layer(layers, attention, Dense(intermediate)),), tied)


def _mixture(
    name: str,
    layers: int,
    hidden: int,
    heads: int,
    kv_heads: int,
    experts: Experts,
    vocab: int,
    positions: int,
    *,
    stored: Stored | None = None,
    mtp: int = 0,
) -> Model:
    attention = GroupedAttention(heads, kv_heads, 128, 128)
    extra = (Layer(mtp, attention, experts),) if mtp else ()
    layer = Layer(layers, attention, experts)
    return Model(name, hidden, vocab, positions, (layer,), stored=stored or Stored(), mtp=extra)


def _alternating(name: str, layers: int, experts: Experts) -> Model:
    """gpt-oss: every other layer looks back 128 tokens; experts in MXFP4."""
    near, far = GroupedAttention(64, 8, 64, 64, 128), GroupedAttention(64, 8, 64, 64)
    kinds = (Layer(layers // 2, near, experts), Layer(layers // 2, far, experts))
    return Model(
        name, 2880, 201088, 131072, kinds, stored=Stored(experts=FORMATS["mxfp4"]), architecture="GptOssForCausalLM"
    )


def _latent(
    name: str,
    layers: int,
    hidden: int,
    attention: LatentAttention,
    dense: tuple[int, int],
    experts: Experts,
    vocab: int,
    positions: int,
    *,
    stored: Stored,
    mtp: int = 1,
) -> Model:
    """DeepSeek V3 and its like; `dense` is how many first layers have an MLP, and its size."""
    first, intermediate = dense
    kinds = (Layer(first, attention, Dense(intermediate)), Layer(layers - first, attention, experts))
    extra = (Layer(mtp, attention, experts),) if mtp else ()
    return Model(name, hidden, vocab, positions, kinds, stored=stored, mtp=extra)


def _compressed(
    name: str, hidden: int, ratios: Sequence[int], heads: int, q_rank: int, groups: int, topk: int, experts: Experts
) -> Model:
    """DeepSeek V4: FP8 but for the experts' FP4."""

    def attention(ratio: int) -> CompressedAttention:
        indexer = Indexer(64, 128, topk) if ratio == 4 else None
        return CompressedAttention(heads, 512, 64, q_rank, groups, 1024, 128, ratio, indexer)

    return Model(
        name,
        hidden,
        129280,
        1048576,
        stack([(attention(ratio), experts) for ratio in ratios]),
        stored=Stored.alike(FORMATS["fp8_block"], experts=FORMATS["mxfp4"]),
        mtp=(Layer(1, attention(0), experts),),
        hyper_connections=4,
        architecture="DeepseekV4ForCausalLM",
    )


def _hybrid(
    name: str, layers: int, hidden: int, heads: int, kv_heads: int, value_heads: int, mlp: Dense | Experts
) -> Model:
    """Qwen3.5: of every four layers three are gated delta layers and one attends to all."""
    delta = GatedDelta(16, value_heads, 128, 128, 4, FP32)
    full = GroupedAttention(heads, kv_heads, 256, 256, gated=True)
    kinds = (Layer(layers - layers // 4, delta, mlp), Layer(layers // 4, full, mlp))
    return Model(name, hidden, 248320, 262144, kinds, mtp=(Layer(1, full, mlp),), left_out=("vision tower",))


_V3 = LatentAttention(128, 1536, 512, 128, 64, 128)
_FP8_BLOCK = Stored.alike(FORMATS["fp8_block"])

MODELS = {
    model.name: model
    for model in (
        # meta-llama/Llama-3.1-8B-Instruct, -70B-Instruct, -405B-Instruct
        _dense("llama-3.1-8b", 32, 4096, 32, 8, 14336, 128256, 131072),
        _dense("llama-3.1-70b", 80, 8192, 64, 8, 28672, 128256, 131072),
        _dense("llama-3.1-405b", 126, 16384, 128, 8, 53248, 128256, 131072),
        # Qwen/Qwen3-0.6B, -1.7B, -8B, -32B
        _dense("qwen3-0.6b", 28, 1024, 16, 8, 3072, 151936, 40960, tied=True),
        _dense("qwen3-1.7b", 28, 2048, 16, 8, 6144, 151936, 40960, tied=True),
        _dense("qwen3-8b", 36, 4096, 32, 8, 12288, 151936, 40960),
        _dense("qwen3-32b", 64, 5120, 64, 8, 25600, 151936, 40960),
        # mistralai/Mistral-7B-v0.1: every layer looks back 4,096 tokens
        _dense("mistral-7b-v0.1", 32, 4096, 32, 8, 14336, 32000, 32768, window=4096),
        # mistralai/Mixtral-8x7B-v0.1, -8x22B-v0.1
        _mixture("mixtral-8x7b-v0.1", 32, 4096, 32, 8, Experts(8, 2, 14336), 32000, 32768),
        _mixture("mixtral-8x22b-v0.1", 56, 6144, 48, 8, Experts(8, 2, 16384), 32000, 65536),
        # Qwen/Qwen3-30B-A3B, -235B-A22B, Qwen3-Coder-480B-A35B-Instruct
        _mixture("qwen3-30b-a3b", 48, 2048, 32, 4, Experts(128, 8, 768), 151936, 40960),
        _mixture("qwen3-235b-a22b", 94, 4096, 64, 4, Experts(128, 8, 1536), 151936, 40960),
        _mixture("qwen3-coder-480b-a35b", 62, 6144, 96, 8, Experts(160, 8, 2560), 151936, 262144),
        # MiniMaxAI/MiniMax-M2.5
        _mixture("minimax-m2.5", 62, 3072, 48, 8, Experts(256, 8, 1536), 200064, 196608, stored=_FP8_BLOCK, mtp=3),
        # openai/gpt-oss-20b, -120b
        _alternating("gpt-oss-20b", 24, Experts(32, 4, 2880)),
        _alternating("gpt-oss-120b", 36, Experts(128, 4, 2880)),
        # deepseek-ai/DeepSeek-V3, -R1, -V3.2
        *(
            _latent(name, 61, 7168, _V3, (3, 18432), Experts(256, 8, 2048, 2048), 129280, 163840, stored=_FP8_BLOCK)
            for name in ("deepseek-v3", "deepseek-r1")
        ),
        _latent(
            "deepseek-v3.2",
            61,
            7168,
            LatentAttention(128, 1536, 512, 128, 64, 128, Indexer(64, 128, 2048)),
            (3, 18432),
            Experts(256, 8, 2048, 2048),
            129280,
            163840,
            stored=_FP8_BLOCK,
        ),
        # moonshotai/Kimi-K2-Instruct
        _latent(
            "kimi-k2",
            61,
            7168,
            LatentAttention(64, 1536, 512, 128, 64, 128),
            (1, 18432),
            Experts(384, 8, 2048, 2048),
            163840,
            131072,
            stored=_FP8_BLOCK,
            mtp=0,
        ),
        # moonshotai/Kimi-K2.5: experts in INT4
        replace(
            _latent(
                "kimi-k2.5",
                61,
                7168,
                LatentAttention(64, 1536, 512, 128, 64, 128),
                (1, 18432),
                Experts(384, 8, 2048, 2048),
                163840,
                262144,
                stored=Stored(experts=FORMATS["int4_g32"]),
                mtp=0,
            ),
            left_out=("vision tower",),
        ),
        # zai-org/GLM-5
        _latent(
            "glm-5",
            78,
            6144,
            LatentAttention(64, 2048, 512, 192, 64, 256, Indexer(32, 128, 2048)),
            (3, 12288),
            Experts(256, 8, 2048, 2048),
            154880,
            202752,
            stored=Stored(),
        ),
        # deepseek-ai/DeepSeek-V4-Flash, -V4-Pro
        _compressed(
            "deepseek-v4-flash", 4096, [0, 0] + [4, 128] * 20 + [4], 64, 1024, 8, 512, Experts(256, 6, 2048, 2048)
        ),
        _compressed(
            "deepseek-v4-pro", 7168, [128, 128] + [4, 128] * 29 + [4], 128, 1536, 16, 1024, Experts(384, 6, 3072, 3072)
        ),
        # Qwen/Qwen3.5-27B, -35B-A3B, -122B-A10B, -397B-A17B
        _hybrid("qwen3.5-27b", 64, 5120, 24, 4, 48, Dense(17408)),
        _hybrid("qwen3.5-35b-a3b", 40, 2048, 16, 2, 32, Experts(256, 8, 512, 512)),
        _hybrid("qwen3.5-122b-a10b", 48, 3072, 32, 2, 64, Experts(256, 8, 1024, 1024)),
        _hybrid("qwen3.5-397b-a17b", 60, 4096, 32, 2, 64, Experts(512, 10, 1024, 1024)),
    )
}

ALIASES = {"llama-3.3-70b": "llama-3.1-70b", "mixtral-8x7b": "mixtral-8x7b-v0.1"}


def model_name(name: str) -> str:
    """`meta-llama/Llama-3.1-8B-Instruct` and `Meta-Llama-3.1-8B` are both `llama-3.1-8b`."""
    name = name.rsplit("/", 1)[-1].lower().removeprefix("meta-").removesuffix("-instruct").replace("-instruct-", "-")
    return ALIASES.get(name, name)
