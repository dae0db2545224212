"""docs/spec.md has one table for each part of a spec, with every field and its default."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from servetwin.spec import Spec
from servetwin.spec.base import SpecModel
from servetwin.spec.deployment import Cluster, Parallel
from servetwin.spec.engine import Acceptance, SglangEngine, Speculative, VllmEngine
from servetwin.spec.router import LeastRequestsRouter, PythonRouter, RandomRouter, RoundRobinRouter
from servetwin.spec.service import Metrics, Percentiles, ServiceLevel
from servetwin.spec.timing import AnalyticTiming, LinearTiming, PolynomialTiming
from servetwin.spec.workload import ClosedWorkload, Generated, Lengths, PoissonWorkload, SharedPrefix, TraceWorkload

from .pages import ROOT

TABLES: dict[str, type[BaseModel]] = {
    "The file": Spec,
    "`parallel`": Parallel,
    "`engine` named `vllm`": VllmEngine,
    "`engine` named `sglang`": SglangEngine,
    "`engine.speculative`": Speculative,
    "`engine.speculative.acceptance`": Acceptance,
    "`cluster`": Cluster,
    "`router` of kind `round_robin`": RoundRobinRouter,
    "`router` of kind `random`": RandomRouter,
    "`router` of kind `least_requests`": LeastRequestsRouter,
    "`router` of kind `python`": PythonRouter,
    "`timing` of kind `analytic`": AnalyticTiming,
    "`timing` of kind `linear`": LinearTiming,
    "`timing` of kind `polynomial`": PolynomialTiming,
    "`workload` of kind `trace`": TraceWorkload,
    "`workload` of kind `poisson`": PoissonWorkload,
    "`workload` of kind `closed`": ClosedWorkload,
    "`workload.input_tokens` and `workload.output_tokens`": Lengths,
    "`workload.prefix`": SharedPrefix,
    "`slo`": ServiceLevel,
    "Limits on statistics": Percentiles,
    "`metrics`": Metrics,
}


def tables() -> dict[str, dict[str, str]]:
    """Under each heading the default of each field, as it is written there."""
    found: dict[str, dict[str, str]] = {}
    for line in (ROOT / "docs" / "spec.md").read_text().splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif row := re.match(r"\| `(\w+)` \| (.+?) \|", line):
            found.setdefault(heading, {})[row[1]] = row[2]
    return found


def written(field: FieldInfo) -> str | None:
    """As the table has to have it; None where words must say what the default depends on."""
    default: Any = field.get_default(call_default_factory=True, validated_data={})
    if field.is_required():
        return "required"
    if isinstance(default, BaseModel):
        return "…"
    if isinstance(default, bool):
        return str(default).lower()
    return None if default is None else str(default)


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_has_every_field_and_its_default(heading: str) -> None:
    rows, fields = tables()[heading], TABLES[heading].model_fields
    assert sorted(rows) == sorted(fields)
    for name, default in rows.items():
        expected = written(fields[name])
        assert default == expected or (expected is None and default not in ("", "required", "…")), name


def test_no_part_of_a_spec_is_without_a_table() -> None:
    def parts(model: type[BaseModel]) -> set[type[BaseModel]]:
        return {model}.union(*(parts(child) for child in model.__subclasses__()))

    # A base that only holds what two kinds have in common.
    assert parts(SpecModel) - {SpecModel, Generated} == set(TABLES.values())
    assert set(tables()) == set(TABLES)
