"""What goes wrong on the command line ends in one message and the exit code that README.md names."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import servetwin
from servetwin.cli import app

TIMING = "timing: {kind: linear, base_ms: 5}\n"
ENGINE = "engine: {max_model_len: 2048, num_gpu_blocks: 200}\n"
ROW = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `servetwin simulate` on a spec and a trace of two requests, in their folder."""
    (tmp_path / "trace.jsonl").write_text(f"{json.dumps(ROW)}\n" * 2)
    (tmp_path / "spec.yaml").write_text(f"{TIMING}{ENGINE}workload: {{trace: trace.jsonl}}\n")

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path} | options
        given = [sys.executable, "-m", "servetwin", "simulate", "spec.yaml", *map(str, arguments)]
        return subprocess.run(given, text=True, timeout=60, check=False, **options)

    return run


Command = Callable[..., subprocess.CompletedProcess[str]]


ROUTERS = """
class Raises:
    def route(self, request, replicas):
        return self.choose(request)
    def choose(self, request):
        raise KeyError("mine")
class Exits:
    def route(self, request, replicas):
        raise SystemExit(0)
class Nothing:
    def route(self, request, replicas): ...
class Far:
    def route(self, request, replicas):
        return 7
class Needy:
    def __init__(self, size): ...
    def route(self, request, replicas): ...
"""


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Raises", ["KeyError: 'mine'", 'routers.py", line 6, in choose', 'raise KeyError("mine")']),
        ("Exits", ["SystemExit: 0", "line 9, in route"]),
        ("Nothing", ["route() returned None; expected Choice(replica, reason)"]),
        ("Far", ["route() chose replica 7; there are 0 to 0"]),
    ],
)
def test_a_failing_router_is_told_in_the_users_own_lines(
    command: Command, tmp_path: Path, name: str, parts: list[str]
) -> None:
    (tmp_path / "routers.py").write_text(ROUTERS)
    ran = command("--router", f"routers.py:{name}", "--out", "out")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("servetwin: the router failed: ")
    assert ran.stderr.endswith("  in the router's route(), for request 0 at 0.000000 s\n")
    for part in parts:
        assert part in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "servetwin/" not in ran.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["def x(: pass", "import nowhere_at_all", "1 / 0", ROUTERS])
def test_a_router_that_cannot_be_loaded_is_bad_input(command: Command, tmp_path: Path, text: str) -> None:
    (tmp_path / "routers.py").write_text(text)
    ran = command("--router", "routers.py:Needy")
    assert ran.returncode == 2
    assert ran.stderr.startswith("servetwin: the router failed: ")
    assert "in the router's " in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["routers.py:", ":A", "a: b:C", "routers.py:A B"])
def test_an_odd_name_of_a_router_is_refused(command: Command, name: str) -> None:
    ran = command("--router", name)
    assert ran.returncode == 2
    assert "router.object" in ran.stderr


@pytest.mark.parametrize("option", ["--out", "--trace"])
def test_an_empty_path_is_refused(command: Command, tmp_path: Path, option: str) -> None:
    before = sorted(tmp_path.iterdir())
    ran = command(option, "")
    assert (ran.returncode, ran.stderr) == (2, f"servetwin: {option}: names nothing; expected a path\n")
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_completed_is_told_even_quietly(command: Command) -> None:
    ran = command("--quiet", "--set", "engine.num_gpu_blocks=2")
    assert ran.returncode == 3
    assert ran.stderr == "servetwin: nothing completed: 2 × needs more blocks than the pool has\n"


def test_nothing_within_the_window_is_told(command: Command) -> None:
    ran = command("--quiet", "--set", "metrics.warmup=1000")
    assert ran.returncode == 3
    assert "no request arrived between metrics.warmup and the end of metrics.window" in ran.stderr


LIVELOCK = f"""{TIMING}
engine:
  max_num_batched_tokens: 48
  max_num_seqs: 4
  max_model_len: 200
  num_gpu_blocks: 11
  enable_prefix_caching: false
  scheduler_reserve_full_isl: false
  long_prefill_token_threshold: 24
  scheduling_policy: priority
workload: {{trace: trace.jsonl, block_tokens: 16}}
stall_passes: 500
"""
"""Two prompts fit one at a time and grow by 24 tokens a pass; whichever runs out of blocks evicts the other."""


@pytest.mark.parametrize("stepped", [(), ("--no-leap",)])
def test_a_livelock_ends_with_a_complete_result(command: Command, tmp_path: Path, stepped: tuple[str, ...]) -> None:
    rows = [
        {"request_id": name, "timestamp": 0, "input_length": prompt, "output_length": output}
        for name, prompt, output in (("first", 113, 36), ("second", 119, 5))
    ]
    (tmp_path / "trace.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "spec.yaml").write_text(LIVELOCK)
    ran = command("--out", "out", *stepped)
    assert ran.returncode == 3
    assert ran.stderr == "servetwin: stalled, without progress: 2 requests hang: first, second\n"
    assert "no progress; 2 requests hang: first, second" in ran.stdout
    result = servetwin.load(tmp_path / "out")
    assert (result.status, result.stalled) == ("stalled", ["first", "second"])
    assert result.rejections == {"its replica stopped making progress": 2}
    assert min(result.requests["preemptions"].to_pylist()) > 50
    assert 500 <= result.timings["passes"] < 600
    servetwin.check_invariants(result)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_below_standard_output_is_told(command: Command) -> None:
    with Path("/dev/full").open("w") as full:
        ran = command(stdout=full)
    assert (ran.returncode, ran.stderr) == (
        2,
        "servetwin: standard output cannot be written: No space left on device\n",
    )


def test_nobody_need_listen(command: Command, tmp_path: Path) -> None:
    closed = f"{sys.executable} -m servetwin simulate spec.yaml"
    for shell in (f"{closed} >&-", f"{closed} 2>&-", f"set -o pipefail; {closed} | true"):
        ran = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, ""), shell
    assert command("--set", "seed=-1", stderr=subprocess.DEVNULL).returncode == 2


def test_a_terminal_without_unicode_will_do(command: Command) -> None:
    ran = command("--set", "engine.num_gpu_blocks=2", env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert ran.returncode == 3
    assert "2 \\xd7 needs more blocks" in ran.stdout


def test_what_cannot_be_seen_is_escaped(command: Command, tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_text(f"{json.dumps(ROW)}\n\ufeff{json.dumps(ROW)}\n", encoding="utf-8")
    assert "trace.jsonl:2: found \\ufeff{" in command().stderr


BEGUN = """
from pathlib import Path
class Tells:
    def route(self, request, replicas):
        Path("begun").touch()
        return 0
"""


def test_an_interrupt_ends_the_run(command: Command, tmp_path: Path) -> None:
    (tmp_path / "routers.py").write_text(BEGUN)
    long = (
        "--no-leap",
        "--router",
        "routers.py:Tells",
        "--set",
        "workload={kind: closed, users: 64, requests: 1000000, input_tokens: 100, output_tokens: 1000}",
    )
    given = [sys.executable, "-m", "servetwin", "simulate", "spec.yaml", "--out", "out", *long]
    # A shell's background jobs ignore interrupts, and so would their children.
    heeding = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(given, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "servetwin: interrupted\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [("explain",), ("spec", "check"), ("report",), ("trace", "describe")])
def test_a_name_that_no_file_can_have_is_told(words: tuple[str, ...]) -> None:
    run = CliRunner().invoke(app, [*words, "a" * 256])
    assert run.exit_code == 2, run.output
    assert "File name too long" in run.output
