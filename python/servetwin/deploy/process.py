"""The engines that a deployment starts: one process a replica, and how each is told its part."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from ..catalog.named import model_name
from ..catalog.published import REPOSITORIES
from ..errors import InputError
from ..spec import Spec
from .flags import Flag, checked, engine_flags, table_of, words

COMMANDS = {
    "vllm": ["vllm", "serve"],
    "sglang": ["python3", "-m", "sglang.launch_server"],
    "trtllm": ["trtllm-serve", "serve"],
}
IMAGES = {
    "vllm": "vllm/vllm-openai:v{version}.0",
    "sglang": "lmsysorg/sglang:v{version}",
    "trtllm": "nvcr.io/nvidia/tensorrt-llm/release:{version}.0",
}
"""What the makers publish for a version."""

MACHINE_GPUS = 8
"""Where the spec names no cluster."""

CONFIG = {"aggregated": "engine.yaml", "prefill": "prefill.yaml", "decode": "decode.yaml"}
"""TensorRT-LLM's options, by role."""

NIXL, NIXL_PUSH = ({"kv_connector": name, "kv_role": "kv_both"} for name in ("NixlConnector", "NixlPushConnector"))
"""vLLM's connectors on both sides of a hand-over (docs/features/nixl_connector_usage.md); from stages, the second
(docs/design/nixl_kv_push_connector.md)."""

SIDE_CHANNEL_PORT = 5600
"""VLLM_NIXL_SIDE_CHANNEL_PORT's default."""

BOOTSTRAP_PORT = 8998
"""disaggregation_bootstrap_port's default."""


@dataclass(frozen=True)
class Process:
    """A replica of one pool, ready to start but for its address and its GPUs."""

    role: str
    spec: Spec
    """As the pool sees it."""
    model: str
    flags: list[Flag]
    """The engine's own options."""
    handover: list[Flag]
    """What makes it one side of a hand-over."""

    @property
    def engine(self) -> str:
        return self.spec.engine.name

    @property
    def replicas(self) -> int:
        return self.spec.replicas

    @property
    def gpus(self) -> int:
        """Of one replica."""
        return self.spec.parallel.gpus

    @property
    def command(self) -> list[str]:
        return COMMANDS[self.engine]

    @property
    def image(self) -> str:
        return IMAGES[self.engine].format(version=self.spec.engine.version)

    @property
    def config_file(self) -> str:
        return CONFIG[self.role]

    def arguments(self, *, model_flag: str | None = None, folder: str = "") -> list[str]:
        """Behind the command. `model_flag`: where the model is no first argument; `folder`: where the config lies."""
        own = {"vllm": None, "sglang": "--model-path", "trtllm": None}[self.engine]
        flag = model_flag or own
        first = [self.model] if flag is None else [flag, self.model]
        if self.engine == "trtllm":
            return [*first, "--config", f"{folder}{self.config_file}"]
        return [*first, *words([*self.flags, *self.handover])]

    @property
    def config(self) -> str | None:
        """TensorRT-LLM's options as the YAML that it reads; None of the others, which take flags."""
        if self.engine != "trtllm":
            return None
        options: dict[str, Any] = {}
        for flag in [*self.flags, *self.handover]:
            inner = options
            *above, last = flag.name.replace("-", "_").split(".")
            for name in above:
                inner = inner.setdefault(name, {})
            inner[last] = flag.value
        return yaml.dump(options, Dumper=yaml.SafeDumper, sort_keys=False) if options else "{}\n"


@dataclass
class Plan:
    """What is written, whatever it is written as."""

    name: str
    """Fit for Kubernetes."""
    spec: Spec
    processes: list[Process]
    """By pool; that of prompts first."""
    notes: list[str] = field(default_factory=list)
    """What a reader of the files has to know."""

    @property
    def model(self) -> str:
        return self.processes[0].model

    @property
    def engine(self) -> str:
        return self.processes[0].engine

    @property
    def disaggregated(self) -> bool:
        return len(self.processes) > 1

    def first_gpu(self, process: Process) -> int:
        """Where its replicas begin on a machine: behind those of other pools, if all fit on one."""
        needs = [one.replicas * one.gpus for one in self.processes]
        return sum(needs[: self.processes.index(process)]) if sum(needs) <= machine_gpus(self.spec) else 0


def make_plan(spec: Spec, name: str, *, weights: str | None, draft_model: str | None) -> Plan:
    """Every process of a spec. Raises InputError where an engine cannot be told what the spec says."""
    if spec.handover is not None and spec.handover.layerwise:
        raise InputError(
            "no hand-over layer by layer is written: MoRIIOConnector has to be told the addresses of its proxy",
            field="handover.layerwise",
            found="true",
            wanted="false",
        )
    model = _weights(spec, weights)
    found = []
    machine = machine_gpus(spec)
    for role, seen in spec.by_pool.items():
        if seen.parallel.gpus > machine:
            raise InputError(
                f"a replica of {seen.parallel.gpus} GPUs on machines with {machine} is not written", field="parallel"
            )
        flags = engine_flags(seen, draft_model)
        found.append(Process(role, seen, model, flags, _handover(seen, role, pushes=spec.pushes)))
    return Plan(name, spec, found)


def machine_gpus(spec: Spec) -> int:
    return MACHINE_GPUS if spec.cluster is None else spec.cluster.gpus_per_node


def _weights(spec: Spec, given: str | None) -> str:
    known = None if spec.model is None else REPOSITORIES.get(model_name(spec.model))
    if given is None and known is None:
        raise InputError(
            "missing: where the weights are, which the spec does not tell",
            field="--weights",
            found=spec.model,
            wanted="a repository or a path that the engine can load",
        )
    return given or known or ""


def _handover(spec: Spec, role: str, *, pushes: bool) -> list[Flag]:
    if role == "aggregated":
        return []
    table = table_of(spec)
    if spec.engine.name == "vllm":
        return [Flag(checked(table, "kv-transfer-config"), NIXL_PUSH if pushes else NIXL, "handover")]
    if spec.engine.name == "sglang":
        flags = [
            Flag(checked(table, "disaggregation-mode"), role, "handover"),
            Flag(checked(table, "disaggregation-transfer-backend"), "nixl", "handover"),
        ]
        port = Flag(checked(table, "disaggregation-bootstrap-port"), BOOTSTRAP_PORT, "handover")
        return [*flags, port] if role == "prefill" else flags
    # No overlap scheduler of context servers (TensorRT-LLM's docs/source/features/disagg-serving.md).
    context = [Flag(checked(table, "disable-overlap-scheduler"), True, "handover")] if role == "prefill" else []
    return [*context, Flag(f"{checked(table, 'cache-transceiver-config')}.backend", "DEFAULT", "handover")]
