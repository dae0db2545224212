"""The studies of `examples/studies`, on inputs of a few requests: they run, and what they write is what they print."""

from __future__ import annotations

import argparse
import csv
import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TINY = {
    "knee": argparse.Namespace(requests=20),
    "router": argparse.Namespace(requests=60, users=(4,)),
    "agents": argparse.Namespace(requests=60, pools=(None,)),
    "crossover": argparse.Namespace(users=(1, 2), lengths=((300, 20),), acceptances=(0.7,), control_ms=(1.0,)),
    "host_tier": argparse.Namespace(requests=60, pools=(8192,), users=(4,)),
}


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module(f"examples.studies.{name}")


@pytest.mark.parametrize("name", TINY)
def test_a_study_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SERVETWIN_DATA", str(tmp_path))  # nothing there: stand-ins
    study = module(name, monkeypatch)
    if name == "knee":
        monkeypatch.setattr(study, "ENOUGH", 0.4)  # a search that stops at once
    if name == "crossover":
        monkeypatch.setattr(study, "fitted_acceptance", lambda: 0.6)
    done = study.study(TINY[name])
    assert done.rows
    assert done.found
    assert {len(row) for row in done.rows} == {len(done.columns)}
    done.print()
    assert done.found[0].split()[0] in capsys.readouterr().out
    table, page = done.write(tmp_path / "out")
    with table.open() as file:
        header, *rows = csv.reader(file)
    assert header == list(done.columns)
    assert rows == [[str(cell) for cell in row] for row in done.rows]
    assert page.read_text().startswith(f"# {done.title}\n")


def test_every_study_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {path.stem for path in (ROOT / "examples" / "studies").glob("*.py")}
    assert modules - {"__init__", "study", "data"} == set(TINY)


def test_a_fit_finds_what_a_curve_was_made_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published curve replaced by one of a known server: its unknowns come back."""
    knee = module("knee", monkeypatch)
    made_with = {"base_ms": 9.0, "row_ms": 0.4, "seats": 6}
    curve = {users: knee.run(made_with, users, 20)["e2e_ms.p50"] / 1e3 for users in knee.FITTED}
    monkeypatch.setattr(knee, "PUBLISHED", {users: (median,) * 3 for users, median in curve.items()})
    monkeypatch.setattr(knee, "ENOUGH", 0.01)
    found, distance = knee.fit(replace(knee.SERVERS["seats"], seats=(5, 6, 7)), knee.FITTED, 20)
    assert found["seats"] == 6
    assert found["base_ms"] == pytest.approx(9.0, rel=0.03)
    assert found["row_ms"] == pytest.approx(0.4, rel=0.2)
    assert distance < 0.01


def test_the_knee_is_where_power_is_greatest(monkeypatch: pytest.MonkeyPatch) -> None:
    knee = module("knee", monkeypatch)
    assert knee.knee({users: times[0] for users, times in knee.PUBLISHED.items()}) == 8
    assert knee.knee({1: 1.0, 2: 1.0, 4: 2.0, 8: 4.0}) == 2


def test_the_acceptance_is_the_one_that_gives_the_measured_time(monkeypatch: pytest.MonkeyPatch) -> None:
    crossover = module("crossover", monkeypatch)
    monkeypatch.setattr(crossover, "MEASURED", {1: crossover.measured_again(1, 0.6)})
    assert crossover.fitted_acceptance() == pytest.approx(0.6, abs=0.05)


def test_where_curves_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    crossover = module("crossover", monkeypatch)

    def curve(*rates: float) -> list[object]:
        return [crossover.Point(users, rate, 1.0, 1.0, 0.0) for users, rate in zip((1, 4, 16), rates, strict=True)]

    one = curve(10, 20, 30)
    assert crossover.crossing(one, curve(5, 25, 40)) == "from 4"
    assert crossover.crossing(one, curve(11, 25, 40)) == "from 1"
    assert crossover.crossing(one, curve(5, 25, 20)) == "at 4 only"
    assert crossover.crossing(one, curve(5, 10, 20)) == "never"
