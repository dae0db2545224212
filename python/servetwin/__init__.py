"""servetwin: a twin of an LLM serving stack.

    result = servetwin.simulate("spec.yaml", "trace.jsonl")
    result.summary["ttft_ms.p95"], result.requests

To read the code, open three files in this order: `spec/deployment.py` (what can be asked), `simulation.py` (how a
question becomes a run of the native core), `result/result.py` (what comes back). How an engine decides is in
`reference/`, in plain Python; the core in `crates/core` does the same, faster.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Trace, __version__
    from .errors import InputError, ServetwinError, SpecError
    from .policy import Choice, ReplicaView, Router, RouterRequest
    from .replication import replicate
    from .result.invariants import check_invariants
    from .result.result import Result
    from .result.store import load
    from .simulation import simulate
    from .spec import Spec, load_spec, make_spec

_HOMES = {
    "Choice": ".policy",
    "InputError": ".errors",
    "ReplicaView": ".policy",
    "Result": ".result.result",
    "Router": ".policy",
    "RouterRequest": ".policy",
    "ServetwinError": ".errors",
    "Spec": ".spec",
    "SpecError": ".errors",
    "Trace": "._core",
    "__version__": "._core",
    "check_invariants": ".result.invariants",
    "load": ".result.store",
    "load_spec": ".spec",
    "make_spec": ".spec",
    "replicate": ".replication",
    "simulate": ".simulation",
}

__all__ = [
    "Choice",
    "InputError",
    "ReplicaView",
    "Result",
    "Router",
    "RouterRequest",
    "ServetwinError",
    "Spec",
    "SpecError",
    "Trace",
    "__version__",
    "check_invariants",
    "load",
    "load_spec",
    "make_spec",
    "replicate",
    "simulate",
]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line answers --help without any of it.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value
