"""A space where none is given: what an experienced engineer would try first."""

from __future__ import annotations

from typing import Any, assert_never

from ..catalog import find_gpu, find_model
from ..errors import SpecError
from ..spec import Spec
from ..spec.engine import SglangEngine, TrtllmEngine, VllmEngine
from ..spec.pools import POOLS
from ..spec.search import Search

MACHINE_GPUS = 8
"""Beyond one machine tensor parallelism is slow: no more ranks are tried."""

SEQUENCES = (64, 256, 1024)
TOKENS = (2048, 8192, 16384)
"""Around the engines' own defaults, by a factor of four."""

ROUTERS = ("round_robin", "kv_aware")


def axes(spec: Spec, search: Search) -> dict[str, list[Any]]:
    """The values that vary: those of the search, or derived ones. Raises SpecError where they cannot be derived."""
    if search.vary is not None:
        return dict(search.vary)
    if search.max_gpus is None:
        raise spec.source.problem(
            ("search", "max_gpus"), "missing: without vary, the space is derived from it", wanted="a number of GPUs"
        )
    if find_model(spec) is None or find_gpu(spec) is None:
        missing = "model" if find_model(spec) is None else "gpu"
        raise spec.source.problem((missing,), "missing: without search.vary, the space is derived from it")
    found: dict[str, list[Any]] = {"parallel.tensor": _tensor(spec, search.max_gpus)}
    found |= _replicas(spec, search.max_gpus, search)
    found |= _batches(spec)
    if spec.pools is not None or any(count > 1 for count in found["replicas"]):
        found["router"] = list(ROUTERS)
    if search.allow_lossy:
        found[".".join(map(str, spec.engine.quantization_option))] = [None, "fp8"]
    # What the spec says outright stays.
    return {path: values for path, values in found.items() if not spec.was_set(*path.split("."))}


def _tensor(spec: Spec, most: int) -> list[int]:
    machine = MACHINE_GPUS if spec.cluster is None else spec.cluster.gpus_per_node
    return [2**power for power in range(machine.bit_length()) if 2**power <= min(machine, most)]


def _replicas(spec: Spec, most: int, search: Search) -> dict[str, list[Any]]:
    counts = range(1, most + 1)
    if spec.pools is not None:
        return {f"pools.{name}.replicas": list(counts) for name in POOLS}
    return {"replicas": [count for count in counts if search.objective == "cheapest" or most % count == 0]}


def _batches(spec: Spec) -> dict[str, list[Any]]:
    match spec.engine:
        case VllmEngine():
            return {"engine.max_num_seqs": [*SEQUENCES], "engine.max_num_batched_tokens": [*TOKENS]}
        case SglangEngine():
            return {"engine.max_running_requests": [*SEQUENCES], "engine.chunked_prefill_size": [*TOKENS]}
        case TrtllmEngine():
            return {"engine.max_batch_size": [*SEQUENCES], "engine.max_num_tokens": [*TOKENS]}
        case _:
            assert_never(spec.engine)


def check_paths(spec: Spec, found: dict[str, list[Any]]) -> None:
    """Raises SpecError for a path that no spec has, which would drop every combination for the same reason."""
    from ..spec import vary

    for path, values in found.items():
        problems = []
        for value in values:
            try:
                vary(spec, {path: value})
            except SpecError as error:
                problems.append(error)
        if len(problems) == len(values):
            problem = problems[0]
            raise spec.source.problem(
                ("search", "vary", path), problem.message, found=problem.found, wanted=problem.wanted
            )
