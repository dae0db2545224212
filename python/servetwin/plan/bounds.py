"""Proof without a run: what no scheduler, router or luck could bring a deployment to.

Each token is a row of a pass, each prompt is computed once where no other request has its beginning, and a pass takes
what `timing.floor` says at least. So no token follows another sooner than the shortest pass takes, no first token comes
before its prompt's own part is computed, and no replica gives out more than in its best pass, or computes more prompts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..native import numbers
from ..spec import Spec
from ..spec.service import Percentiles
from ..timing.floor import Floor
from .space import Candidate

if TYPE_CHECKING:
    from .._core import Trace

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

HAIR = 1 + 1e-9
"""What rounding to whole picoseconds may add up to, and more."""


@dataclass(frozen=True)
class Missed:
    """A limit that cannot be met at any load, and by how many times it is exceeded at least."""

    proof: str
    times: float


class Bounds:
    """Of candidates under one workload."""

    def __init__(self, base: Spec, trace: Trace) -> None:
        self._slo = base.slo
        self._whole = base.metrics.warmup == 0 and base.metrics.window is None
        inputs = numbers(trace.column("input_tokens"), "I")
        outputs = numbers(trace.column("output_tokens"), "I")
        self._requests = len(inputs)
        self._output_tokens = sum(outputs)
        self._answers = sum(tokens >= 2 for tokens in outputs)
        own = {False: inputs, True: _own_tokens(trace, inputs)}
        self._prompts = {cached: sorted(tokens) for cached, tokens in own.items()}
        """By whether prefixes are cached: the tokens of each prompt that must be computed for it alone."""
        self._answered = {
            cached: sorted(prompt for prompt, output in zip(tokens, outputs, strict=True) if output)
            for cached, tokens in own.items()
        }
        """The same of prompts that get a first token."""

    def missed(self, candidate: Candidate) -> Missed | None:
        """A limit of the service level that it misses at every load; the one it misses most."""
        floor = _floor(candidate)
        if floor is None or self._slo is None:
            return None
        token_ms = floor.pass_ps(1, 1) / 1e9
        prompts = self._answered[candidate.spec.engine.shares_prefixes]
        budget = candidate.deployment.first.engine.pass_tokens

        def first_ms(share: float) -> float:
            # The rank at or below the percentile: so many have prompts at least as long.
            return floor.prompt_ps(prompts[int(share * (len(prompts) - 1))], budget) / 1e9

        found: list[Missed] = []
        if self._answers:
            what = "its shortest pass takes as long"
            found += self._over("tpot_ms", what, lambda _share: token_ms, self._answers)
        if self._whole and prompts:
            found += self._over("ttft_ms", "the prompts alone take as long", first_ms, len(prompts))
        return max(found, key=lambda one: one.times, default=None)

    def _over(self, name: str, what: str, least_ms: Callable[[float], float], concerned: int) -> Iterator[Missed]:
        """Limits on this time that are exceeded. `least_ms`: what a share of them stay within at best; `concerned`: how
        many requests have such a time."""
        limit = getattr(self._slo, name)
        limits: list[tuple[str, float, float]] = []
        if isinstance(limit, Percentiles):
            shares = {**PERCENTILES, "min": 0.0, "max": 1.0}
            given = limit.model_dump(exclude_none=True)
            limits = [(f"{name}.{key}", shares[key], value) for key, value in given.items() if key in shares]
        elif limit is not None and self._slo is not None:
            # Those without such a time meet the limit.
            share = 1 - (1 - self._slo.attainment) * self._requests / concerned
            limits = [(name, share, limit)] if share > 0 else []
        for key, share, value in limits:
            least = least_ms(share)
            if least > value * HAIR:
                proof = f"misses {key} {value:g} at every load: at least {least:.3g}, since {what}"
                yield Missed(proof, least / value)

    def speed(self, candidate: Candidate) -> float:
        """Output tokens a second for any user, at most."""
        floor = _floor(candidate)
        return math.inf if floor is None else HAIR * 1e12 / floor.pass_ps(1, 1)

    def throughput(self, candidate: Candidate) -> float:
        """Output tokens a second and GPU over a whole run that meets the level, at most."""
        floor = _floor(candidate)
        if floor is None or not self._whole:
            return math.inf
        engine = candidate.deployment.first.engine
        of_replica = floor.tokens_per_s(engine.rows)
        prompts = self._prompts[candidate.spec.engine.shares_prefixes]
        served = prompts[: len(prompts) - self._spared()]
        prompts_ps = sum(served) * floor.prompt_ps(engine.pass_tokens, engine.pass_tokens) / engine.pass_tokens
        if prompts_ps:
            of_replica = min(of_replica, self._output_tokens / prompts_ps * 1e12)
        return HAIR * of_replica * candidate.spec.replicas / candidate.gpus

    def _spared(self) -> int:
        """How many requests a run may leave unserved, and yet meet the level."""
        slo = self._slo
        if slo is None:
            return 0
        shares = [1 - slo.attainment] if slo.limits_requests else []
        for limit in (slo.ttft_ms, slo.tpot_ms, slo.e2e_ms):
            if isinstance(limit, Percentiles):
                given = limit.model_dump(exclude_none=True)
                shares += [1 - PERCENTILES.get(key, 0.0 if key == "min" else 1.0) for key in given]
        return math.ceil(min(shares, default=0.0) * self._requests)


def _floor(candidate: Candidate) -> Floor | None:
    """None where a pass is no pass of one replica: pools, data ranks, pipelines."""
    spec = candidate.spec
    if spec.pools is not None or spec.parallel.data > 1 or spec.parallel.pipeline > 1:
        return None
    return Floor.of(candidate.deployment.first.lowered.description)


def _own_tokens(trace: Trace, inputs: list[int]) -> list[int]:
    """Of each prompt, the tokens in blocks that no other request has: they follow those that others have."""
    ids = numbers(trace.column("block_ids"), "I")
    offsets = numbers(trace.column("block_offsets"), "Q")
    times = Counter(ids)
    own = []
    for row, tokens in enumerate(inputs):
        blocks = ids[offsets[row] : offsets[row + 1]]
        shared = sum(times[block] > 1 for block in blocks)
        own.append(max(tokens - shared * trace.block_tokens, 0))
    return own
