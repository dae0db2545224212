"""Studies and capacities in terminals of any width."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group, RenderableType

from servetwin.accuracy.servingsim import Row
from servetwin.plan.curve import curve
from servetwin.report import capacity, plan
from servetwin.report.columns import Column, fitted, level
from servetwin.report.scatter import scatter
from servetwin.report.servingsim import servingsim_table
from servetwin.spec import make_spec
from servetwin.workload import open_workload

from ..plan.worlds import BASE
from .studies import STUDIES, study


def printed(parts: list[RenderableType], width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(Group(*parts))
    file: Any = console.file
    return [line.rstrip() for line in str(file.getvalue()).splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("name", STUDIES)
def test_an_answer_fits(folder: Path, name: str, width: int) -> None:
    answer = study(name, folder).answer
    lines = printed(plan.shown(answer, width), width)
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines)
    assert "…" not in text  # nothing was cut
    listed = " ".join(text.split())
    for point in answer.points[: plan.ROWS]:
        assert f" {point.candidate.number} " in listed
    for count in (answer.account.combinations, len(answer.account.dropped), len(answer.account.screened)):
        assert not count or f"{count:,} " in listed
    assert plan.verdict(answer) in listed


@pytest.mark.parametrize("width", [80, 120])
def test_a_capacity_fits(width: int) -> None:
    spec = make_spec(BASE)
    found = curve(spec, open_workload(spec))
    lines = printed(capacity.shown(found, 1, width), width)
    assert all(len(line) <= width for line in lines)
    assert "…" not in "\n".join(lines)
    assert sum(" ← " in line for line in lines) >= 1


def test_the_widest_says_all(folder: Path) -> None:
    text = "\n".join(printed(plan.shown(study("frontier", folder).answer, 200), 200))
    assert "Left out" not in text
    narrow = "\n".join(printed(plan.shown(study("frontier", folder).answer, 50), 50))
    assert "Left out at this width:" in narrow


COLUMNS = st.lists(
    st.tuples(st.text("ab_. ", min_size=1, max_size=20), st.text("0123456789", max_size=12), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@given(COLUMNS, st.integers(20, 120))
def test_columns_give_way_by_rank(drawn: list[tuple[str, str, int]], width: int) -> None:
    columns = [
        Column(f"{index}{title}", [cell, f"{cell}{index}"], rank) for index, (title, cell, rank) in enumerate(drawn)
    ]
    found = fitted(columns, width)
    gone = {column.title for column in columns if column.title in found.left_out}
    lines = printed([found.table], width)
    assert all(len(line) <= width for line in lines)
    stayed = [column.rank for column in columns if column.title not in gone]
    dropped = [column.rank for column in columns if column.title in gone]
    assert min(dropped, default=9) >= max(stayed, default=0)
    assert 0 not in dropped
    if any(stayed):  # something could still go: so everything fits
        text = "\n".join(lines)
        assert all(cell in text for column in columns if column.title not in gone for cell in map(str, column.cells))


def test_what_all_rows_share_is_said_once() -> None:
    found = fitted([Column("GPUs", ["8", "8"]), Column("load", ["1", "2"])], 80)
    assert found.said() == ["All: GPUs 8"]
    assert "GPUs" not in "\n".join(printed([found.table], 80))
    alone = fitted([Column("GPUs", ["8"]), Column("load", ["1"])], 80)
    assert alone.said() == []


def test_a_level_in_a_few_words() -> None:
    assert str(level(None)) == "met"
    assert str(level("misses ttft_ms.p95, tpot_ms.p95 (3 of 10 requests not served)")) == "misses TTFT, TPOT"
    assert str(level("does not keep up: 12 more requests in flight after 100 arrivals")) == "does not keep up"


def test_a_plot_is_as_wide_as_it_may_be() -> None:
    lines = scatter([(1, 1, "1"), (2, 1000, "2")], [(1, 500)], x_title="x", y_title="y", width=40)
    assert max(map(len, lines)) == 40
    assert "·" in "".join(lines)
    assert lines[1].endswith("2")


def test_what_was_simulated_with_stays_where_the_terminal_is_narrow() -> None:
    names = ("ttft", "tpot", "latency")
    rows = [
        Row(
            "RTXPRO6000_Llama-3.1-8B", how, {**dict.fromkeys(names, off), "tpot": -0.02}, dict.fromkeys(names, off), off
        )
        for how, off in (("layers as timed, 35,577 blocks as we derive", 0.01), ("terms of RTX4090_Llama-3.1-8B", 0.2))
    ]
    for width, whole in ((80, False), (160, True)):
        lines = printed([servingsim_table(rows, width)], width)
        told = " ".join(lines)
        assert all(word in told for word in ("layers as timed", "derive", "terms of", "+1.0%", "TPOT -2.0%"))
        assert max(map(len, lines)) <= width
        assert ("Left out at this width" in told) is not whole
        assert "…" not in told
