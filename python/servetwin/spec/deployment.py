"""The whole spec: one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PrivateAttr

from ..errors import SpecError
from .base import MAX_REPLICAS, MAX_STAGES, Count, CountOrZero, Positive, Seed, SpecModel
from .engine import Engine, VllmEngine
from .lines import KeyPath, dotted
from .pools import Handover, NamedLink, Pools
from .router import RoundRobinRouter, Router
from .search import Search
from .service import Metrics, ServiceLevel
from .tiers import Tiers
from .timing import AnalyticTiming, Timing
from .workload import ClosedWorkload, Recorded, TraceWorkload, Workload


class Parallel(SpecModel):
    """GPUs of one replica, by how they share the work.

    `tensor` ranks share the attention of one of `data` ranks, which have requests and a cache of their own; `expert`
    of all of these share whole experts.
    """

    tensor: Count = 1
    pipeline: Annotated[int, Field(ge=1, le=MAX_STAGES)] = 1
    data: Count = 1
    expert: Count = 1

    @property
    def gpus(self) -> int:
        return self.tensor * self.data * self.pipeline


class Cluster(SpecModel):
    """The machines. Too few GPUs for the replicas are refused.

    Replicas are placed one after the other, those of the prefill pool first; one that fits into a node stays in it.
    """

    nodes: Count = 1
    gpus_per_node: Count = 8
    nvlink_domain: Count | None = None
    nic_gbps: Annotated[float, Field(ge=0.008, le=8e6)] | None = None
    gpu_price_per_hour: Positive | None = None
    links: dict[str, NamedLink] = Field(default_factory=dict)


class Source:
    """Where the values of a spec were written."""

    def __init__(self, file: str | None = None, directory: str | None = None) -> None:
        self.file = file
        self.directory = directory
        self.lines: dict[KeyPath, int] = {}
        self.overrides: dict[KeyPath, str] = {}
        self.left_out: list[str] = []
        """Options of the file's engine that went when another was set on the command line."""
        self.data: dict[str, Any] = {}
        """What the spec was built from, short forms written out."""

    def problem(self, path: KeyPath, message: str, *, found: str | None = None, wanted: str | None = None) -> SpecError:
        """An error about `path`: at the `--set` that gave it or, last, something inside it; else at its nearest
        ancestor: the `--set` that gave it, or its line."""
        for depth in range(len(path), 0, -1):
            above = path[:depth]
            inside = [origin for key, origin in self.overrides.items() if key[:depth] == above]
            if inside and (depth == len(path) or above not in self.lines):
                return SpecError(message, file=inside[-1], field=dotted(path), found=found, wanted=wanted)
            if above in self.lines:
                break
        line = next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), None)
        return SpecError(message, file=self.file, line=line, field=dotted(path), found=found, wanted=wanted)

    def path(self, field: KeyPath, path: str) -> Path:
        """A path as it is meant: from beside the spec, or, where `field` was set on the command line, from here."""
        here = any(field[:n] in self.overrides for n in range(len(field) + 1))
        return Path("" if here else self.directory or "", Path(path).expanduser())

    def copy(self) -> Source:
        """Another that can be changed."""
        other = Source(self.file, self.directory)
        other.lines, other.overrides, other.left_out = dict(self.lines), dict(self.overrides), list(self.left_out)
        return other

    def forget(self, path: KeyPath) -> None:
        """Nothing that was written at or inside `path` stands any longer."""
        for known in (self.lines, self.overrides):
            for key in [key for key in known if key[: len(path)] == path]:
                del known[key]


class Spec(SpecModel):
    """What to run. `model` and `gpu` may be left out where nothing has to be derived from them."""

    model: str | None = None
    gpu: str | None = None
    parallel: Parallel = Field(default_factory=Parallel)
    engine: Engine = Field(default_factory=VllmEngine)
    replicas: Annotated[int, Field(ge=1, le=MAX_REPLICAS)] = 1
    pools: Pools | None = None
    handover: Handover | None = None
    cluster: Cluster | None = None
    tiers: Tiers = Field(default_factory=Tiers)
    router: Router = Field(default_factory=RoundRobinRouter)
    timing: Timing = Field(default_factory=AnalyticTiming)
    workload: Workload = Field(default_factory=TraceWorkload)
    slo: ServiceLevel | None = None
    metrics: Metrics = Field(default_factory=Metrics)
    search: Search | None = None
    stall_passes: Annotated[CountOrZero, Field(ge=1)] = 10_000
    seed: Seed = 0

    _source: Source = PrivateAttr(default_factory=Source)
    _of_pools: dict[str, Spec] = PrivateAttr(default_factory=dict)

    @property
    def source(self) -> Source:
        """Where each value was written, for errors found after reading."""
        return self._source

    @property
    def by_pool(self) -> dict[str, Spec]:
        """By role, the spec as each pool sees it: itself where all replicas are alike."""
        return self._of_pools if self.pools is not None else {"aggregated": self}

    @property
    def pushes(self) -> bool:
        """Whether prefill replicas send prompts' KV once they are told where to: vLLM's do so from several stages."""
        if self.pools is None:
            return False
        prefill = self.by_pool["prefill"]
        return prefill.engine.name == "trtllm" or prefill.parallel.pipeline > 1

    @property
    def all_replicas(self) -> int:
        """Of all pools."""
        return sum(pool.replicas for pool in self.by_pool.values())

    @property
    def gpus(self) -> int:
        """GPUs of all replicas."""
        if self.pools is not None:
            return sum(pool.gpus for pool in self.by_pool.values())
        return self.replicas * self.parallel.gpus

    @property
    def users(self) -> int | None:
        """Of a closed loop; None for an open one."""
        return self.workload.users if isinstance(self.workload, (Recorded, ClosedWorkload)) else None

    def with_workload(self, workload: Workload) -> Spec:
        """The same deployment under another workload, variants of it included."""
        changed = self.model_copy(update={"workload": workload})
        changed.__pydantic_fields_set__.add("workload")
        changed._source = self._source.copy()
        changed._source.data = {
            **self._source.data,
            "workload": {"kind": workload.kind, **workload.model_dump(exclude_unset=True)},
        }
        return changed

    def was_set(self, *path: str) -> bool:
        """Whether the user gave this field."""
        node: Any = self
        for name in path:
            if name not in node.model_fields_set:
                return False
            node = getattr(node, name)
        return True
