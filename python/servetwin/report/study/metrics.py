"""The figures of a run that a study's page can draw and compares."""

from __future__ import annotations

from ..compare.metrics import METRICS as COMPARED
from ..compare.metrics import Metric

SPEED = Metric("output_tokens_per_s_per_user.p50", "Output tokens/s/user (median)", "higher")
THROUGHPUT = Metric("output_tokens_per_s_per_gpu", "Output tokens/s/GPU", "higher")
COST = Metric("cost_per_million_output_tokens", "$ per 1M output tokens", "lower")

# Those of comparisons, under other names or at the front where a plan speaks of them.
METRICS = (
    THROUGHPUT,
    SPEED,
    COST,
    *(metric for metric in COMPARED if metric.key not in (THROUGHPUT.key, COST.key, "slo.met", "duration_s")),
)

MAIN = {
    *(THROUGHPUT.key, SPEED.key, COST.key, "slo.attainment", "prefix_reuse"),
    *("ttft_ms.p50", "ttft_ms.p95", "tpot_ms.p50", "tpot_ms.p95", "e2e_ms.p95"),
}
"""What a page carries of each of very many runs."""
