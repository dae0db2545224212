"""Other workloads that the same source might have sent: one for each seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..native import native_errors
from ..spec import Spec
from ..spec.workload import TraceWorkload
from .block_length import blocks, length_s
from .open import workload_of_seeds

if TYPE_CHECKING:
    from .._core import Trace


@dataclass(frozen=True)
class Source:
    """Attributes:
    trace: the workload itself.
    draw: another one, of a seed. Safe to be called by several threads.
    method: how others are drawn: `generator`, `blocks` of time, or `families` one by one.
    block_s: the length of a block.
    """

    trace: Trace
    draw: Callable[[int], Trace]
    method: str
    block_s: float | None = None

    def described(self) -> dict[str, Any]:
        return {"method": self.method} | ({} if self.block_s is None else {"block_s": self.block_s})


def source(spec: Spec, trace: Trace | None = None) -> Source:
    """Where a spec's requests come from; or those of a trace, used in the place of its workload.

    What is generated is generated anew. Of a trace, families of requests (turns of a session, what waits for each
    other, prompts that go on from each other) are drawn with replacement: in blocks of time, or, in a closed loop and
    where all come at once, one by one. Raises SpecError and InputError as `open_workload` does.
    """
    if trace is None:
        make = workload_of_seeds(spec)
        trace = make(spec.seed)
        if not isinstance(spec.workload, TraceWorkload):
            return Source(trace, make, "generator")
    found = None if spec.users is not None else blocks(trace)
    if found is None:
        return Source(trace, _drawing(trace, None), "families")
    return Source(trace, _drawing(trace, asdict(found)), "blocks", length_s(found))


def _drawing(trace: Trace, blocks: dict[str, int] | None) -> Callable[[int], Trace]:
    """Draws twice: what was seen is itself one sample of the traffic, and what comes is another.

    Drawn once, workloads vary about the trace as the trace does about what is usual. So far from what is usual, too,
    will be what comes, and the two add up.
    """

    def draw(seed: int) -> Trace:
        with native_errors():
            usual = trace.bootstrap(json.dumps({"blocks": blocks, "seed": seed}))
            return usual.bootstrap(json.dumps({"blocks": blocks, "seed": seed + 1}))

    return draw
