"""The commands: what they write, what they print, what they refuse."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from servetwin import load
from servetwin.result.store import write

from ..command import servetwin
from .worlds import world

Folder = Callable[[str], Path]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A world's result in a folder of its own; not to be changed."""
    root = tmp_path_factory.mktemp("results")

    def folder(name: str) -> Path:
        place = root / name.replace(" ", "-")
        if not place.exists():
            write(world(name), place)
        return place

    return folder


def test_report_writes_beside_the_result_or_elsewhere(stored: Folder, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    shutil.copytree(stored("one replica"), folder)
    run = servetwin("report", folder)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"{folder / 'report.html'}: ")
    assert servetwin("report", folder, "-o", tmp_path / "page.html").returncode == 0
    assert (tmp_path / "page.html").read_bytes() == (folder / "report.html").read_bytes()


def test_simulate_writes_the_same_page(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(
        "timing: polynomial\nengine: {max_model_len: 2048, num_gpu_blocks: 200}\n"
        "workload: {kind: poisson, requests: 50, rate_per_s: 10, input_tokens: 300, output_tokens: 20}\n"
    )
    run = servetwin("simulate", spec, "--out", tmp_path / "out", "--html")
    assert run.returncode == 0, run.stderr
    page = (tmp_path / "out" / "report.html").read_bytes()
    assert servetwin("report", tmp_path / "out").returncode == 0
    again = (tmp_path / "out" / "report.html").read_bytes()
    # The time of the whole process is known only once the result is written.
    assert len(again) - len(page) < 100
    assert load(tmp_path / "out").completed == 50


def test_html_without_a_folder_is_refused(tmp_path: Path) -> None:
    run = servetwin("simulate", tmp_path / "absent.yaml", "--html")
    assert run.returncode == 2
    assert run.stderr == "servetwin: --html: has no effect without --out; expected --out FOLDER beside it\n"


def test_compare_prints_tables_json_and_a_page(stored: Folder, tmp_path: Path) -> None:
    folders = [stored("one replica"), stored("preemptions")]
    run = servetwin("compare", *folders, "--html", tmp_path / "c.html")
    assert run.returncode == 0, run.stderr
    assert run.stdout.index("engine.num_gpu_blocks") < run.stdout.index("TTFT p95 (ms)")
    assert "Each request in preemptions, against itself in one-replica" in run.stdout
    assert (tmp_path / "c.html").read_text().startswith("<!DOCTYPE html>")
    run = servetwin("compare", *folders, "--json", "--html", tmp_path / "d.html")
    assert json.loads(run.stdout)["results"] == ["one-replica", "preemptions"]
    assert (tmp_path / "c.html").read_bytes() == (tmp_path / "d.html").read_bytes()


def test_compare_warns_of_different_traces(stored: Folder) -> None:
    folders = [stored("one replica"), stored("one request")]
    run = servetwin("compare", *folders)
    assert run.returncode == 0
    assert run.stdout.startswith("warning: the results are of different traces")
    run = servetwin("compare", *folders, "--json")
    assert run.stderr.startswith("servetwin: warning: the results are of different traces")
    assert json.loads(run.stdout)["paired"] == []


def test_timeline_is_compressed_by_its_name(stored: Folder, tmp_path: Path) -> None:
    run = servetwin("timeline", stored("one replica"), "-o", tmp_path / "t.json.gz", "--limit", 5)
    assert run.returncode == 0, run.stderr
    events = json.loads(gzip.decompress((tmp_path / "t.json.gz").read_bytes()))["traceEvents"]
    assert sum(bool(event.get("args", {}).get("status")) for event in events) == 5


@pytest.mark.parametrize("command", ["report", "compare", "timeline"])
def test_what_is_no_result_is_refused(command: str, stored: Folder, tmp_path: Path) -> None:
    def refused(folder: Path, words: str) -> None:
        others = [stored("one replica"), "--html", tmp_path / "page.html"] if command == "compare" else []
        run = servetwin(command, folder, *others)
        assert (run.returncode, run.stdout) == (2, ""), run.stderr
        assert run.stderr.startswith("servetwin: ")
        assert words in run.stderr
        assert run.stderr.count("\n") == 1

    refused(tmp_path / "nowhere", "nowhere: there is no such folder")
    refused(tmp_path, "result.json: is missing")
    for name in ("requests.parquet", "series.parquet"):
        folder = tmp_path / name
        shutil.copytree(stored("one replica"), folder)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        refused(folder, f"{name}: cannot be read")
        (folder / name).unlink()
        refused(folder, f"{name}: is missing")
    (folder / "series.parquet").write_bytes((folder / "requests.parquet").read_bytes())
    refused(folder, "series.parquet: time_ps: not a table of this kind")
    assert not list(tmp_path.rglob("*.html"))
    assert not list(tmp_path.rglob("*.gz"))


def test_wrong_arguments_are_refused(stored: Folder, tmp_path: Path) -> None:
    one = stored("one replica")
    for arguments, words in (
        (["compare", one], "one result has nothing to be compared with"),
        (["report", one, "-o", tmp_path], "is a folder"),
        (["report", one, "-o", tmp_path / "no" / "page.html"], "cannot be written"),
        (["timeline", one, "--from", 5, "--to", 5], "an empty window"),
        (["timeline", one, "--from", 1e6], "where the run ends"),
        (["timeline", one, "--from", 1e9], "--from: not a time of the trace"),
        (["timeline", one, "--to", 1e9], "--to: not a time of the trace"),
    ):
        run = servetwin(*arguments)
        assert run.returncode == 2
        assert words in run.stderr
    assert list(tmp_path.iterdir()) == []
