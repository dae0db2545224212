"""A run from a spec to a folder and back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import servetwin
from servetwin.errors import InputError, SpecError
from servetwin.policy import Choice, LeastRequests, ReplicaView, RoundRobin, RouterRequest

SPEC: dict[str, Any] = {
    "timing": "polynomial",
    "replicas": 3,
    "engine": {"max_model_len": 4096, "num_gpu_blocks": 400, "max_num_seqs": 16, "max_num_batched_tokens": 512},
    "slo": {"ttft_ms": 2000, "tpot_ms": {"p95": 50}},
}


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.jsonl"
    rows = [
        {"timestamp": i * 40, "input_length": 600 + i, "output_length": i % 30, "hash_ids": [i % 5, 100 + i]}
        for i in range(200)
    ]
    rows.append({"timestamp": 9000, "input_length": 5000, "output_length": 3, "hash_ids": list(range(900, 910))})
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(trace: Path, **changes: Any) -> servetwin.Result:
    result = servetwin.simulate(SPEC | changes.pop("spec", {}), trace, **changes)
    servetwin.check_invariants(result)
    return result


def test_every_request_ends_once_with_its_reason(trace: Path) -> None:
    result = run(trace)
    assert result.status == "completed"
    assert (result.summary["completed"], result.summary["rejected"]) == (200, 1)
    assert result.rejections == {"prompt and output limit exceed the context": 1}
    last = result.requests.to_pylist()[-1]
    assert (last["status"], last["scheduled_ps"]) == ("rejected", None)


def test_leaping_and_stepping_differ_in_timings_only(trace: Path, tmp_path: Path) -> None:
    for name, leap in (("a", True), ("b", False)):
        run(trace, leap=leap).write(tmp_path / name)
    a, b = (json.loads((tmp_path / name / "result.json").read_text()) for name in "ab")
    assert (a.pop("timings")["leap"], b.pop("timings")["leap"]) == (True, False)
    assert a == b
    for table in ("requests.parquet", "series.parquet"):
        assert (tmp_path / "a" / table).read_bytes() == (tmp_path / "b" / table).read_bytes()


def test_a_result_comes_back_from_its_folder(trace: Path, tmp_path: Path) -> None:
    result = run(trace)
    result.write(tmp_path / "deep" / "out")
    loaded = servetwin.load(tmp_path / "deep" / "out")
    assert loaded.summary == result.summary
    assert loaded.provenance == result.provenance
    assert loaded.requests.to_pylist() == result.requests.to_pylist()
    assert loaded.timings["process_s"] > 0
    servetwin.check_invariants(loaded)
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["out"]


def test_a_full_disk_leaves_the_old_result(trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    run(trace).write(out)
    (out / "notes.txt").write_text("mine")
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    for target in (pq.__name__ + ".write_table", "servetwin.result.store._json"):
        with monkeypatch.context() as patch:
            patch.setattr(target, full)
            with pytest.raises(InputError, match="No space left on device"):
                run(trace, spec={"seed": 1}).write(out)
        assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    run(trace, spec={"seed": 1}).write(out)
    assert servetwin.load(out).provenance["seed"] == 1
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("at", range(6))
def test_an_exchange_that_fails_halfway_leaves_the_old_result(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    out = tmp_path / "out"
    run(trace).write(out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    rename, renames = Path.rename, 0

    def failing(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == at + 1:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(InputError, match="Input/output error"):
        run(trace, spec={"seed": 1}).write(out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_result_json_never_stands_beside_tables_of_another_run(
    trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(trace).write(out)
    old = (out / "requests.parquet").read_bytes()
    rename, seen = Path.rename, []

    def watched(self: Path, target: Path) -> Path:
        moved = rename(self, target)
        if (out / "result.json").exists():
            seed = servetwin.load(out).provenance["seed"]
            seen.append((seed, (out / "requests.parquet").read_bytes() == old))
        return moved

    monkeypatch.setattr(Path, "rename", watched)
    run(trace, spec={"seed": 1, "replicas": 1}).write(out)
    assert set(seen) == {(1, False)}


def test_only_the_folder_itself_need_be_writable(trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    drafts = []
    make = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **given: drafts.append(given["dir"]) or make(**given))
    run(trace).write(out)
    assert drafts == [out]
    assert sorted(file.name for file in out.iterdir()) == ["requests.parquet", "result.json", "series.parquet"]


def test_folders_made_for_a_result_go_with_it(trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("servetwin.result.store._json", full)
    with pytest.raises(InputError, match="No space"):
        run(trace).write(tmp_path / "a" / "b" / "out")
    assert not (tmp_path / "a").exists()


def test_a_table_of_another_run_is_refused(trace: Path, tmp_path: Path) -> None:
    run(trace).write(tmp_path / "out")
    run(trace, spec={"workload": {"limit": 3}}).write(tmp_path / "fewer")
    for table, what in (("fewer/requests.parquet", "not of the run"), ("out/series.parquet", "the column is missing")):
        (tmp_path / "out" / "requests.parquet").write_bytes((tmp_path / table).read_bytes())
        loaded = servetwin.load(tmp_path / "out")
        with pytest.raises(InputError, match=what):
            _ = loaded.requests


@pytest.mark.parametrize("text", ["", "[]", "{", '{"status": 5}', "\xff", '{"status": "completed", "summary": []}'])
def test_what_is_not_its_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match="not a result"):
        servetwin.load(tmp_path)


def test_classes_of_a_trace_are_a_column(tmp_path: Path) -> None:
    classed = servetwin.Trace.from_columns(
        arrival_ps=[0, 0, 0],
        input_tokens=[8, 8, 8],
        output_tokens=[8, 8, 8],
        max_output_tokens=[8, 8, 8],
        priority=[0, 0, 0],
        after=[-1, -1, -1],
        block_tokens=16,
        block_ids=[0, 1, 2],
        block_offsets=[0, 1, 2, 3],
        class_names=["chat", "agents"],
        classes=[1, 0, 1],
    )
    spec = {"timing": "polynomial", "engine": {"max_model_len": 2048, "num_gpu_blocks": 50}}
    servetwin.simulate(spec, classed).write(tmp_path / "out")
    assert servetwin.load(tmp_path / "out").requests["class"].to_pylist() == ["agents", "chat", "agents"]


def test_a_newer_layout_is_refused(trace: Path, tmp_path: Path) -> None:
    run(trace).write(tmp_path / "out")
    file = tmp_path / "out" / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 2}))
    with pytest.raises(InputError, match="newer servetwin; found 2"):
        servetwin.load(tmp_path / "out")


def test_page_and_timeline_of_an_older_result_do_not_remain(trace: Path, tmp_path: Path) -> None:
    from servetwin.result.store import write

    write(run(trace), tmp_path / "out", "<!DOCTYPE html>")
    assert (tmp_path / "out" / "report.html").read_text() == "<!DOCTYPE html>"
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "timeline.json.gz").write_bytes(b"older")
    run(trace, spec={"seed": 4}).write(tmp_path / "out")
    assert not (tmp_path / "out" / "report.html").exists()
    assert not (tmp_path / "out" / "timeline.json.gz").exists()
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_what_is_no_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        servetwin.load(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        servetwin.load(tmp_path / "nowhere")
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(InputError, match="not a result"):
        servetwin.load(tmp_path)


def test_a_spoilt_table_is_named(trace: Path, tmp_path: Path) -> None:
    run(trace).write(tmp_path / "out")
    (tmp_path / "out" / "requests.parquet").write_bytes(b"junk")
    loaded = servetwin.load(tmp_path / "out")
    with pytest.raises(InputError, match=r"requests\.parquet"):
        _ = loaded.requests


@pytest.mark.parametrize(("own", "native"), [(RoundRobin(), "round_robin"), (LeastRequests(), "least_requests")])
def test_python_routers_equal_the_native_ones(trace: Path, own: Any, native: str) -> None:
    python, rust = run(trace, router=own), run(trace, spec={"router": native})
    assert python.requests["replica"] == rust.requests["replica"]
    assert python.summary == rust.summary


def test_reasons_of_a_router_are_kept(trace: Path) -> None:
    reasons = set(run(trace, router=LeastRequests()).requests["route_reason"].to_pylist())
    assert "fewest requests" in reasons


def test_a_routers_error_passes_through_with_a_note(trace: Path) -> None:
    class Broken:
        def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Choice:
            raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine") as caught:
        run(trace, router=Broken())
    assert "request 0" in caught.value.__notes__[0]


def test_warm_up_and_window_count_fewer(trace: Path) -> None:
    assert run(trace, spec={"metrics": {"warmup": 1, "window": 2}}).summary["requests"] < 100


@pytest.mark.parametrize(
    "workload",
    [
        {"kind": "poisson", "rate_per_s": 20, "prefix": {"groups": 3, "tokens": 100}},
        {"kind": "closed", "users": 8},
    ],
)
def test_generated_workloads_run(workload: dict[str, Any]) -> None:
    generated = {"requests": 50, "input_tokens": {"p50": 300, "p99": 900}, "output_tokens": 20}
    result = servetwin.simulate(SPEC | {"workload": workload | generated})
    servetwin.check_invariants(result)
    assert result.completed == 50


def test_a_trace_is_refused_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text('{"timestamp": 0, "input_length": 5, "output_length": 1, "hash_ids": [1]}\n{"timestamp": ')
    with pytest.raises(InputError) as caught:
        servetwin.simulate(SPEC, file)
    assert (caught.value.file, caught.value.line) == (str(file), 2)


def test_engine_blocks_must_fit_the_traces(trace: Path) -> None:
    for size, larger in ((48, 64), (784, 1024)):
        with pytest.raises(SpecError, match=f"neither divides nor is divided .* such as {larger}"):
            run(trace, spec={"engine": SPEC["engine"] | {"block_size": size}})


def test_the_second_run_is_the_same(trace: Path) -> None:
    first, second = run(trace), run(trace)
    assert first.requests == second.requests
    assert (first.summary, first.provenance) == (second.summary, second.provenance)
