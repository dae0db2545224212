"""The figures that are set against each other, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...result.intervals import Interval, interval
from ...result.replications import Replications

Better = Literal["lower", "higher", None]


@dataclass(frozen=True)
class Metric:
    """One figure of a summary.

    Attributes:
        key: its name in `Result.summary`.
        title: for people; with its unit.
        better: which way is better; None if it says nothing about that.
        kind: how it is written: a number, a share, or yes and no.
    """

    key: str
    title: str
    better: Better = None
    kind: Literal["number", "share", "flag"] = "number"


def _latency(metric: str, title: str, *statistics: str) -> list[Metric]:
    return [Metric(f"{metric}.{name}", f"{title} {name} (ms)", "lower") for name in statistics]


METRICS = (
    Metric("slo.met", "Service level met", "higher", "flag"),
    Metric("slo.attainment", "Requests within limits", "higher", "share"),
    *_latency("ttft_ms", "TTFT", "mean", "p50", "p90", "p95", "p99"),
    *_latency("tpot_ms", "TPOT", "mean", "p50", "p90", "p95", "p99"),
    *_latency("itl_ms", "ITL", "p50", "p95", "p99"),
    *_latency("chunk_itl_ms", "Chunk ITL", "p50", "p95"),
    *_latency("e2e_ms", "E2E", "mean", "p50", "p90", "p95", "p99"),
    *_latency("queue_ms", "Queue", "p50", "p95", "p99"),
    *_latency("handover_ms", "Hand-over", "mean", "p50", "p95"),
    *_latency("transfer_ms", "KV transfer", "mean", "p50", "p95"),
    *_latency("trajectory_ms", "Trajectory", "mean", "p50", "p95"),
    Metric("output_tokens_per_s", "Output tokens/s", "higher"),
    Metric("output_tokens_per_s_per_gpu", "Output tokens/s per GPU", "higher"),
    Metric("requests_per_s", "Requests/s", "higher"),
    Metric("goodput.requests_per_s", "Goodput (requests/s)", "higher"),
    Metric("prefix_reuse", "Prefix reuse", "higher", "share"),
    Metric("prefix_reuse.host", "Of it from host memory", kind="share"),
    Metric("prefix_reuse.disk", "Of it from disk", kind="share"),
    Metric("prefix_reuse.shared", "Of it from the shared store", kind="share"),
    Metric("acceptance_length", "Acceptance length (tokens)", "higher"),
    Metric("draft_acceptance_rate", "Drafts accepted", "higher", "share"),
    Metric("barrier_wait_share", "Ranks wait for the slowest", "lower", "share"),
    Metric("bubble_share", "Pipeline bubbles", "lower", "share"),
    Metric("preemptions", "Preemptions", "lower"),
    Metric("output_limit_use", "Output limits used", "higher", "share"),
    Metric("unused_reserve", "Cache reserved, never used", "lower", "share"),
    Metric("completed", "Completed", "higher"),
    Metric("rejected", "Rejected", "lower"),
    Metric("unfinished", "Unfinished", "lower"),
    Metric("duration_s", "Duration (s)"),
    Metric("gpu_hours", "GPU-hours", "lower"),
    Metric("cost_per_million_output_tokens", "Cost per 1M output tokens", "lower"),
)


LEAST_SHARE = 0.0005
"""What is shown as 0.0 % is neither better nor worse."""


@dataclass(frozen=True)
class Row:
    """A metric of all results; None where a result does not have it.

    `replications`: what each result's have of it, if it has any.
    """

    metric: Metric
    values: list[float | None]
    replications: list[Replications | None]

    def interval(self, place: int) -> Interval | None:
        known = self.replications[place]
        return None if known is None or self.metric.kind == "flag" else known.intervals.get(self.metric.key)

    def change(self, place: int) -> Interval | None:
        """Of the difference from the first result to this one, replication by replication.

        Under the same seed and workload both meet the same draws, and what is common to them drops out. None unless
        both have equally many replications, at the same confidence.
        """
        first, other = self.replications[0], self.replications[place]
        if first is None or other is None or (first.count, first.confidence) != (other.count, other.confidence):
            return None
        if self.interval(0) is None or self.interval(place) is None:
            return None
        key = self.metric.key
        pairs = zip(first.values[key], other.values[key], strict=True)
        return interval([float(b or 0) - float(a or 0) for a, b in pairs], {}, first.confidence)

    def difference(self, place: int) -> float | None:
        """From the first result to this one."""
        first, value = self.values[0], self.values[place]
        return None if first is None or value is None else float(value) - float(first)

    def share(self, place: int) -> float | None:
        """The difference as a share of the first; None where there is nothing to relate it to."""
        difference, first = self.difference(place), self.values[0]
        return None if difference is None or not first or self.metric.kind == "flag" else difference / abs(float(first))

    def verdict(self, place: int) -> Literal["better", "worse", None]:
        """Whether this result does better than the first, by more than a rounding of the share that is shown; and,
        with replications, by more than chance and errors explain."""
        difference, share, change = self.difference(place), self.share(place), self.change(place)
        if not difference or self.metric.better is None or (share is not None and abs(share) < LEAST_SHARE):
            return None
        if change is not None and change.low <= 0 <= change.high:
            return None
        return "better" if (difference < 0) == (self.metric.better == "lower") else "worse"

    def as_json(self) -> dict[str, Any]:
        others = range(1, len(self.values))
        return {
            "metric": self.metric.key,
            "title": self.metric.title,
            "better": self.metric.better,
            "kind": self.metric.kind,
            "values": self.values,
            "differences": [self.difference(place) for place in others],
            "shares": [self.share(place) for place in others],
            "verdicts": [self.verdict(place) for place in others],
            "intervals": [_ends(self.interval(place)) for place in range(len(self.values))],
            "difference_intervals": [_ends(self.change(place)) for place in others],
        }


def _ends(found: Interval | None) -> list[float] | None:
    return None if found is None else [found.low, found.high]
