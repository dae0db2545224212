"""Measurements that the spec cannot have produced: refused, or left out by name."""

from __future__ import annotations

from dataclasses import replace

from ..errors import InputError
from ..units import PS_PER_MS
from .measured import Measurement, Point, Request, refuse_many
from .runs import Simulator

TOO_FAST = "they are faster than this GPU can read the weights"


def check_possible(simulator: Simulator, measurement: Measurement) -> Measurement:
    """Without the requests that no such deployment answers so fast.

    Raises InputError: longer requests than are served, more of them at a time, points below the bound, or more than a
    tenth of the requests.
    """
    engine = simulator.deployment.first.engine
    for request in measurement.requests:
        if request.input_tokens + request.output_tokens > engine.request_tokens:
            raise InputError(
                f"a request of {request.input_tokens:,} + {request.output_tokens:,} tokens is longer than the spec "
                f"serves ({engine.request_tokens:,})",
                file=measurement.name,
                field=request.at,
                wanted="the context length that was served",
            )
    _check_together(simulator, measurement)
    least = least_pass_ps(simulator)
    for point in measurement.points:
        _check_point(measurement, point, least)
    kept = [one for one in measurement.requests if not _too_fast(one, least)]
    if len(kept) == len(measurement.requests):
        return measurement
    checked = replace(measurement, requests=kept, left_out=measurement.left_out.copy())
    if measurement.blocks is not None:
        pairs = zip(measurement.requests, measurement.blocks, strict=True)
        checked.blocks = [blocks for one, blocks in pairs if not _too_fast(one, least)]
    reason = f"{TOO_FAST} ({least / PS_PER_MS:.2f} ms)"
    checked.left_out[reason] = len(measurement.requests) - len(kept)
    first = next(one for one in measurement.requests if _too_fast(one, least))
    refuse_many(checked, {reason: first.at})
    return checked


def least_pass_ps(simulator: Simulator) -> float:
    """No token comes sooner: a pass reads the weights once, at the data sheet's rate. 0 where model or GPU is not
    given. Where drafts are verified, a pass may give several."""
    spec, engine = simulator.spec, simulator.deployment.first.engine
    if engine.model is None or engine.gpu is None:
        return 0.0
    tokens = 1 if spec.engine.drafting is None else 1 + spec.engine.drafting.drafts
    share = spec.parallel.tensor * tokens  # stages read their parts one after the other
    return engine.model.token_weight_bytes(engine.stored) / engine.gpu.memory_bytes_per_s / share * 1e12


def _too_fast(request: Request, least_ps: float) -> bool:
    tpot = request.tpot_ps
    return request.ttft_ps < least_ps or (tpot is not None and tpot < least_ps)


def _check_point(measurement: Measurement, point: Point, least_ps: float) -> None:
    for name in ("ttft", "tpot"):
        value = getattr(point, f"{name}_ps")
        if value is not None and value < least_ps:
            raise InputError(
                f"a mean {name.upper()} that this GPU cannot reach: reading the weights once takes "
                f"{least_ps / PS_PER_MS:.2f} ms",
                file=measurement.name,
                line=point.line,
                field=name,
                found=f"{value / PS_PER_MS:g} ms",
                wanted="the GPU, model and ranks that were measured, and times in the unit that their names say",
            )


def _check_together(simulator: Simulator, measurement: Measurement) -> None:
    """Requests between their first and last token occupy a row each."""
    if measurement.users is not None:
        return  # when they were sent is not known
    changes = sorted(
        change
        for one in measurement.requests
        for change in ((one.sent_ps + one.ttft_ps, 1), (one.sent_ps + one.latency_ps, -1))
    )
    together = most = 0
    for _, change in changes:
        together += change
        most = max(most, together)
    spec = simulator.spec
    rows = simulator.deployment.first.engine.rows * spec.replicas * spec.parallel.data
    if most > rows:
        raise InputError(
            f"{most:,} requests were answered at a time, and the spec serves {rows:,}",
            file=measurement.name,
            wanted="the limit on running requests, and the replicas, that were measured",
        )
