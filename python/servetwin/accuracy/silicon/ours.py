"""Our prediction for a deployment of the sample: its benchmark, simulated."""

from __future__ import annotations

from dataclasses import replace

from ...simulation import simulate
from ...spec import make_spec
from .peer import Prediction
from .rows import Deployment
from .spec import PUBLISHED, NotSimulatedError, Protocol, polling_passes, spec_of
from .terms import UNFITTED, Terms


def predict(one: Deployment, terms: Terms = UNFITTED, protocol: Protocol = PUBLISHED) -> Prediction:
    """Means over the requests. Raises NotSimulatedError, or SpecError for what the spec refuses."""
    found = _run(one, terms, protocol)
    # A request arrives anywhere between two looks for new ones, which are so many passes apart.
    waited_ms = polling_passes(one) / 2 * found.tpot_ms
    return _run(one, replace(terms, request_ms=terms.request_ms + waited_ms), protocol) if waited_ms else found


def _run(one: Deployment, terms: Terms, protocol: Protocol) -> Prediction:
    timing = {"kind": "analytic", "eager_layer_us": terms.eager_layer_us, "request_ms": terms.request_ms}
    summary = simulate(make_spec(spec_of(one, protocol) | {"timing": timing})).summary
    ttft, tpot = summary["ttft_ms.mean"], summary["tpot_ms.mean"]
    if ttft is None or tpot is None:
        raise NotSimulatedError("no request completes")
    return Prediction(float(ttft), float(tpot))
