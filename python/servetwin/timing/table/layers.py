"""A folder of layer timings, in LLMServingSim's format, as tables of whole passes.

`meta.yaml`, and for each number of tensor-parallel ranks a folder `tpN` of

    dense.csv         layer, tokens                                     each call of a layer
    per_sequence.csv  layer, sequences                                  lm_head, sampler
    attention.csv     prefill_chunk, kv_prefill, n_decode, kv_decode    all prompts' new and earlier tokens; requests
                                                                        that decode, and the context of each
    moe.csv           tokens, activated_experts                         of mixtures

and a time each, its unit in the column's name (theirs: time_us); compressed files end in .gz. A pass is the embedding,
the layers, the last norm and the head; with ranks, two all-reduces a layer beside them, by fitted curves. At measured
sizes its time is the sum of the measured times exactly. A batch of unequal contexts is priced by their mean, and by
skew_fit.csv, where there is one, for what its longest context takes beyond that (`unequal.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...catalog import Model
from ...catalog.layers import Experts
from ...errors import InputError
from ..tables import DecodeGrid, Line, Measured, MixedGrid, PassTables, PromptGrid
from .grid import check_rising, interpolated
from .read import Row, Timings, read_timings
from .unequal import longest_line, read_alphas

ONCE = ("embedding", "final_layernorm")
CALLS = {"layernorm": 2}
"""Of a layer's kernel in a layer, where it is not one."""

LAYER = ("layernorm", "qkv_proj", "rotary_emb", "o_proj")
DENSE = ("gate_up_proj", "act_fn", "down_proj")
HEAD = ("lm_head", "sampler")

ATTENTION = ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")


