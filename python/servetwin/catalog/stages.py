"""Pipeline stages of a replica: who has which layers, and what joins one to the next."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import Spec
from ..spec.engine import TrtllmEngine, VllmEngine
from .gpus import Gpu
from .models import Model

MACHINE = 8
"""GPUs of the largest machine; links that join more join a rack."""


@dataclass(frozen=True)
class Stage:
    layers: int
    is_first: bool
    """It gets a pass from the engine's loop, and looks up its tokens."""
    is_last: bool
    """It has the output head, and chooses the tokens."""
    sends_bytes_per_s: float
    """Of each of its GPUs, to the next stage; 0 of the last one."""


def stages(spec: Spec, model: Model, gpu: Gpu) -> list[Stage]:
    """In the order of the layers. Stages stand one after the other, the first at the start of a domain of links;
    each of several data ranks has its own (`initialize_model_parallel` in vllm/distributed/parallel_state.py).
    Raises SpecError where two that follow each other are joined by nothing."""
    count, size = spec.parallel.pipeline, spec.parallel.tensor
    domain = link_domain(spec, gpu)
    found = []
    for index, layers in enumerate(stage_layers(spec, model.layers)):
        is_last = index == count - 1
        crosses = (index + 1) * size % domain == 0
        rate = 0.0 if is_last else _nic_bytes_per_s(spec, domain) if crosses else gpu.link.bytes_per_s
        found.append(Stage(layers, index == 0, is_last, rate))
    return found


def check_without_stages(spec: Spec) -> None:
    """Raises SpecError for stages of a model whose layers do not all keep every token."""
    if spec.parallel.pipeline > 1:
        raise spec.source.problem(
            ("parallel", "pipeline"),
            f"pipeline stages of {spec.model}, whose layers do not all keep every token, are not yet modelled",
            found=str(spec.parallel.pipeline),
            wanted="1, or a model with full attention in every layer",
        )


def stage_layers(spec: Spec, layers: int) -> list[int]:
    """Layers of each stage.

    Those left over go one each to the last stages; in vLLM but the very last, which has the head (`get_pp_indices` in
    vllm/distributed/utils.py and in sglang/srt/distributed/utils.py); in TensorRT-LLM to the first (`pp_layers` in
    tensorrt_llm/mapping.py).
    """
    count = spec.parallel.pipeline
    each, over = divmod(layers, count)
    end = over if isinstance(spec.engine, TrtllmEngine) else count - isinstance(spec.engine, VllmEngine)
    return [each + (end - over <= index < end) for index in range(count)]


def link_domain(spec: Spec, gpu: Gpu) -> int:
    """GPUs that reach each other directly: those of a machine, unless a rack joins more, or its links fewer."""
    if spec.cluster is None:
        return gpu.link.domain
    if spec.cluster.nvlink_domain is not None:
        return spec.cluster.nvlink_domain
    rack = gpu.link.domain > MACHINE
    return gpu.link.domain if rack else min(gpu.link.domain, spec.cluster.gpus_per_node)


def _nic_bytes_per_s(spec: Spec, domain: int) -> float:
    if spec.cluster is None or spec.cluster.nic_gbps is None:
        raise spec.source.problem(
            ("cluster", "nic_gbps"),
            f"missing: stages of a replica of {spec.parallel.gpus} GPUs lie in several domains of {domain}, "
            "and reach each other over the NICs",
            wanted="the Gbit/s of the NIC of a GPU, or fewer GPUs in a replica",
        )
    return spec.cluster.nic_gbps / 8 * 1e9
