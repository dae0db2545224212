"""A bounded fuzz of every reader and of the spec. Run longer with `python -m tests.readers`."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.workload import csvtable
from servetwin.workload.read import read_source
from servetwin.workload.source import Source
from servetwin.workload.table import Options

from .harness import fuzz_reader, fuzz_spec
from .samples import SAMPLES

INPUTS = 400


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_read(name: str) -> None:
    options = Options(
        turns="cumulative" if name == "burstgpt with sessions" else None,
        time_unit="ms" if name == "table without units" else None,
        need_times=name != "sharegpt lengths",
    )
    for form in ("auto", name.split()[0]):
        trace = read_source(Source("t", SAMPLES[name]), form, options)
        assert trace.notes["format"] == ("table" if name == "parquet table" else name.split()[0])


@pytest.mark.parametrize("name", SAMPLES)
def test_changed_files_are_read_or_refused(name: str) -> None:
    outcomes = fuzz_reader(name, 20_261, INPUTS)
    assert outcomes["read"] > 0
    assert outcomes["refused"] > INPUTS // 20
    assert outcomes.keys() <= {"read", "refused"}


def test_changed_specs_are_read_or_refused() -> None:
    outcomes = fuzz_spec(20_261, INPUTS)
    assert outcomes["read"] > 0
    assert outcomes["refused"] > INPUTS // 4
    assert outcomes.keys() <= {"read", "refused"}


def test_the_fuzz_finds_what_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(self: Any, good: Any, name: str, wanted: str) -> None:
        assert self is not None  # and no look at what is good

    monkeypatch.setattr(csvtable.CsvTable, "_check", careless)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever follows from it
        fuzz_reader("table", 20_261, INPUTS)
    assert "seed 20261" in caught.value.__notes__[0]
