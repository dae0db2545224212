"""Operator timings of aiconfigurator-core, as loads of ours and the seconds they took."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalog import FORMATS, GPUS, Gpu
from ..errors import InputError
from ..timing.operators import Load, all_reduce, decode_attention, gemm, prefill_attention

PACKAGE = "aiconfigurator_core"

SYSTEMS = {
    "a100_sxm": "a100-80g",
    "h100_sxm": "h100",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000",
}
"""Its names of the GPUs, and ours."""

ENGINE = "vllm"
"""Whose kernels are timed."""

GEMM_TYPES = {"bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8_block"}
LEAST = 256
"""Of n and k: smaller matrices are in no model's layers."""


@dataclass(frozen=True)
class Timing:
    """One measured operator."""

    kind: str
    on: Callable[[Gpu], Load]
    """What its shape asks of a GPU."""
    load: Load
    """What it asks of the one it was measured on."""
    seconds: float
    held_out: bool
    """Whether its shape is kept from the fit: a fifth of the shapes, by the sizes of model and context."""


def data_folder(given: Path | None) -> Path:
    """`given`, or that of the installed package. Raises InputError if there is none."""
    folder = given
    if folder is None:
        found = importlib.util.find_spec(PACKAGE)
        if found is None or not found.submodule_search_locations:
            raise InputError(
                "the timings are not installed",
                wanted="`pip install aiconfigurator-core==0.12.0` (80 MB), or --data with the folder of its systems",
            )
        folder = Path(found.submodule_search_locations[0]) / "systems"
    if not (folder / "data").is_dir():
        raise InputError("holds no folder `data` with the timings", file=str(folder))
    return folder / "data"


def timings(folder: Path, operator: str, system: str) -> Iterator[Timing]:
    """Of one operator on one GPU; nothing where there are none.

    Rows that are faster than the peak, their data being in a cache, are left out.
    """
    read = {
        "gemm": _gemm,
        "prefill_attention": _prefill,
        "decode_attention": _decode,
        "all_reduce": _all_reduce,
    }[operator]
    family, name = {
        "gemm": ("gemm", "gemm_perf"),
        "prefill_attention": ("attention", "context_attention_perf"),
        "decode_attention": ("attention", "generation_attention_perf"),
        "all_reduce": ("comm", "custom_allreduce_perf"),
    }[operator]
    files = sorted(
        (folder / system / family / ENGINE).glob(f"*/{name}.parquet"), key=lambda file: _version(file.parent.name)
    )
    if files:
        gpu = GPUS[SYSTEMS[system]]
        for row in _rows(files[-1]):
            try:
                timing = read(gpu, row)
            except KeyError as error:
                raise InputError("no column of this name", file=str(files[-1]), field=str(error.args[0])) from None
            if timing is not None and timing.seconds >= timing.load.roofline_s:
                yield timing


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) for part in name.split(".") if part.isdigit())


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"not Parquet: {error}", file=str(file)) from None
    for batch in table.iter_batches():
        columns = batch.to_pydict()
        names = list(columns)
        for values in zip(*columns.values(), strict=True):
            yield dict(zip(names, values, strict=True))


def _fifth(*sizes: int) -> bool:
    number = 0
    for size in sizes:
        number = (number * 1_000_003 + size) % 2_147_483_647
    return number * 2_654_435_761 % 2**32 < 2**32 // 5


def _gemm(gpu: Gpu, row: dict[str, Any]) -> Timing | None:
    kind = GEMM_TYPES.get(row["gemm_dtype"])
    m, n, k = int(row["m"]), int(row["n"]), int(row["k"])
    if kind is None or min(n, k) < LEAST:
        return None
    return _timing(gpu, kind, lambda one: gemm(one, FORMATS[kind], m, n, k), row, _fifth(n, k))


def _timing(gpu: Gpu, kind: str, on: Callable[[Gpu], Load], row: dict[str, Any], held_out: bool) -> Timing:
    return Timing(kind, on, on(gpu), row["latency"] * 1e-3, held_out)


def _cache(row: dict[str, Any]) -> str | None:
    plain = row.get("attn_dtype", "bfloat16") == "bfloat16" and not row.get("window_size")
    return {"bfloat16": "bf16", "fp8": "fp8"}.get(row["kv_cache_dtype"]) if plain and row["head_dim"] <= 256 else None


def _prefill(gpu: Gpu, row: dict[str, Any]) -> Timing | None:
    kv, rows, tokens, heads = _cache(row), int(row["batch_size"]), int(row["isl"]), int(row["num_heads"])
    if kv is None or row.get("step"):
        return None
    kv_heads, dim = int(row["num_key_value_heads"]), int(row["head_dim"])
    return _timing(
        gpu,
        "bf16",
        lambda one: prefill_attention(one, rows, tokens, heads, kv_heads, dim, FORMATS[kv]),
        row,
        _fifth(tokens, heads, kv_heads, dim),
    )


def _decode(gpu: Gpu, row: dict[str, Any]) -> Timing | None:
    kv, rows, context, heads = _cache(row), int(row["batch_size"]), int(row["step"]) + 1, int(row["num_heads"])
    if kv is None:
        return None
    kv_heads, dim = int(row["num_key_value_heads"]), int(row["head_dim"])
    return _timing(
        gpu,
        "bf16",
        lambda one: decode_attention(one, rows, context, heads, kv_heads, dim, FORMATS[kv]),
        row,
        _fifth(context, heads, kv_heads, dim),
    )


def _all_reduce(gpu: Gpu, row: dict[str, Any]) -> Timing | None:
    # Without graphs the launches count too; engines capture them in graphs.
    if row.get("backend", "vllm_graph") != "vllm_graph":
        return None
    # Counted in elements of bfloat16: as bytes they would leave the links half idle even for the largest.
    ranks, size = int(row["num_gpus"]), 2 * int(row["message_size"])
    # Of the powers of two, every third.
    held_out = size.bit_length() % 3 == 0
    return _timing(gpu, str(ranks), lambda one: all_reduce(one, ranks, size), row, held_out)
