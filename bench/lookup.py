"""Times look-ups of lowered pass times: crates/core/examples/lookup.rs, on `analytic` and on a table of layers.

    SERVETWIN_DATA=../shared/data python bench/lookup.py

Needs cargo; without the data of a table only `analytic` is timed.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from servetwin import make_spec
from servetwin.describe import resolve

ROOT = Path(__file__).resolve().parents[1]
ENGINE = {"max_model_len": 32768, "num_gpu_blocks": 60000, "max_num_batched_tokens": 8192, "max_num_seqs": 256}


def main() -> None:
    data = Path(os.environ.get("SERVETWIN_DATA", "../shared/data")) / "measured/llmservingsim/profiles"
    table = data / "RTX4090/meta-llama/Llama-3.1-8B/bf16"
    cases: list[tuple[str, str, dict[str, Any]]] = [("analytic", "h100", {"kind": "analytic"})]
    if table.is_dir():
        cases.append(("table", "rtx4090", {"kind": "table", "path": str(table.absolute())}))
    for name, gpu, timing in cases:
        spec = make_spec({"model": "llama-3.1-8b", "gpu": gpu, "engine": ENGINE, "timing": timing})
        description = json.dumps(resolve(spec).first.lowered.description)
        command = ["cargo", "run", "--release", "--quiet", "--package", "servetwin-core", "--example", "lookup"]
        said = subprocess.run(command, cwd=ROOT, check=True, input=description, capture_output=True, text=True).stdout
        print(f"{name}, ns: {', '.join(said.splitlines())}")


if __name__ == "__main__":
    main()
