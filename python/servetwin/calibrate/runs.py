"""Measurements through the simulator: the same requests, sent when they were, with any terms."""

from __future__ import annotations

import json
import random
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .._core import Trace
from .._core import simulate as native_simulate
from ..describe import Deployment, resolve, run_description
from ..errors import InputError
from ..native import native_errors, numbers
from ..spec import Spec
from ..spec.timing import HostTiming
from ..spec.workload import ClosedWorkload, PoissonWorkload
from ..timing.terms import REQUEST, balance_tokens, with_terms, without_host
from ..units import PS_PER_MS, PS_PER_S, nearest_ps
from ..workload import open_workload
from .measured import Measurement, Point

MOVES, MOVED_S = 3, 0.02
"""Copies of a measurement, and how far their requests are sent later: about a pass."""

FRONT_END = ("request_ps", "prompt_token_ps", "stream_ps")


@dataclass(frozen=True)
class Simulated:
    """Of each request, in picoseconds: from being sent to the first and to the last token, on average over runs."""

    ttft_ps: list[float]
    latency_ps: list[float]
    output_tokens: list[int]


@dataclass(frozen=True)
class Load:
    """What is sent in one run: a measurement's requests, or a point's.

    Of requests whose times are known there are several `traces`, their times moved by up to `MOVED_S`: whether one just
    catches a pass or waits for the next is chance, in the measurement as well, and would make what is fitted jump.
    """

    measurement: Measurement
    point: Point | None
    traces: tuple[Trace, ...]
    users: int | None

    @property
    def trace(self) -> Trace:
        """As it was sent."""
        return self.traces[0]

    @property
    def name(self) -> str:
        """For people."""
        return self.measurement.name if self.point is None else f"{self.measurement.name}:{self.point.line}"


def loads(spec: Spec, measurements: list[Measurement]) -> list[Load]:
    """Everything that was measured, ready to be sent. Raises SpecError, InputError."""
    found = []
    for measurement in measurements:
        if measurement.requests:
            times = [[one.sent_ps for one in measurement.requests]]
            if measurement.users is None:
                times += [_moved(times[0], random.Random(number)) for number in range(MOVES)]
            traces = tuple(_trace(measurement, sent) for sent in times)
            found.append(Load(measurement, None, traces, measurement.users))
        for point in measurement.points:
            found.append(Load(measurement, point, (_generated(spec, point),), point.users))
    return found


def _moved(sent_ps: list[int], dice: random.Random) -> list[int]:
    """In the same order."""
    return sorted(time + round(dice.uniform(0, MOVED_S) * PS_PER_S) for time in sent_ps)


def _trace(measurement: Measurement, sent_ps: list[int]) -> Trace:
    requests, start = measurement.requests, sent_ps[0]
    columns: dict[str, Any] = {
        "time_ps": array("q", (0 if measurement.users else time - start for time in sent_ps)),
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
        """The core's run of the requests as they were sent. Raises InputError."""
        return self._run(load.trace, self._described(load, terms))

    def _run(self, trace: Trace, described: str) -> Any:
        with native_errors():
            return native_simulate(trace, described)

    def _described(self, load: Load, terms: Mapping[str, float]) -> str:
        """For the core: with tables it is long, and the same for all traces of a load."""
        pool = self.deployment.first
        balance = balance_tokens(pool.engine)
        first = with_terms(pool.lowered, terms, self.timing.host_ms, balance).description
        later = [with_terms(lowered, without_host(terms), 0.0, balance).description for _, lowered in pool.later]
        front = dict(self._config["front"])
        if not load.measurement.front_end:
            front = dict.fromkeys(FRONT_END, 0)
        elif REQUEST in terms:
            front["request_ps"] = nearest_ps(terms[REQUEST], PS_PER_MS)
        config = {**self._config, "front": front, "users": load.users}
        changed = {**config["pools"][0], "step_time": first}
        if pool.stages:
            changed["pipeline"] = {"kinds": [first, *later], "stages": pool.stages}
        config["pools"] = [changed]
        return json.dumps(config)

    def simulated(self, load: Load, terms: Mapping[str, float]) -> Simulated:
        """Raises InputError for a request that this deployment does not serve."""
        ttft, latency = [0] * len(load.trace), [0] * len(load.trace)
        described = self._described(load, terms)
        for trace in load.traces:
            run = self._run(trace, described)
            columns = (numbers(run.column(name), "q") for name in ("arrival_ps", "first_token_ps", "last_token_ps"))
            for row, (sent, first, last) in enumerate(zip(*columns, strict=True)):
                if last < 0:
                    raise self._unserved(load, row)
                ttft[row] += first - sent
                latency[row] += last - sent
        count = len(load.traces)
        return Simulated(
            [ps / count for ps in ttft], [ps / count for ps in latency], numbers(run.column("output_tokens"), "I")
        )

    def _unserved(self, load: Load, row: int) -> InputError:
        request = load.measurement.requests[row] if load.point is None else None
        lengths = f": {request.input_tokens:,} + {request.output_tokens:,} tokens" if request else ""
        return InputError(
            f"the spec does not serve what was measured{lengths}",
            file=load.name,
            found=request.at if request else None,
            wanted="a spec of the deployment that was measured",
        )
