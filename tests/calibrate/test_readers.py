"""Each format is read as its tool writes it; what cannot be used is explained, or left out by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin.calibrate.measured import Measurement
from servetwin.calibrate.read import read_measurements
from servetwin.errors import InputError
from servetwin.simulation import simulate

from .worlds import SPEC


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def read(folder: Path, name: str, text: str) -> list[Measurement]:
    file = folder / name
    file.write_text(text)
    return read_measurements(file)


def aiperf(i: int, **changes: Any) -> dict[str, Any]:
    start = 1_700_000_000_000_000_000 + i * 10**9
    row: dict[str, Any] = {
        "metadata": {"request_start_ns": start, "request_end_ns": start + 2 * 10**9, "benchmark_phase": "profiling"},
        "metrics": {
            "input_sequence_length": {"value": 500 + i, "unit": "tokens"},
            "output_sequence_length": {"value": 101, "unit": "tokens"},
            "time_to_first_token": {"value": 120.5, "unit": "ms"},
        },
        "error": None,
    }
    for path, value in changes.items():
        *above, last = path.split("__")
        place = row
        for name in above:
            place = place[name]
        place[last] = value
    return row


def test_aiperf(tmp_path: Path) -> None:
    warmup = aiperf(0, metadata__benchmark_phase="warmup")
    (found,) = read(tmp_path, "profile_export.jsonl", lines([warmup, *(aiperf(i) for i in range(3))]))
    assert found.format == "aiperf"
    assert [one.input_tokens for one in found.requests] == [500, 501, 502]
    assert found.requests[0].ttft_ps == 120_500_000_000
    assert found.requests[0].latency_ps == 2 * 10**12
    assert found.requests[1].tpot_ps == pytest.approx((2 - 0.1205) * 1e12 / 100)


def test_aiperf_times_are_in_the_unit_they_name(tmp_path: Path) -> None:
    rows = [aiperf(i, metrics__time_to_first_token={"value": 0.1205, "unit": "s"}) for i in range(3)]
    (found,) = read(tmp_path, "a.jsonl", lines(rows))
    assert found.requests[0].ttft_ps == 120_500_000_000
    with pytest.raises(InputError, match=r"time_to_first_token.unit: no unit that is known; found fortnights"):
        read(tmp_path, "b.jsonl", lines([aiperf(0, metrics__time_to_first_token={"value": 1, "unit": "fortnights"})]))


def test_aiperf_counts_reasoning_as_answer(tmp_path: Path) -> None:
    metrics = {
        "input_sequence_length": {"value": 500, "unit": "tokens"},
        "output_token_count": {"value": 60, "unit": "tokens"},
        "reasoning_token_count": {"value": 41, "unit": "tokens"},
        "time_to_first_token": {"value": 120.5, "unit": "ms"},
    }
    (found,) = read(tmp_path, "a.jsonl", lines([aiperf(0, metrics=metrics)]))
    assert found.requests[0].output_tokens == 101


def test_aiperf_without_streaming_is_explained(tmp_path: Path) -> None:
    row = aiperf(0)
    del row["metrics"]["time_to_first_token"]
    with pytest.raises(InputError, match=r"a.jsonl:1: metrics.time_to_first_token: missing; expected .*--streaming"):
        read(tmp_path, "a.jsonl", lines([row]))


def test_failed_requests_are_left_out_by_name(tmp_path: Path) -> None:
    rows = [aiperf(i) for i in range(20)]
    rows[3] = aiperf(3, error={"code": 500}, metrics={"error_isl": {"value": 700, "unit": "tokens"}})
    (found,) = read(tmp_path, "a.jsonl", lines(rows))
    assert dict(found.left_out) == {"they failed": 1}
    assert len(found.requests) == 19


def test_many_failed_requests_are_refused(tmp_path: Path) -> None:
    rows = [aiperf(i, error={"code": 500} if i % 3 == 0 else None) for i in range(9)]
    with pytest.raises(InputError, match=r"3 of 9 requests cannot be used, most of them \(3\) because they failed"):
        read(tmp_path, "a.jsonl", lines(rows))


def test_a_first_token_after_the_end_is_a_wrong_unit(tmp_path: Path) -> None:
    rows = [aiperf(i, metrics__time_to_first_token={"value": 120.5, "unit": "s"}) for i in range(3)]
    with pytest.raises(InputError, match="first token comes after their end: are both in one unit"):
        read(tmp_path, "a.jsonl", lines(rows))


def guidellm(i: int, **changes: Any) -> dict[str, Any]:
    row = {
        "request_id": f"r{i}",
        "request_start_time": 1_700_000_000.0 + i,
        "request_end_time": 1_700_000_002.0 + i,
        "prompt_tokens": 500,
        "output_tokens": 101,
        "time_to_first_token_ms": 120.5,
    }
    return {**row, **changes}


def test_guidellm_has_seconds_and_milliseconds(tmp_path: Path) -> None:
    results = [{"requests": {"successful": [guidellm(i) for i in range(3)], "errored": [], "incomplete": []}}] * 2
    found = read(tmp_path, "benchmarks.json", json.dumps({"benchmarks": results}))
    assert [one.name.partition(", ")[2] for one in found] == ["benchmark 1", "benchmark 2"]
    assert found[0].requests[0].ttft_ps == 120_500_000_000
    assert found[0].requests[0].latency_ps == 2 * 10**12


def test_guidellm_by_the_time_of_the_first_token(tmp_path: Path) -> None:
    rows = [guidellm(i, first_token_time=1_700_000_000.25 + i) for i in range(3)]
    for row in rows:
        del row["time_to_first_token_ms"]
    (found,) = read(tmp_path, "a.json", json.dumps({"benchmarks": [{"requests": {"successful": rows}}]}))
    assert found.requests[0].ttft_ps == 250_000_000_000
    del rows[0]["first_token_time"]
    with pytest.raises(InputError, match="time_to_first_token_ms: missing"):
        read(tmp_path, "b.json", json.dumps({"benchmarks": [{"requests": {"successful": rows}}]}))


def bench(count: int = 4, **changes: Any) -> dict[str, Any]:
    row = {
        "request_rate": "inf",
        "max_concurrency": 2,
        "completed": count,
        "input_lens": [500] * count,
        "output_lens": [3] * count,
        "ttfts": [0.12] * count,
        "itls": [[0.02, 0.03]] * count,
        "errors": [""] * count,
        "start_times": [10.0 + i for i in range(count)],
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not None}


def test_vllm_bench(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "openai.json", json.dumps(bench(), indent=1))
    assert found.users is None
    assert found.requests[1].sent_ps - found.requests[0].sent_ps == 10**12
    assert found.requests[0].latency_ps == 170_000_000_000


def test_sglang_bench_is_a_closed_loop(tmp_path: Path) -> None:
    text = json.dumps(bench(start_times=None, request_rate=float("inf")))
    assert "Infinity" in text, "as Python writes it"
    (found,) = read(tmp_path, "sglang.jsonl", text + "\n")
    assert found.users == 2
    first, second = read(tmp_path, "two.jsonl", text + "\n" + text + "\n")
    assert (first.name.endswith("result 1"), second.name.endswith("result 2")) == (True, True)


def test_unknown_arrivals_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"start_times: missing, and requests came at a rate \(4 a second\)"):
        read(tmp_path, "a.json", json.dumps(bench(start_times=None, request_rate=4)))


def test_columns_of_a_benchmark_belong_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"itls: has 1 entries; expected 4, as input_lens has"):
        read(tmp_path, "a.json", json.dumps(bench(itls=[[0.1]])))
    rows = [bench(), {"mean_ttft_ms": 100, "mean_tpot_ms": 20, "completed": 4}]
    with pytest.raises(InputError, match="holds results with the single requests and without"):
        read(tmp_path, "b.jsonl", lines(rows))


def test_a_benchmark_without_details_is_a_point(tmp_path: Path) -> None:
    row = {"completed": 10, "total_input_tokens": 5000, "total_output_tokens": 1000, "max_concurrency": 4}
    row |= {"mean_ttft_ms": 100.0, "mean_tpot_ms": 20.0}
    (found,) = read(tmp_path, "a.json", json.dumps(row))
    (point,) = found.points
    assert (point.users, point.input_tokens, point.output_tokens) == (4, 500, 100)
    assert point.ttft_ps == 100 * 10**9


def servingsim(folder: Path, **changes: Any) -> Path:
    rows = [
        {
            "request_id": f"bench-{i}",
            "input_toks": 20,
            "output_toks": 11,
            "arrival_time": 1_787_267_980.0 + i,
            "queued_ts": 500.25 + i + 0.01 * i,
            "first_token_ts": 500.5 + i + 0.01 * i,
            "last_token_ts": 501.5 + i + 0.01 * i,
            **changes,
        }
        for i in range(3)
    ]
    (folder / "requests.jsonl").write_text(lines(rows))
    (folder / "meta.json").write_text(json.dumps({"dataset_path": "workloads/prompts.jsonl"}))
    return folder


def test_servingsim_has_two_clocks(tmp_path: Path) -> None:
    (found,) = read_measurements(servingsim(tmp_path))
    assert not found.front_end
    assert [one.sent_ps - found.requests[0].sent_ps for one in found.requests] == [0, 10**12, 2 * 10**12]
    assert found.requests[0].ttft_ps == pytest.approx(0.25e12, abs=1e6)
    assert found.requests[2].ttft_ps == pytest.approx(0.27e12, abs=1e6), "from its arrival, not from the engine's queue"


def test_servingsim_prompts_share_what_their_dataset_says(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    servingsim(folder)
    prompts = [{"input_toks": 20, "input_tok_ids": [*range(16), 90 + i, 1, 2, 3]} for i in range(3)]
    (tmp_path / "prompts.jsonl").write_text(lines(prompts))
    (found,) = read_measurements(folder)
    assert found.blocks == [[0, 1], [0, 2], [0, 3]]
    prompts[1] = {"input_toks": 3, "input_tok_ids": [1, 2, 3]}
    (tmp_path / "prompts.jsonl").write_text(lines(prompts))
    with pytest.raises(InputError, match=r"prompts.jsonl:2: input_tok_ids: another prompt than"):
        read_measurements(folder)


def test_our_own_results(tmp_path: Path) -> None:
    workload = {"kind": "poisson", "requests": 50, "rate_per_s": 5, "input_tokens": 300, "output_tokens": 20}
    result = simulate({**SPEC, "workload": workload})
    result.write(tmp_path / "out")
    (found,) = read_measurements(tmp_path / "out")
    assert len(found.requests) == 50
    mean = sum(one.ttft_ps for one in found.requests) / 50 / 1e9
    assert mean == pytest.approx(result.summary["ttft_ms.mean"])


SWEEP = "concurrency,isl,osl,ttft_ms,tpot_ms\n1,1000,100,30,6\n8,1000,100,60,8\n"


def test_a_sweep(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "sweep.csv", SWEEP)
    assert [(one.users, one.requests, one.ttft_ps) for one in found.points] == [(1, 10, 30e9), (8, 80, 60e9)]
    rows = [{"request_rate": 2.5, "input_tokens": 10, "output_tokens": 5, "tpot_s": 0.02}]
    (found,) = read(tmp_path, "sweep.json", json.dumps(rows))
    assert (found.points[0].rate_per_s, found.points[0].ttft_ps, found.points[0].tpot_ps) == (2.5, None, 20e9)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (SWEEP.replace("ttft_ms", "ttft"), r"sweep.csv:2: ttft: has no unit; expected ttft_us or ttft_ms or ttft_s"),
        (SWEEP.replace("tpot_ms", "ttft_s"), r"sweep.csv:2: is given twice; found ttft_ms, ttft_s"),
        (SWEEP.replace("concurrency", "who"), r"sweep.csv:2: says nothing of the load"),
        (SWEEP.replace("isl", "what"), r"sweep.csv:2: input_tokens: missing"),
        (SWEEP.replace("30,6", "-30,6"), r"sweep.csv:2: ttft_ms: cannot be read; found -30"),
        (SWEEP.replace("8,1000", "8.5,1000"), r"sweep.csv:3: concurrency: cannot be read; found 8.5"),
        (SWEEP.replace("ttft_ms,tpot_ms", "a,b"), r"sweep.csv:2: has no times"),
        ("concurrency,isl\n", "has no rows"),
    ],
)
def test_wrong_sweeps_are_explained(tmp_path: Path, text: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        read(tmp_path, "sweep.csv", text)


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("a.txt", "hello", "is no measurement that is known"),
        ("a.json", '{"what": 1}', "is no measurement that is known; found what"),
        ("a.json", "{oops", "malformed JSON"),
    ],
)
def test_other_files_are_explained(tmp_path: Path, name: str, text: str, wrong: str) -> None:
    with pytest.raises(InputError, match=wrong):
        read(tmp_path, name, text)
    with pytest.raises(InputError, match="is no folder of measurements"):
        read_measurements(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        read_measurements(tmp_path / "nothing.jsonl")
