"""Random deployments of every topology: one pool of any engine, with ranks or stages, or two that hand over."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from servetwin import _core

from .disaggregated import ENGINES, Disaggregated, disaggregated
from .test_data_parallel import group_worlds
from .test_pipeline import pipelined_worlds
from .test_trtllm import trtllm_worlds
from .worlds import World, described, worlds


@dataclass(frozen=True)
class Deployed:
    """A trace, and a run of it as the core takes it."""

    trace: dict[str, Any]
    run: dict[str, Any]

    def changed(self, **changes: Any) -> Deployed:
        return replace(self, run=self.run | changes)

    def simulate(self) -> _core.Run:
        """Of worlds in which the engine itself would not end with an error."""
        try:
            return _core.simulate(_core.Trace.from_columns(**self.trace), json.dumps(self.run))
        except _core.InputError as error:
            assume("fails here" not in str(error))
            raise


def deployed(world: World | Disaggregated) -> Deployed:
    """Requests that could never run are turned away, and no run is cut short."""
    run = json.loads(described(world.run)) if isinstance(world, World) else world.run
    return Deployed(world.trace, run | {"check_admission": True, "max_passes": None})


ONE_POOL: dict[str, st.SearchStrategy[Deployed]] = {
    "plain": worlds().map(deployed),
    "ranks": group_worlds().map(deployed),
    "stages": pipelined_worlds().map(deployed),
    "trtllm": trtllm_worlds().map(deployed),
}
TWO_POOLS: dict[str, st.SearchStrategy[Deployed]] = {name: disaggregated(name).map(deployed) for name in ENGINES}
TOPOLOGIES = ONE_POOL | TWO_POOLS


def numbers(run: _core.Run, name: str) -> list[int]:
    signed = name.endswith("_ps")
    code = "B" if name in ("status", "reason") else "q" if signed else "I"
    return memoryview(run.column(name)).cast(code).tolist()
