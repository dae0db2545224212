"""Measurements through the simulator: the same requests, sent when they were, with any terms."""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._core import Trace
from .._core import simulate as native_simulate
from ..describe import Deployment, resolve, run_description
from ..errors import InputError
from ..native import native_errors
from ..spec import Spec
from ..spec.timing import HostTiming
from ..spec.workload import ClosedWorkload, PoissonWorkload
from ..timing.terms import REQUEST, balance_tokens, with_terms
from ..units import PS_PER_MS, nearest_ps
from ..workload import open_workload
from .measured import Measurement, Point

FRONT_END = ("request_ps", "prompt_token_ps", "stream_ps")


@dataclass(frozen=True)
class Simulated:
    """Of each request, in picoseconds: from being sent to the first and to the last token."""

    ttft_ps: list[int]
    latency_ps: list[int]
    output_tokens: list[int]


@dataclass(frozen=True)
class Load:
    """What is sent in one run: a measurement's requests, or a point's."""

    measurement: Measurement
    point: Point | None
    trace: Trace
    users: int | None

    @property
    def name(self) -> str:
        """For people."""
        return self.measurement.name if self.point is None else f"{self.measurement.name}:{self.point.line}"


def loads(spec: Spec, measurements: list[Measurement]) -> list[Load]:
    """Everything that was measured, ready to be sent. Raises SpecError, InputError."""
    found = []
    for measurement in measurements:
        if measurement.requests:
            found.append(Load(measurement, None, _trace(measurement), measurement.users))
        for point in measurement.points:
            found.append(Load(measurement, point, _generated(spec, point), point.users))
    return found


def _trace(measurement: Measurement) -> Trace:
    requests = measurement.requests
    start = requests[0].sent_ps
    columns: dict[str, Any] = {
        "time_ps": array("q", (0 if measurement.users else one.sent_ps - start for one in requests)),
        "input_tokens": array("I", (one.input_tokens for one in requests)),
        "output_tokens": array("I", (one.output_tokens for one in requests)),
    }
    if measurement.blocks is not None:
        offsets = [0]
        for blocks in measurement.blocks:
            offsets.append(offsets[-1] + len(blocks))
        columns |= {"hash_ids": [block for blocks in measurement.blocks for block in blocks], "hash_offsets": offsets}
    fields = {"time": "sent", "input": "input_tokens", "output": "output_tokens", "ids": "blocks"}
    with native_errors():
        return Trace.from_rows(
            measurement.name,
            columns,
            fields=fields,
            sha256=measurement.sha256,
            notes_json="{}",
            block_tokens=measurement.block_tokens,
        )


def _generated(spec: Spec, point: Point) -> Trace:
    """Prompts that share nothing, all of the mean lengths."""
    lengths: dict[str, Any] = {
        "requests": point.requests,
        "input_tokens": point.input_tokens,
        "output_tokens": point.output_tokens,
    }
    if point.users is not None:
        return open_workload(spec.with_workload(ClosedWorkload(kind="closed", users=point.users, **lengths)))
    assert point.rate_per_s is not None
    return open_workload(spec.with_workload(PoissonWorkload(kind="poisson", rate_per_s=point.rate_per_s, **lengths)))


class Simulator:
    """A deployment whose timing can be given terms."""

    def __init__(self, spec: Spec) -> None:
        """Raises SpecError for a spec that cannot be calibrated."""
        for field, why in (("pools", "one engine is calibrated at a time"), ("search", "one deployment is")):
            if getattr(spec, field) is not None:
                raise spec.source.problem((field,), why, wanted="it left out")
        if not isinstance(spec.timing, HostTiming):
            raise spec.source.problem(
                ("timing", "kind"),
                f"terms are fitted over a model of the GPU, not over {spec.timing.kind}",
                wanted="analytic, table or aiconfigurator",
            )
        self.spec = spec
        self.timing = spec.timing
        self.deployment: Deployment = resolve(spec)
        self._config = run_description(spec, self.deployment, leap=True, own_router=False)

    def run(self, load: Load, terms: Mapping[str, float]) -> Any:
        """The core's run. Raises InputError for requests that are not served."""
        pool = self.deployment.first
        lowered = with_terms(pool.lowered, terms, self.timing.host_ms, balance_tokens(pool.engine))
        front = dict(self._config["front"])
        if not load.measurement.front_end:
            front = dict.fromkeys(FRONT_END, 0)
        elif REQUEST in terms:
            front["request_ps"] = nearest_ps(terms[REQUEST], PS_PER_MS)
        config = {**self._config, "front": front, "users": load.users}
        config["pools"] = [{**config["pools"][0], "step_time": lowered.description}]
        with native_errors():
            return native_simulate(load.trace, json.dumps(config))

    def simulated(self, load: Load, terms: Mapping[str, float]) -> Simulated:
        """Raises InputError for a request that this deployment does not serve."""
        run = self.run(load, terms)
        sent, first, last = (_times(run, name) for name in ("arrival_ps", "first_token_ps", "last_token_ps"))
        for row, time in enumerate(last):
            if time < 0:
                request = load.measurement.requests[row] if load.point is None else None
                raise InputError(
                    "the spec does not serve what was measured"
                    + (f": {request.input_tokens:,} + {request.output_tokens:,} tokens" if request else ""),
                    file=load.name,
                    found=request.at if request else None,
                    wanted="a spec of the deployment that was measured",
                )
        tokens = array("I")
        tokens.frombytes(run.column("output_tokens"))
        pairs = list(zip(sent, first, last, strict=True))
        return Simulated([f - s for s, f, _ in pairs], [e - s for s, _, e in pairs], tokens.tolist())


def _times(run: Any, name: str) -> list[int]:
    column = array("q")
    column.frombytes(run.column(name))
    return column.tolist()
