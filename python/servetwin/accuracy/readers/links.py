"""Collectives: vLLM's own all-reduce, NCCL's, DeepEP's."""

from __future__ import annotations

from ...catalog import Gpu
from ...timing.operators import all_gather, all_reduce, combine, dispatch
from .base import Row, Timing, fifth, timing

NCCL = {"all_gather": "all_gather", "reduce_scatter": "reduce_scatter", "alltoall": "all_to_all", "all_reduce": "nccl"}


def read_all_reduce(gpu: Gpu, row: Row) -> Timing | None:
    # Without graphs the launches count too; engines capture them in graphs.
    if row.get("backend", "vllm_graph") != "vllm_graph":
        return None
    # Counted in elements of bfloat16: as bytes they would leave the links half idle even for the largest.
    ranks, size = int(row["num_gpus"]), 2 * int(row["message_size"])
    return timing(gpu, str(ranks), lambda one: all_reduce(one, ranks, size), row, _third(size))


def read_nccl(gpu: Gpu, row: Row) -> Timing | None:
    # Elements: a message of halves takes as long as one of twice as many bytes.
    ranks, size = int(row["num_gpus"]), int(row["message_size"]) * {"half": 2, "int8": 1}[row["nccl_dtype"]]
    name = NCCL[row["op_name"]]
    load = all_reduce if name == "nccl" else all_gather
    return timing(gpu, f"{name}_{ranks}", lambda one: load(one, ranks, size), row, _third(size))


def _third(size: int) -> bool:
    """Of the powers of two, every third."""
    return size.bit_length() % 3 == 0


def read_deepep(gpu: Gpu, row: Row) -> Timing | None:
    """vLLM's, within a machine; in microseconds, other than all else."""
    modes = {"deepep_ht": "normal", "deepep_ll": "low_latency"}
    mode, phase = modes.get(row["comm_backend"]), row["phase"]
    if mode is None:
        return None
    ranks, tokens, hidden, active = (int(row[key]) for key in ("ep_size", "num_tokens", "hidden_size", "topk"))
    load = dispatch if phase == "dispatch" else combine
    return timing(
        gpu,
        f"{mode}_{phase}_{ranks}",
        lambda one: load(one, ranks, tokens, hidden, active),
        row,
        fifth(tokens, hidden),
        unit=1e-6,
    )