@dataclass(frozen=True)
class LayerTimings:
    """Of one rank. `dense` and `head` by layer, then by size; `attention` by the four sizes."""

    folder: Path
    dense: Mapping[str, Mapping[int, int]]
    head: Mapping[str, Mapping[int, int]]
    attention: Mapping[tuple[int, ...], int]
    experts: Mapping[int, Mapping[int, int]]
    """By activated experts, then by tokens; empty for dense models."""
    alphas: Mapping[int, float]
    """By rows that decode, how unequal contexts count; empty where that was not timed."""

    def tables(self, model: Model, all_reduces_ps: Callable[[int], int]) -> PassTables:
        """Of all layers of `model`; `all_reduces_ps` of a pass by its tokens."""
        layers = model.layers
        sizes = sorted(set.intersection(*(set(times) for times in self.dense.values())))
        tokens = [self._tokens(model, size) + all_reduces_ps(size) for size in sizes]
        sequences = sorted(set.intersection(*(set(times) for times in self.head.values())))
        heads = [sum(times[n] for times in self.head.values()) for n in sequences]
        decode = self._decode(layers)
        prompt = self._prompt(layers)
        return PassTables(
            Line.through(sizes, tokens),
            Line.through(sequences, heads),
            decode,
            prompt,
            self._mixed(layers, decode, prompt),
            longest_line(decode, self.alphas),
            Measured(
                sizes[-1],
                decode.rows,
                tuple(self._farthest(3, 2, rows) for rows in decode.rows),
                prompt.tokens,
                tuple(2 * self._farthest(1, 0, chunk) + chunk for chunk in prompt.tokens),
            ),
        )

    def _farthest(self, axis: int, of: int, size: int) -> int:
        """The greatest size on one axis of attention, of timings with `size` on another."""
        return max(at[axis] for at in self.attention if at[of] == size)

    def _tokens(self, model: Model, tokens: int) -> int:
        once = sum(times[tokens] for name, times in self.dense.items() if name in ONCE)
        each = sum(CALLS.get(name, 1) * times[tokens] for name, times in self.dense.items() if name not in ONCE)
        return once + model.layers * (each + self.experts_ps(model, tokens))

    def experts_ps(self, model: Model, tokens: int) -> int:
        """With as many experts at work as `tokens` tokens choose on average, each freely."""
        mlp = model.stack[-1].mlp
        if not isinstance(mlp, Experts):
            return 0
        idle = (1 - mlp.active / mlp.count) ** tokens
        activated = max(round(mlp.count * (1 - idle)), mlp.active)
        by_experts = {count: interpolated(times, tokens) for count, times in self.experts.items()}
        return interpolated(by_experts, activated)

    def _decode(self, layers: int) -> DecodeGrid:
        by_rows: dict[int, dict[int, int]] = defaultdict(dict)
        for (chunk, _, rows, context), ps in self.attention.items():
            if not chunk:
                by_rows[rows][context] = layers * ps
        contexts = sorted({1, *(context for times in by_rows.values() for context in times)})
        return DecodeGrid(
            tuple(sorted(by_rows)),
            tuple(contexts),
            tuple(tuple(interpolated(times, context) for context in contexts) for _, times in sorted(by_rows.items())),
        )

    def _prompt(self, layers: int) -> PromptGrid:
        by_chunk: dict[int, dict[int, int]] = defaultdict(dict)
        for (chunk, past, rows, _), ps in self.attention.items():
            if chunk and not rows:
                by_chunk[chunk][2 * past + chunk] = layers * ps
        chunks = sorted(by_chunk)
        shortest = by_chunk[chunks[0]][min(by_chunk[chunks[0]])]
        for chunk in chunks[1:]:
            # Several prompts in place of one: as much less as their work is, but not less than the shortest alone.
            alone = by_chunk[chunk][chunk]
            by_chunk[chunk][chunks[0]] = max(alone * chunks[0] // chunk, shortest)
        lines = [sorted(by_chunk[chunk].items()) for chunk in chunks]
        return PromptGrid(
            tuple(chunks),
            tuple(tuple(reach for reach, _ in line) for line in lines),
            tuple(tuple(ps for _, ps in line) for line in lines),
        )

    def _mixed(self, layers: int, decode: DecodeGrid, prompt: PromptGrid) -> MixedGrid:
        """By the prompts' knots. What was not measured takes as much more, or less, as without the other part."""
        by_rows: dict[tuple[int, int], dict[int, dict[int, int]]] = defaultdict(lambda: defaultdict(dict))
        for (chunk, past, rows, context), ps in self.attention.items():
            if chunk and rows:
                by_rows[chunk, 2 * past + chunk][rows][context] = layers * ps
        measured = sorted({rows for found in by_rows.values() for rows in found})
        most = measured[-1]
        alone = {n: dict(zip(decode.contexts, ps, strict=True)) for n, ps in zip(decode.rows, decode.ps, strict=True)}
        batches = (*measured, *(n for n in decode.rows if n > most))
        prompts = {
            chunk: dict(zip(reach, ps, strict=True))
            for chunk, reach, ps in zip(prompt.tokens, prompt.reach, prompt.ps, strict=True)
        }
        contexts: dict[int, list[int]] = {
            chunk: sorted({c for times in by_rows[chunk, chunk].values() for c in times}) for chunk in prompt.tokens
        }

        def at(chunk: int, reach: int, rows: int, context: int) -> int:
            known = by_rows.get((chunk, reach)) or by_rows[chunk, chunk]
            near = min(rows, most)
            joint = interpolated(known.get(near) or known[max(known)], context)
            if rows == near and (chunk, reach) in by_rows:
                return joint
            more = interpolated(alone[rows], context) - interpolated(alone[near], context) if rows > near else 0
            if (chunk, reach) not in by_rows:
                more += prompts[chunk][reach] - prompts[chunk][chunk]
            return max(joint + more, interpolated(alone[rows], context))

        return MixedGrid(
            prompt.tokens,
            prompt.reach,
            batches,
            tuple(tuple(contexts[chunk]) for chunk in prompt.tokens),
            tuple(
                tuple(at(chunk, r, rows, context) for r in reach for rows in batches for context in contexts[chunk])
                for chunk, reach in zip(prompt.tokens, prompt.reach, strict=True)
            ),
        )


def read_layers(folder: Path, model: Model) -> LayerTimings:
    """Raises InputError: a file or a layer missing, sizes missing between others, times that fall."""
    experts = any(isinstance(layer.mlp, Experts) for layer in model.stack)
    wanted = (*ONCE, *LAYER, *(() if experts else DENSE))
    dense = _by_layer(_find(folder, "dense"), "tokens", wanted)
    head = _by_layer(_find(folder, "per_sequence"), "sequences", HEAD)
    attention = read_timings(_find(folder, "attention"), ATTENTION)
    _check_attention(attention)
    by_experts: dict[int, dict[int, int]] = defaultdict(dict)
    if experts:
        for row in read_timings(_find(folder, "moe"), ("tokens", "activated_experts")).rows:
            by_experts[row.at[1]][row.at[0]] = row.ps
    times = {row.at: row.ps for row in attention.rows}
    skew = find(folder, "skew_fit")
    return LayerTimings(folder, dense, head, times, by_experts, {} if skew is None else read_alphas(skew))


def _find(folder: Path, name: str) -> Path:
    file = find(folder, name)
    if file is not None:
        return file
    found = ", ".join(sorted(entry.name for entry in folder.iterdir())) if folder.is_dir() else "no such folder"
    raise InputError("is missing", file=str(folder / f"{name}.csv"), found=found)


def find(folder: Path, name: str) -> Path | None:
    """The file of this name, as CSV, compressed or not, or Parquet."""
    files = (folder / f"{name}{suffix}" for suffix in (".csv", ".csv.gz", ".parquet"))
    return next((file for file in files if file.is_file()), None)


def _by_layer(file: Path, size: str, wanted: tuple[str, ...]) -> dict[str, dict[int, int]]:
    timings = read_timings(file, (size,), named=True)
    by_layer: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(timings.rows, key=lambda row: row.at):
        by_layer[row.name].append(row)
    for name in wanted:
        if name not in by_layer:
            raise timings.problem(f"has no timings of {name}", found=", ".join(sorted(by_layer)))
    every = sorted({row.at[0] for row in timings.rows})
    for name, rows in by_layer.items():
        sizes = [row.at[0] for row in rows]
        check_rising(timings, rows, size, sizes)
        gaps = [one for one in every if one not in sizes]
        if gaps:
            raise timings.problem(
                f"has no timing of {name} at {size} {gaps[0]:,}",
                found=f"{len(gaps)} gaps",
                wanted="every layer at every size",
            )
    return {name: {row.at[0]: row.ps for row in rows} for name, rows in by_layer.items()}


def _check_attention(timings: Timings) -> None:
    kinds: dict[str, Callable[[tuple[int, ...]], bool]] = {
        "prompts (prefill_chunk above 0, n_decode 0)": lambda at: at[0] > 0 and at[2] == 0,
        "decodes (prefill_chunk 0, n_decode above 0)": lambda at: at[0] == 0 and at[2] > 0,
        "passes with both": lambda at: at[0] > 0 and at[2] > 0,
    }
    for kind, belongs in kinds.items():
        if not any(belongs(row.at) for row in timings.rows):
            raise timings.problem(f"has no timings of {kind}")
    lines: dict[tuple[int, int, int], list[Row]] = defaultdict(list)
    for row in sorted(timings.rows, key=lambda row: row.at):
        chunk, past, n, context = row.at
        if (not chunk and (past or not n)) or (not n and context):
            raise timings.problem(
                "times past tokens of nobody", row, found=str(dict(zip(ATTENTION, row.at, strict=True)))
            )
        if not chunk:
            lines[chunk, past, n].append(row)
        elif not n:
            lines[chunk, -1, n].append(row)
    for (chunk, _, _), rows in lines.items():
        axis, place = ("kv_prefill", 1) if chunk else ("kv_decode", 3)
        check_rising(timings, rows, axis, [row.at[place] for row in rows])
    for chunk in {row.at[0] for row in timings.rows if row.at[0]}:
        if not any(row.at == (chunk, 0, 0, 0) for row in timings.rows):
            raise timings.problem(
                f"has no timing of a prompt of {chunk:,} tokens without a past", wanted=f"{chunk},0,0,0"
            )
        if not any(row.at[:2] == (chunk, 0) and row.at[2] for row in timings.rows):
            raise timings.problem(f"has no prompt of {chunk:,} tokens without a past beside decodes")
