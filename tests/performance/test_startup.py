"""What a short run need not load: most of its time is spent before the core is asked anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

SPEC = """
engine: {num_gpu_blocks: 1000, max_model_len: 4096, max_num_seqs: 64, max_num_batched_tokens: 2048}
timing: polynomial
workload: {kind: closed, users: 2, requests: 4, input_tokens: 10, output_tokens: 5}
"""

LOADED = """
import json, re, sys
from servetwin.cli import main
sys.argv = ["servetwin", *sys.argv[2:]]
try:
    main()
except SystemExit as ended:
    code = ended.code
built = []
if "servetwin.spec" in sys.modules:
    from servetwin.spec.base import SpecModel
    waiting = [SpecModel]
    while waiting:
        below = waiting.pop().__subclasses__()
        waiting += below
        for model in below:
            if model.__pydantic_complete__:
                # Itself, and the models that it was built with.
                within = str(model.__pydantic_core_schema__)
                built += [model.__name__, *re.findall(r"'cls': <class '[^']*\\.(\\w+)'>", within)]
with open(OUT, "w") as file:
    json.dump({"code": code, "modules": sorted(sys.modules), "built": sorted(set(built))}, file)
"""

LIBRARIES = {"pydantic", "yaml", "rich", "pyarrow", "numpy", "httpx", "optuna", "ray"}
PARTS = ("accuracy", "bench", "calibrate", "conformance", "deploy", "explain", "launch", "plan", "profile", "reference")
OTHERS = {
    # Models of the catalog, where the spec names none.
    "servetwin.catalog.named",
    "servetwin.catalog.checkpoints",
    "servetwin.catalog.config_json",
    # Other engines and timings than the spec's, and what only replications draw.
    "servetwin.catalog.sglang",
    "servetwin.catalog.trtllm",
    "servetwin.timing.analytic",
    "servetwin.timing.composed",
    "servetwin.timing.tables",
    "servetwin.timing.draws",
    "servetwin.timing.linear",
    "servetwin.replication",
    "servetwin.report.page",
    "servetwin.result.store",
}


class Loaded:
    """What a command left in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        out = folder / "loaded.json"
        script = LOADED.replace("OUT", repr(str(out)))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYDANTIC")}
        ran = subprocess.run(
            [sys.executable, "-c", script, "-", *arguments], capture_output=True, text=True, env=environment, check=True
        )
        found = json.loads(out.read_text())
        assert found["code"] in (0, None), ran.stderr
        self.modules = set(found["modules"])
        self.own = {name for name in self.modules if name.startswith("servetwin.")}
        self.built = set(found["built"])

    def commands(self) -> set[str]:
        """Modules of the command line, beside those that all share."""
        loaded = {name.removeprefix("servetwin.cli.") for name in self.own if name.startswith("servetwin.cli.")}
        return loaded - {"failures", "options"}


@pytest.fixture
def spec(tmp_path: Path) -> str:
    return spec_in(tmp_path)


def spec_in(folder: Path) -> str:
    file = folder / "spec.yaml"
    file.write_text(SPEC)
    return str(file)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("run")
    return Loaded(folder, "simulate", spec_in(folder), "--quiet")


def test_help_loads_no_library_but_that_of_the_command_line(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "--help")
    assert not loaded.modules & LIBRARIES
    assert {name for name in loaded.own if not name.startswith("servetwin.cli")} <= {
        "servetwin.errors",
        "servetwin.units",
    }


def test_a_run_loads_its_own_command_kinds_and_parts(run: Loaded) -> None:
    assert run.commands() == {"simulate"}
    assert not run.modules & (LIBRARIES - {"pydantic", "yaml"})
    assert not run.own & OTHERS
    assert not {part for part in PARTS if f"servetwin.{part}" in run.own}
    assert len(run.own) <= 100


def test_a_run_builds_the_models_of_the_kinds_its_spec_names(run: Loaded) -> None:
    kinds = {name for name in run.built if name.endswith(("Engine", "Router", "Timing", "Workload"))}
    assert kinds <= {"VllmEngine", "RoundRobinRouter", "PolynomialTiming", "ClosedWorkload"}
    assert {"Spec", "VllmEngine", "ClosedWorkload"} <= run.built


def test_what_is_said_to_be_absent_is_there_to_load() -> None:
    for name in (*OTHERS, *(f"servetwin.{part}" for part in PARTS)):
        assert find_spec(name) is not None, name


def test_a_table_needs_rich_and_files_pyarrow(tmp_path: Path, spec: str) -> None:
    shown = Loaded(tmp_path, "simulate", spec)
    assert "rich" in shown.modules
    assert "pyarrow" not in shown.modules
    written = Loaded(tmp_path, "simulate", spec, "--quiet", "--out", str(tmp_path / "out"))
    assert "pyarrow" in written.modules
    assert "rich" not in written.modules
    assert "servetwin.result.store" in written.own
