"""Whole runs with `analytic` timing beside a real vLLM 0.19 under a saturating load.

    SERVETWIN_DATA=../shared/data python bench/accuracy/measured.py

The runs are LLMServingSim's (casys-kaist/LLMServingSim, bench/examples): 300 ShareGPT requests each, with the times of
every request.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

import servetwin

RUNS = (
    ("RTX4090_Llama-3.1-8B", "rtx4090", {"max_num_seqs": 256, "max_model_len": 32768}),
    ("RTXPRO6000_Llama-3.1-8B", "rtx-pro-6000", {"max_num_seqs": 128}),
)
ENGINE = {"version": "0.19", "max_num_batched_tokens": 2048}
TIMINGS: tuple[dict[str, Any], ...] = ({}, {"host_ms": 2.0}, {"compute_efficiency": 0.7})


def main() -> None:
    folder = Path(os.environ.get("SERVETWIN_DATA", "../shared/data")) / "measured" / "llmservingsim"
    for name, gpu, sizes in RUNS:
        rows = [json.loads(line) for line in (folder / name / "requests.jsonl").read_text().splitlines()]
        rows.sort(key=lambda row: row["queued_ts"])
        start = rows[0]["queued_ts"]
        measured = {
            "tpot_ms": statistics.mean(
                (row["last_token_ts"] - row["first_token_ts"]) / (row["output_toks"] - 1) * 1e3
                for row in rows
                if row["output_toks"] > 1
            ),
            "ttft_ms": statistics.mean(row["first_token_ts"] - row["queued_ts"] for row in rows) * 1e3,
            "e2e_ms": statistics.mean(row["last_token_ts"] - row["queued_ts"] for row in rows) * 1e3,
        }
        with tempfile.TemporaryDirectory() as scratch:
            trace = Path(scratch) / "trace.jsonl"
            trace.write_text(
                "".join(
                    json.dumps(
                        {
                            "timestamp": round((row["queued_ts"] - start) * 1e3, 3),
                            "input_length": row["input_toks"],
                            "output_length": row["output_toks"],
                        }
                    )
                    + "\n"
                    for row in rows
                )
            )
            for timing in TIMINGS:
                spec = servetwin.make_spec(
                    {
                        "model": "llama-3.1-8b",
                        "gpu": gpu,
                        "engine": {**ENGINE, **sizes},
                        "timing": {"kind": "analytic", **timing},
                        "workload": {"trace": str(trace)},
                    }
                )
                summary = servetwin.simulate(spec).summary
                means = {metric: summary[f"{metric}.mean"] for metric in measured}
                cells = [
                    f"{metric} {means[metric]:,.1f} / {value:,.1f} {means[metric] / value - 1:+.1%}"
                    for metric, value in measured.items()
                ]
                print(f"{name} {timing or 'as it is'}: {', '.join(cells)}")


if __name__ == "__main__":
    main()
