"""How often intervals hold: the harness, and the recordings if they are here."""

from __future__ import annotations

import math
import os
import random
from pathlib import Path

import pytest

from servetwin.accuracy.coverage import worlds
from servetwin.accuracy.coverage.measured import figures
from servetwin.accuracy.coverage.silicon import COMPOSED, MEDIAN_OF_NORMAL, Row, composed_spread
from servetwin.accuracy.coverage.worlds import METRICS, coverage
from servetwin.errors import MissingDataError
from servetwin.report.coverage import WANTED, worlds_table

DATA = Path(os.environ.get("SERVETWIN_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")


def drawn(spread: float, count: int, operators: float = 0.05) -> list[Row]:
    """Errors of passes of this spread in all, as a model would state them."""
    chance = random.Random(1)
    stated = math.hypot(operators, COMPOSED)
    return [Row("any", chance.gauss(0, spread / MEDIAN_OF_NORMAL), stated) for _ in range(count)]


def test_errors_as_stated_are_held_nine_times_in_ten() -> None:
    rows = drawn(math.hypot(0.05, COMPOSED), 4000)
    assert sum(row.held() for row in rows) / len(rows) == pytest.approx(0.9, abs=0.02)
    assert composed_spread(rows) == pytest.approx(COMPOSED, rel=0.05)


def test_larger_errors_ask_for_a_larger_spread() -> None:
    rows = drawn(2 * COMPOSED, 4000)
    assert sum(row.held() for row in rows) / len(rows) < 0.8
    spread = composed_spread(rows)
    assert sum(row.held(spread) for row in rows) / len(rows) == pytest.approx(0.9, abs=0.01)


def test_worlds_are_drawn_again_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "KINDS", worlds.KINDS[1:2])
    [once], [again] = (list(coverage(workers, 6)) for workers in (1, 2))
    assert once == again
    assert set(once.held) == set(METRICS)
    assert once.share > 0.6
    worlds_table([once])


def test_a_spread_that_is_too_small_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The harness can fail: systems that are off by more than the model states."""
    monkeypatch.setattr(worlds, "KINDS", worlds.KINDS[:1])
    monkeypatch.setattr(worlds, "ErrorDraw", lambda seed, number: Far(seed, number))
    [found] = coverage(2, 6)
    assert found.held["tpot_ms.mean"] == 0


class Far(worlds.ErrorDraw):
    def normal(self, name: str) -> float:
        return 4.0


def test_missing_recordings_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="LLMServingSim"):
        list(figures(tmp_path))


@pytest.mark.skipif(not (DATA / "measured" / "llmservingsim").is_dir(), reason="needs LLMServingSim's runs")
def test_measured_runs_lie_in_their_intervals() -> None:
    found = list(figures(DATA / "measured" / "llmservingsim"))
    assert len(found) == 30
    assert sum(one.held for one in found) / len(found) >= WANTED[0]
