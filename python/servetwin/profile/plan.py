"""What is timed: each layer's operators, at sizes between which a table is interpolated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from ..catalog import Model
from ..catalog.layers import Dense, Experts, GroupedAttention
from ..errors import InputError

CHUNKS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384)
PASTS = (64, 1024, 4096, 16384, 65536)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (16, 128, 512, 1024, 2048, 4096, 8192, 16384, 32768)
"""Sizes of attention, up to the limits."""

MOST_CACHED = 2**20
"""Tokens in the caches of a batch: more would not fit beside the rest on small GPUs, and times go on in proportion."""

MIXED_ROWS, MIXED_CONTEXTS = (1, 16, 128), (128, 1024, 8192)
"""Of decodes beside a prompt."""


@dataclass(frozen=True)
class Limits:
    tokens: int
    rows: int
    length: int


@dataclass(frozen=True)
class Product:
    """`tokens` × inputs activations times inputs × outputs weights, in bfloat16."""

    tokens: int
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Stream:
    """A kernel that reads and writes: `kind` is norm, rotation, activation, lookup or sample."""

    kind: str
    tokens: int
    width: int


@dataclass(frozen=True)
class Attend:
    """One prompt of `chunk` tokens after `past`, and `rows` decodes with `context` tokens each; 0: none."""

    chunk: int
    past: int
    rows: int
    context: int
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class Grouped:
    """`tokens` tokens, `active` experts each, over `activated` experts in all."""

    tokens: int
    activated: int
    active: int
    hidden: int
    inner: int


Operation = Product | Stream | Attend | Grouped


@dataclass(frozen=True)
class Task:
    """One row of one table."""

    table: str
    layer: str
    sizes: tuple[int, ...]
    operation: Operation


COLUMNS = {
    "dense": ("tokens",),
    "per_sequence": ("sequences",),
    "attention": ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode"),
    "moe": ("tokens", "activated_experts"),
}
"""Sizes by table; a table of several layers has their names first."""


def plan(model: Model, tensor: int, limits: Limits) -> list[Task]:
    """Of one of `tensor` ranks. Raises InputError for a model with layers that are not timed here."""
    mixer, mlp = _alike(model)
    if mixer.heads % tensor or mlp.intermediate % tensor:
        raise InputError(
            f"{mixer.heads} heads and MLPs of {mlp.intermediate:,} cannot be shared by this many ranks",
            found=f"--tensor {tensor}",
        )
    tasks = list(_dense(model, mixer, mlp, tensor, limits))
    tasks += _heads(model, tensor, limits)
    tasks += _attention(mixer, tensor, limits)
    if isinstance(mlp, Experts):
        tasks += _experts(model, mlp, tensor, limits)
    return tasks


def _alike(model: Model) -> tuple[GroupedAttention, Dense | Experts]:
    mixers, mlps = {layer.mixer for layer in model.stack}, {layer.mlp for layer in model.stack}
    mixer, mlp = next(iter(mixers)), next(iter(mlps))
    plain = len(mixers) == len(mlps) == 1 and isinstance(mixer, GroupedAttention) and mixer.window is None
    if not plain or (isinstance(mlp, Experts) and mlp.shared_intermediate):
        raise InputError(
            f"only models whose layers are all alike, with grouped-query attention to all tokens, are timed; "
            f"{model.name} has {'; '.join(model.kinds())}",
            wanted="such as qwen3-32b or qwen3-30b-a3b",
        )
    assert isinstance(mixer, GroupedAttention)
    return mixer, mlp


def _dense(model: Model, mixer: GroupedAttention, mlp: Dense | Experts, tensor: int, limits: Limits) -> Iterator[Task]:
    hidden, heads, keys = model.hidden, mixer.heads // tensor, max(mixer.kv_heads // tensor, 1)
    queries, values = heads * mixer.head_dim, keys * (mixer.head_dim + mixer.value_dim)
    for tokens in token_counts(limits.tokens):
        layers: dict[str, Operation] = {
            "embedding": Stream("lookup", tokens, hidden),
            "layernorm": Stream("norm", tokens, hidden),
            "qkv_proj": Product(tokens, hidden, queries + values),
            "rotary_emb": Stream("rotation", tokens, queries + keys * mixer.head_dim),
            "o_proj": Product(tokens, heads * mixer.value_dim, hidden),
        }
        if isinstance(mlp, Dense):
            inner = mlp.intermediate // tensor
            layers |= {
                "gate_up_proj": Product(tokens, hidden, 2 * inner),
                "act_fn": Stream("activation", tokens, inner),
                "down_proj": Product(tokens, inner, hidden),
            }
        layers["final_layernorm"] = Stream("norm", tokens, hidden)
        for layer, operation in layers.items():
            yield Task("dense", layer, (tokens,), operation)


def _heads(model: Model, tensor: int, limits: Limits) -> Iterator[Task]:
    for rows in token_counts(limits.rows):
        yield Task("per_sequence", "lm_head", (rows,), Product(rows, model.hidden, model.vocab // tensor))
        yield Task("per_sequence", "sampler", (rows,), Stream("sample", rows, model.vocab))


def _attention(mixer: GroupedAttention, tensor: int, limits: Limits) -> Iterator[Task]:
    heads, keys = mixer.heads // tensor, max(mixer.kv_heads // tensor, 1)
    chunks = _up_to(CHUNKS, limits.tokens)
    pasts = _below(PASTS, limits.length)
    rows, contexts = _up_to(ROWS, limits.rows), _up_to(CONTEXTS, limits.length)
    beside = product(_below(MIXED_ROWS, limits.rows + 1), _below(MIXED_CONTEXTS, limits.length + 1))
    sizes: list[tuple[int, int, int, int]] = [
        (0, 0, n, context) for n, context in product(rows, contexts) if n * context <= MOST_CACHED
    ]
    alone = [(chunk, past, 0, 0) for chunk, past in product(chunks, (0, *pasts)) if chunk + past <= limits.length]
    sizes += alone
    sizes += [
        (chunk, past, n, context) for (chunk, past, _, _), (n, context) in product(alone, list(beside)) if not past
    ]
    for one in sizes:
        yield Task("attention", "", one, Attend(*one, heads, keys, mixer.head_dim))


def _experts(model: Model, mlp: Experts, tensor: int, limits: Limits) -> Iterator[Task]:
    inner = mlp.intermediate // tensor
    for tokens in token_counts(limits.tokens):
        most = min(mlp.count, tokens * mlp.active)
        for activated in sorted({mlp.active, min(2 * mlp.active, most), (mlp.active + most) // 2, most}):
            operation = Grouped(tokens, activated, mlp.active, model.hidden, inner)
            yield Task("moe", "", (tokens, activated), operation)


def token_counts(most: int) -> list[int]:
    """Every size where kernels change, about: dense below 64, by eights and powers above."""
    small = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)
    return _up_to((*small, *(1024 * factor for factor in (1, 1.5, 2, 3, 4, 6, 8, 12, 16))), most)


def _up_to(sizes: Iterable[float], most: int) -> list[int]:
    """Those below `most`, and it."""
    return [*_below(sizes, most), most]


def _below(sizes: Iterable[float], most: int) -> list[int]:
    return [int(size) for size in sizes if size < most]
