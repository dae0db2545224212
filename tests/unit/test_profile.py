"""`servetwin profile gpu`: the plan, the times by a clock of our own, and the folder that comes of them."""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from servetwin.catalog import MODELS, resolve_engine
from servetwin.cli import app
from servetwin.errors import InputError
from servetwin.profile.gpu import TorchClock
from servetwin.profile.plan import Attend, Grouped, Limits, Operation, Product, Task, plan, token_counts
from servetwin.profile.run import TIMES, WARM_UP, measure
from servetwin.profile.write import meta, write
from servetwin.spec import make_spec
from servetwin.timing import Evidence, lower, pass_limits, timing_model

SMALL = Limits(tokens=512, rows=16, length=2048)


class Steady:
    """As long as an operation is large; every third run takes twice as long."""

    def __init__(self) -> None:
        self.runs = 0

    def prepare(self, operation: Operation) -> Callable[[], float]:
        size = float(sum(value for value in vars(operation).values() if isinstance(value, int)))
        slow = itertools.cycle((1.0, 1.0, 2.0))

        def once() -> float:
            self.runs += 1
            return size * next(slow)

        return once

    def describe(self) -> dict[str, str | int | float]:
        return {"gpu": "made up", "clocks_sm": "1980 MHz"}


def tasks_of(model: str, tensor: int = 1) -> list[Task]:
    return plan(MODELS[model], tensor, SMALL)


def test_a_plan_holds_each_product_of_a_layer_as_one_rank_has_it() -> None:
    products = {
        task.layer: (task.operation.inputs, task.operation.outputs)
        for task in tasks_of("qwen3-32b", tensor=2)
        if isinstance(task.operation, Product)
    }
    assert products == {
        "qkv_proj": (5120, 32 * 128 + 4 * 256),
        "o_proj": (32 * 128, 5120),
        "gate_up_proj": (5120, 25600),
        "down_proj": (12800, 5120),
        "lm_head": (5120, 151936 // 2),
    }


def test_a_plan_stays_within_its_limits() -> None:
    for task in tasks_of("qwen3-30b-a3b"):
        one = task.operation
        if isinstance(one, Attend):
            assert one.chunk <= SMALL.tokens
            assert one.rows <= SMALL.rows
            assert max(one.chunk + one.past, one.context) <= SMALL.length
            assert (one.rows == 0) == (one.context == 0)
        if isinstance(one, Grouped):
            assert one.active <= one.activated <= min(128, one.tokens * one.active)
    assert token_counts(100)[-1] == 100
    assert len({(task.table, task.layer, task.sizes) for task in tasks_of("qwen3-30b-a3b")}) == len(
        tasks_of("qwen3-30b-a3b")
    )


@pytest.mark.parametrize("model", ["deepseek-v3", "gpt-oss-120b", "qwen3.5-27b", "mistral-7b-v0.1"])
def test_models_that_are_not_timed_are_named(model: str) -> None:
    with pytest.raises(InputError, match="only models whose layers are all alike"):
        tasks_of(model)


def test_ranks_that_cannot_share_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be shared"):
        tasks_of("qwen3-32b", tensor=7)


def test_a_time_is_the_median_after_warming_up() -> None:
    clock, (task, *_) = Steady(), tasks_of("qwen3-32b")
    (found,) = measure([task], clock)
    assert clock.runs == WARM_UP + TIMES
    assert found.time_us == sum(value for value in vars(task.operation).values() if isinstance(value, int))
    assert found.spread == pytest.approx(0.5)


def test_the_folder_says_what_was_measured_on_what(tmp_path: Path) -> None:
    clock, tasks = Steady(), tasks_of("qwen3-30b-a3b")
    measured = measure(tasks, clock)
    described = meta("qwen3-30b-a3b", 1, SMALL, clock.describe(), measured, "1.2.3")
    write(tmp_path / "new" / "profile", 1, measured, described)
    folder = tmp_path / "new" / "profile"
    read = yaml.safe_load((folder / "meta.yaml").read_text())
    assert (read["gpu"], read["clocks_sm"], read["model"], read["tp_degrees"]) == (
        "made up",
        "1980 MHz",
        "qwen3-30b-a3b",
        [1],
    )
    assert set(read["median_spread"]) == {"dense", "per_sequence", "attention", "moe"}
    assert sorted(file.name for file in (folder / "tp1").iterdir()) == [
        "attention.csv",
        "dense.csv",
        "moe.csv",
        "per_sequence.csv",
    ]
    rows = list(csv.DictReader((folder / "tp1" / "dense.csv").open()))
    assert len(rows) == sum(task.table == "dense" for task in tasks)
    assert {row["layer"] for row in rows} >= {"qkv_proj", "o_proj", "layernorm", "rotary_emb", "embedding"}
    assert [file.name for file in folder.parent.iterdir()] == ["profile"]


@pytest.mark.parametrize("model", ["qwen3-32b", "qwen3-30b-a3b"])
def test_a_profile_is_a_table_to_run_with(model: str, tmp_path: Path) -> None:
    measured = measure(tasks_of(model), Steady())
    write(tmp_path / "p", 1, measured, meta(model, 1, SMALL, {"gpu": "NVIDIA H200"}, measured, "1.2.3"))
    spec = make_spec(
        {
            "model": model,
            "gpu": "h200",
            "engine": {"max_model_len": 2048, "max_num_batched_tokens": 512, "max_num_seqs": 16},
            "timing": {"kind": "table", "path": str(tmp_path / "p")},
        }
    )
    engine = resolve_engine(spec)
    timing = timing_model(spec, engine)
    assert timing.evidence is Evidence.INTERPOLATED
    assert lower(spec, timing, pass_limits(engine)).greatest_ps > 0


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(InputError, match="is there already"):
        write(tmp_path, 1, [], {})
    assert (tmp_path / "mine").read_text() == "kept"


def run(*arguments: str) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["profile", "gpu", *arguments])
    return found.exit_code, " ".join(found.output.split())


def test_a_dry_run_shows_the_plan() -> None:
    code, output = run("--dry-run", "--model", "qwen3-32b")
    assert code == 0
    assert "gate_up_proj" in output
    assert "Nothing was measured" in output


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match="torch is not installed"):
        TorchClock()
    code, _ = run("--model", "qwen3-32b", "--out", str(tmp_path / "profile"))
    assert code == 2
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_place_to_write_to_is_refused() -> None:
    assert run("--model", "qwen3-32b")[0] == 2
