"""`servetwin bench`: what it runs, what it reads, what it tells."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from servetwin.bench.cases import CASES, Baseline, Case, Target, select
from servetwin.bench.measure import BenchError, medians, run_ours, run_peer
from servetwin.bench.report import comparison_table, notes, runs_table, write_json
from servetwin.bench.session import run_case
from servetwin.bench.traces import CONVERSATION, ConstantTrace
from servetwin.errors import InputError
from servetwin.spec import make_spec

TRACE = ConstantTrace(requests=20, input_tokens=1000, output_tokens=30)
SPEC = {
    "replicas": 2,
    "engine": {"max_model_len": 2048, "num_gpu_blocks": 200, "max_num_seqs": 8, "max_num_batched_tokens": 2048},
    "timing": "polynomial",
}
SAYS = {"tool_s": 8.0, "process_s": 9.0, "completed": 20, "simulated_s": 1.0}


def peer(code: str) -> str:
    """A command that runs `code` with what it is given."""
    return shlex.join([sys.executable, "-c", f"import sys, json; {code}"]) + " {trace} {replicas}"


def test_every_case_has_a_spec_that_can_be_run() -> None:
    for case in CASES:
        make_spec(case.spec)
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_letter_selects_all_of_its_cases() -> None:
    assert [case.name for case in select(["e", "f-8"])] == ["e-rush", "e-starved", "f-8"]
    assert [case.name for case in select(["tier,dp", "eagle"])] == ["eagle", "dp", "tier"]
    assert select([]) == list(CASES)
    with pytest.raises(InputError, match="found z; expected a, b"):
        select(["z"])


def test_arguments_reach_the_peer_at_their_place_or_last(tmp_path: Path) -> None:
    echo = peer(f"print(json.dumps({SAYS!r} | {{'completed': sys.argv[1:]}}))")
    trace = tmp_path / "a trace.jsonl"
    assert run_peer(echo, trace, 3, ("--x", "1 2")).completed == [str(trace), "3", "--x", "1 2"]
    placed = echo.replace("{trace}", "{arguments} {trace}")
    assert run_peer(placed, trace, 3, ("--x",)).completed == ["--x", str(trace), "3"]


@pytest.mark.parametrize(
    ("code", "message"),
    [("print('hello')", "no line of JSON"), ("print('{}')", "no line of JSON"), ("sys.exit('broke')", "with 1: broke")],
)
def test_a_peer_that_fails_is_an_error(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        run_peer(peer(code), tmp_path / "trace", 1, ())


def test_a_peer_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="No such file"):
        run_peer("./no-such-peer", tmp_path / "trace", 1, ())


def test_a_stand_in_is_as_large_as_the_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVETWIN_DATA", str(tmp_path / "nowhere"))
    file = CONVERSATION.provide(tmp_path)
    assert file.stand_in
    rows = [json.loads(line) for line in file.path.read_text().splitlines()]
    assert len(rows) == CONVERSATION.requests
    mean = sum(row["input_length"] for row in rows) / len(rows)
    assert mean == pytest.approx(CONVERSATION.input_tokens, rel=0.1)
    assert all(len(row["hash_ids"]) == -(-row["input_length"] // 512) for row in rows)


def test_a_trace_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVETWIN_DATA", str(tmp_path))
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / CONVERSATION.file).write_text("")
    assert not CONVERSATION.provide(tmp_path).stand_in


def test_a_run_that_fails_is_an_error() -> None:
    with pytest.raises(BenchError, match="ended with 2"):
        run_ours({"nonsense": 1}, None)


def test_a_case_beside_a_peer_and_a_baseline(tmp_path: Path) -> None:
    plain = Case("z-plain", "", SPEC, TRACE)
    case = Case(
        "z",
        "a small one",
        SPEC,
        TRACE,
        peer=(),
        targets=(Target("simulate_ratio", 1e9, at_least=True), Target("same", 1, at_least=False)),
        baseline=Baseline(plain, lambda ours, baseline: {"same": ours.completed / baseline.completed}),
    )
    heard: list[str] = []
    says = peer(f"print(json.dumps({ {**SAYS, 'completed': 19}!r}))")
    report = run_case(case, repeats=2, peer=says, folder=tmp_path, tell=heard.append)
    ours = medians(report.ours)
    assert (len(report.ours), len(report.peer), len(report.baseline)) == (2, 2, 2)
    assert ours.completed == 20
    assert 0 < ours.simulate_s < ours.process_s
    assert 10 < ours.peak_mb < 1000
    assert report.compared["process_ratio"] == pytest.approx(9.0 / ours.process_s)
    assert [(target.figure, target.met(value)) for target, value in report.verdicts] == [
        ("simulate_ratio", False),
        ("same", True),
    ]
    assert heard == ["z: a small one, 1 of 2", "z: a small one, 2 of 2"]
    assert notes([report]) == ["z: 20 requests completed here, 19 there"]
    assert runs_table([report], 2).row_count == 2

    write_json(tmp_path / "out.json", [report], repeats=2, peer=says)
    stored = json.loads((tmp_path / "out.json").read_text())["cases"][0]
    assert stored["median"]["completed"] == 20
    assert [target["met"] for target in stored["targets"]] == [False, True]
    report.compared.pop("same")
    assert comparison_table([report]).row_count == 3


def test_results_that_cannot_be_written_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write_json(tmp_path / "no" / "out.json", [], repeats=1, peer=None)
