"""How the GPUs of one replica share the work."""

from __future__ import annotations

from dataclasses import dataclass

from ..spec import Spec


@dataclass(frozen=True)
class Ranks:
    """Ranks of one replica that run a pass together."""

    tensor: int = 1
    """Share each layer's attention."""
    data: int = 1
    """Attention data ranks: each has requests and a cache of its own; experts are shared by all of them."""
    expert: int = 1
    """Share whole experts; 1: each rank has a slice of every expert."""
    pipeline: int = 1
    """Stages, each with its share of the layers."""

    @property
    def stage(self) -> int:
        """GPUs of one stage."""
        return self.tensor * self.data

    @property
    def expert_slices(self) -> int:
        """Ranks that share one expert."""
        return self.stage // self.expert


def ranks(spec: Spec) -> Ranks:
    """Of each replica."""
    parallel = spec.parallel
    return Ranks(parallel.tensor, parallel.data, parallel.expert, parallel.pipeline)
