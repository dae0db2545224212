"""`servetwin trace`: what its commands print and write."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from servetwin.cli import app
from servetwin.workload import read_trace

DATA = Path(os.environ.get("SERVETWIN_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data").absolute()

BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45.5,ChatGPT,1087,0,1087,API log
118,GPT-4,417,276,693,Conversation log
"""


def run(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, ["trace", *arguments])
    assert ran.exit_code == code, ran.output
    return ran.output


@pytest.fixture
def burstgpt(tmp_path: Path) -> str:
    file = tmp_path / "burst.csv"
    file.write_text(BURSTGPT)
    return str(file)


def test_describe(burstgpt: str) -> None:
    shown = run("describe", burstgpt)
    for part in (
        "burstgpt",
        "3 requests",
        "arrivals",
        "burstiness",
        "66.7%  Conversation log (2)",
        "1 (33.33%) when they were recorded",
    ):
        assert part in shown
    assert "█" in shown


def test_describe_for_programs(burstgpt: str) -> None:
    known = json.loads(run("describe", burstgpt, "--json"))
    assert known["requests"] == 3
    assert known["failed"] == 1
    assert known["input_tokens"]["max"] == 1087
    assert known["rate_per_s"] == pytest.approx(2 / 113)
    assert known["peak_to_mean"] == pytest.approx(20)
    assert known["notes"]["format"] == "burstgpt"


def test_describe_sessions(examples: Path) -> None:
    shown = run("describe", str(examples / "agents.csv"))
    assert "all 12 trajectories start at once" in shown
    assert "3 sessions called by others, 3 requests waiting for several" in shown
    assert "think times" in shown
    assert "sub-agent" in shown


def test_describe_agrees_with_what_is_known_of_public_traces() -> None:
    traces = DATA / "traces"
    if not traces.is_dir():
        pytest.skip("no traces at hand (SERVETWIN_DATA, or shared/data beside the checkout)")
    known = {
        "mooncake_conversation.jsonl": {"requests": 12_031, "ideal_prefix_hit": 0.366},
        "azure_2023_code.csv": {"requests": 8_819, "gap_cv": 13.15},
        "azure_2023_conv.csv": {"requests": 19_366, "gap_cv": 1.094},
    }
    for name, figures in known.items():
        found = json.loads(run("describe", str(traces / name), "--json"))
        for figure, value in figures.items():
            assert found[figure] == pytest.approx(value, rel=2e-3), name


def test_convert(burstgpt: str, tmp_path: Path) -> None:
    for name in ("t.parquet", "t.csv", "t.csv.gz", "t.jsonl.zst"):
        shown = run("convert", burstgpt, str(tmp_path / name))
        assert "3 requests" in shown
        assert ("does not hold: classes; marks of failed requests" in shown) is (".jsonl" in name)
        back = read_trace(tmp_path / name)
        assert back.column("arrival_ps") == read_trace(burstgpt).column("arrival_ps")
        assert back.column("input_tokens") == read_trace(burstgpt).column("input_tokens")
        assert back.has_failed is (".jsonl" not in name)


def test_bad_input(burstgpt: str, tmp_path: Path) -> None:
    assert "no such format" in run("describe", burstgpt, "--format", "burst", code=2)
    assert "never read" in run("describe", burstgpt, "--turns", "delta", code=2)
    assert "does not exist" in run("describe", str(tmp_path / "none.csv"), code=2)
    assert "no known format by its name" in run("convert", burstgpt, str(tmp_path / "t.txt"), code=2)
    told = run("describe", burstgpt, "--transform", "limit=2", "--transform", "thin=2", code=2)
    assert "--transform thin=2: thin.share: must be less than or equal to 1; found 2" in told
    assert "--transform 1.5: not of the form" in run("describe", burstgpt, "--transform", "1.5", code=2)
    before = Path(burstgpt).read_bytes()
    assert "is the trace itself" in run("convert", burstgpt, burstgpt, code=2)
    assert Path(burstgpt).read_bytes() == before, "a trace is not replaced by what is made of it"
    assert list(tmp_path.iterdir()) == [Path(burstgpt)]


def test_fetch_lists_what_there_is() -> None:
    assert "mooncake_toolagent" in run("fetch")
    assert "no such public trace" in run("fetch", "toolagent", code=2)
