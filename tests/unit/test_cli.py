"""The command line, as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TRACE = "".join(
    json.dumps({"timestamp": i * 200, "input_length": 600, "output_length": 20, "hash_ids": [0, i + 1]}) + "\n"
    for i in range(20)
)
SPEC = "timing: polynomial\nengine: {max_model_len: 2048, num_gpu_blocks: 200}\nworkload: {trace: trace.jsonl}\n"
QUESTION = """model: llama-3.1-70b
gpu: h100
workload: {kind: poisson, requests: 10, rate_per_s: 1, input_tokens: 100, output_tokens: 10}
slo: {ttft_ms: 1000}
search: {max_gpus: 8}
"""


def servetwin(*arguments: object, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "servetwin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "trace.jsonl").write_text(TRACE)
    file = tmp_path / "spec.yaml"
    file.write_text(SPEC)
    return file


def test_help_documents_the_exit_codes() -> None:
    text = " ".join(servetwin("--help").stdout.split())
    assert "0 done, 1 differs or fails a check, 2 bad input, 3 stalled" in text


def test_help_imports_nothing_heavy() -> None:
    heavy = ["httpx", "pyarrow", "pydantic", "rich", "yaml"]
    code = f"import sys, servetwin.cli; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_spec_check_tells_what_was_derived(spec: Path) -> None:
    run = servetwin("spec", "check", spec, "--set", "replicas=3")
    assert run.returncode == 0
    assert "3, with 1 GPU each" in run.stdout


def test_spec_check_refuses_with_line_and_path(spec: Path) -> None:
    spec.write_text("engine:\n  max_num_seq: 3\n")
    run = servetwin("spec", "check", spec)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr == f"servetwin: {spec}:2: engine.max_num_seq: unknown key, did you mean engine.max_num_seqs?\n"


def test_a_question_for_plan_need_not_fit_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(QUESTION)
    run = servetwin("spec", "check", file)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"{file}: right as a question; `servetwin plan {file} --explain-space`")
    assert "as it stands it cannot run: " in run.stdout
    assert "does not fit" in run.stdout
    file.write_text(QUESTION.replace("search: {max_gpus: 8}", ""))
    run = servetwin("spec", "check", file)
    assert run.returncode == 2
    assert "does not fit" in run.stderr


def test_plan_of_nothing_says_what_it_needs() -> None:
    run = servetwin("plan")
    assert run.returncode == 2
    assert run.stderr == "servetwin: plan: needs either a spec or --resume FOLDER\n"


def test_spec_schema_is_json() -> None:
    assert json.loads(servetwin("spec", "schema").stdout)["properties"]["engine"]


def test_unknown_arguments_are_bad_input() -> None:
    assert servetwin("simulat").returncode == 2
    assert servetwin("simulate", "a.yaml", "--nonsense").returncode == 2


def test_missing_trace_is_bad_input(spec: Path) -> None:
    run = servetwin("simulate", spec, "--set", "workload={}")
    assert run.returncode == 2
    assert "workload.trace: missing" in run.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_forbidden_folder_is_refused_before_the_run(spec: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    run = servetwin("simulate", spec, "--out", tmp_path / "out")
    tmp_path.chmod(0o700)
    assert run.returncode == 2
    assert "no permission" in run.stderr


def test_a_file_in_the_place_of_the_folder_is_refused(spec: Path) -> None:
    run = servetwin("simulate", spec, "--out", spec)
    assert run.returncode == 2
    assert "is a file" in run.stderr


def test_simulate_writes_prints_and_exits_0(spec: Path, tmp_path: Path) -> None:
    run = servetwin("simulate", spec, "--out", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert "Time to First Token (ms)" in run.stdout
    assert "20 completed" in run.stdout
    timings = json.loads((tmp_path / "out" / "result.json").read_text())["timings"]
    assert set(timings) == {"parse_s", "simulate_s", "process_s", "passes", "leaps", "leap"}


def test_quiet_prints_nothing(spec: Path) -> None:
    run = servetwin("simulate", spec, "--quiet", "--router", "least_requests", "--no-leap")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_options_of_the_router_that_is_named_count(spec: Path) -> None:
    """They were dropped when `--router` was read after them."""
    run = servetwin("simulate", spec, "--quiet", "--router", "llm_d", "--set", "router.zzz=1")
    assert run.returncode == 2
    assert "--set router.zzz=1: router.zzz: unknown key" in run.stderr
    run = servetwin("simulate", spec, "--router", "llm_d", "--set", "router=random")
    assert (run.returncode, "names a router beside --router llm_d" in run.stderr) == (2, True)


def test_nothing_completed_is_exit_3(spec: Path) -> None:
    run = servetwin("simulate", spec, "--set", "engine.num_gpu_blocks=2")
    assert run.returncode == 3
    assert "20 × needs more blocks than the pool has" in run.stdout


def test_version_is_the_cores() -> None:
    assert servetwin("--version").stdout.startswith("servetwin 0.")


def test_the_catalog_shows_what_it_knows(tmp_path: Path) -> None:
    assert "mi300x" in servetwin("catalog", "gpus").stdout
    assert "Infinity Fabric" in servetwin("catalog", "gpus", "--show", "AMD Instinct MI300X").stdout
    assert "deepseek-v4-pro" in servetwin("catalog", "models").stdout
    shown = servetwin("catalog", "models", "--show", "deepseek-v4-pro", "--kv", "fp8").stdout
    assert "1M" in shown
    assert "31 × compressed attention" in shown
    for arguments in (
        ["gpus", "--show", "h101"],
        ["models", "--show", "qwen3-33b"],
        ["models", "--show", "qwen3-8b", "--experts", "fp8"],
        ["models", "--show", "qwen3-8b", "--kv", "int4"],
        ["models", "--kv", "fp8"],
        ["models", "--show", str(tmp_path / "config.json")],
    ):
        failed = servetwin("catalog", *arguments)
        assert (failed.returncode, failed.stdout) == (2, ""), arguments
        assert "Traceback" not in failed.stderr


def test_spec_import_writes_a_spec_that_simulates(tmp_path: Path) -> None:
    line = "vllm serve meta-llama/Llama-3.1-8B --max-num-seqs 128 --tensor-parallel-size 2 --port 80"
    made = servetwin("spec", "import", "--engine", "vllm", line)
    assert made.returncode == 0
    assert "# without effect here: --port" in made.stdout
    spec = tmp_path / "spec.yaml"
    made = servetwin("spec", "import", line, "--gpu", "h100", "-o", spec)
    assert (made.returncode, made.stdout.splitlines()[0]) == (0, f"{spec}: written")
    poisson = "workload={kind: poisson, requests: 20, rate_per_s: 5, input_tokens: 100, output_tokens: 10}"
    assert servetwin("simulate", spec, "--set", poisson, "-q").returncode == 0


def test_spec_flags_lists_what_is_known() -> None:
    run = servetwin("spec", "flags", "--engine", "sglang", "page_size")
    assert run.stdout.splitlines()[1].split() == ["--page-size", "modelled", "engine.page_size"]
    assert servetwin("spec", "flags", "--engine", "vllm", "--version", "0.11").returncode == 2
    assert servetwin("spec", "flags", "--engine", "vllm", "nonsense").returncode == 2


def test_capacity_of_pools_varies_no_replicas(spec: Path) -> None:
    pools = [
        "--set",
        "pools={prefill: {}, decode: {}}",
        "--set",
        "gpu=h100",
        "--set",
        "handover.kv_bytes_per_token=1000",
    ]
    run = servetwin("capacity", spec, *pools)
    assert run.returncode == 0, run.stderr
    assert "Most throughput" in run.stdout
    assert "other numbers of replicas" not in run.stdout
