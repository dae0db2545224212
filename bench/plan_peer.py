"""AIConfigurator's search beside ours: `python bench/plan_peer.py --peer-python ENV/bin/python`.

Qwen3 32B on eight H200s, prompts of 4,000 tokens and answers of 1,000, mean TTFT within 1 s and mean TPOT within 25 ms.
Both are asked for the most output tokens a second and GPU; then the choices of both are simulated under the same
Poisson arrivals, up to the highest load at which each keeps the limits. `ENV` holds aiconfigurator 0.12.0; without it
only ours is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from servetwin.plan.curve import curve
from servetwin.plan.folder import create
from servetwin.plan.make import plan
from servetwin.plan.space import described
from servetwin.spec import make_spec
from servetwin.workload import open_workload

PEER = """
import json, logging, time
logging.disable(logging.CRITICAL)
started = time.perf_counter()
import aiconfigurator.cli.main as main
from aiconfigurator.cli.api import cli_default
main.log_final_summary = lambda *given, **more: ""  # the search alone is timed
began = time.perf_counter()
found = cli_default("Qwen/Qwen3-32B", 8, "h200_sxm", backend="vllm", isl=4000, osl=1000, ttft=1000.0, tpot=25.0)
ended = time.perf_counter()
best = {name: frame.iloc[0] for name, frame in found.best_configs.items()}
plain = lambda row: {key: getattr(value, "item", lambda: value)() for key, value in row.items() if key[0] != "_"}
rows = {name: plain(row) for name, row in best.items()}
print(json.dumps({"import_s": began - started, "search_s": ended - began, "cpu_s": time.process_time(),
                  "chosen": found.chosen_exp, "best": rows}, default=str))
"""

BASE: dict[str, Any] = {
    "model": "qwen3-32b",
    "gpu": "h200",
    "engine": {"max_model_len": 8192},
    "workload": {"kind": "poisson", "requests": 2000, "rate_per_s": 5, "input_tokens": 4000, "output_tokens": 1000},
    "slo": {"ttft_ms": {"mean": 1000}, "tpot_ms": {"mean": 25}},
    "seed": 1,
}

TOGETHER = {
    "parallel.tensor": [1, 2, 4, 8],
    "replicas": [1, 2, 4, 8],
    "engine.max_num_seqs": [32, 64, 128, 256],
    "engine.max_num_batched_tokens": [2048, 4096, 8192],
}

APART = {
    "pools.prefill.parallel.tensor": [1, 2],
    "pools.prefill.replicas": [1, 2, 3, 4, 5, 6],
    "pools.decode.parallel.tensor": [1, 2, 4],
    "pools.decode.replicas": [1, 2, 3],
    "pools.decode.engine.max_num_seqs": [128, 256],
}

POOLS = {"pools": {"prefill": {}, "decode": {}}}


def ours(folder: Path, name: str, options: dict[str, Any], vary: dict[str, list[Any]]) -> dict[str, Any]:
    search = {"objective": "goodput_per_gpu", "max_gpus": 8, "vary": vary}
    spec = make_spec({**BASE, **options, "search": search})
    started, cpu = time.perf_counter(), time.process_time()
    answer = plan(create(folder / name, spec, None), workers=os.cpu_count() or 1)
    chosen = answer.chosen
    assert chosen is not None
    return {
        "search_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "said": chosen.throughput,
        "settings": described(chosen.candidate.settings),
        "options": chosen.candidate.spec.source.data,
    }


def theirs(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row of AIConfigurator's as a spec, as many replicas as eight GPUs hold."""
    if name == "agg":
        tensor, batch = int(row["tp"]), int(row["bs"])
        options = {"parallel": {"tensor": tensor}, "replicas": 8 // tensor}
        return {**BASE, **options, "engine": {**BASE["engine"], "max_num_seqs": batch}}
    pools = {
        "prefill": {"replicas": int(row["(p)workers"]), "parallel": {"tensor": int(row["(p)tp"])}},
        "decode": {
            "replicas": int(row["(d)workers"]),
            "parallel": {"tensor": int(row["(d)tp"])},
            "engine": {"max_num_seqs": int(row["(d)bs"])},
        },
    }
    return {**BASE, "pools": pools}


def simulated(options: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """The throughput at the highest load that it can take, and the summary there."""
    spec = make_spec(options)
    found = curve(spec, open_workload(spec), workers=os.cpu_count() or 1)
    if found.limit is None:
        return 0.0, {}
    summary = next(level.summary for level in found.levels if level.load == found.limit)
    return summary["output_tokens_per_s_per_gpu"], dict(summary)


def line(name: str, what: str, said: float | None, throughput: float, summary: dict[str, Any]) -> str:
    figures = [f"{said:,.0f}" if said is not None else "–", f"{throughput:,.0f}"]
    figures += [f"{summary[key]:,.1f}" if key in summary else "–" for key in ("ttft_ms.mean", "tpot_ms.mean")]
    return f"{name:<26} {what:<86} {figures[0]:>8} {figures[1]:>10} {figures[2]:>8} {figures[3]:>6}"


def main(peer_python: str | None) -> None:
    print(f"{'':<26} {'choice':<86} {'says':>8} {'simulated':>10} {'TTFT':>8} {'TPOT':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for name, options, vary in (("together", {}, TOGETHER), ("apart", POOLS, APART)):
            found = ours(Path(folder), name, options, vary)
            throughput, summary = simulated(found["options"])
            print(line(f"ours, {name}", found["settings"], found["said"], throughput, summary))
            print(f"  found in {found['search_s']:.1f} s, {found['cpu_s']:.1f} s of CPU")
    if peer_python is None:
        return
    ran = subprocess.run([peer_python, "-W", "ignore", "-c", PEER], capture_output=True, text=True, check=True)
    peer = json.loads(ran.stdout.splitlines()[-1])
    for name, row in peer["best"].items():
        throughput, summary = simulated(theirs(name, row))
        where = f"tensor {row['tp']}, batch {row['bs']}" if name == "agg" else (
            f"prefill {row['(p)workers']} × tensor {row['(p)tp']}, decode {row['(d)workers']} × tensor {row['(d)tp']}, "
            f"batch {row['(d)bs']}"
        )  # fmt: skip
        chosen = ", chosen" if name == peer["chosen"] else ""
        print(line(f"AIConfigurator, {name}{chosen}", where, float(row["tokens/s/gpu"]), throughput, summary))
    took = f"{peer['search_s']:.1f} s after {peer['import_s']:.1f} s of imports"
    print(f"  both found in {took}, {peer['cpu_s']:.1f} s of CPU")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", help="a Python that has aiconfigurator 0.12.0")
    main(parser.parse_args().peer_python)
