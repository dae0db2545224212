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
from servetwin.spec.engine import (
    Acceptance,
    SglangEngine,
    Speculation,
    Speculative,
    TrtllmEngine,
    TrtllmSpeculative,
    VllmEngine,
)
from servetwin.spec.engine.trtllm import TrtllmGraphs, TrtllmKvCache, TrtllmQuantization, TrtllmScheduler
from servetwin.spec.pools import Handover, NamedLink, Pool, Pools
from servetwin.spec.router import (
    CacheAwareRouter,
    ConsistentHashingRouter,
    KvAwareRouter,
    LeastRequestsRouter,
    LeastTokensRouter,
    LlmDRouter,
    PowerOfTwoRouter,
    PrefixHashRouter,
    PythonRouter,
    RandomRouter,
    RoundRobinRouter,
    SessionAffinityRouter,
    Several,
)
from servetwin.spec.search import Quality, Search
from servetwin.spec.service import Metrics, Percentiles, ServiceLevel
from servetwin.spec.tiers import HostTier, TierBelow, Tiers
from servetwin.spec.timing import (
    AiconfiguratorTiming,
    AnalyticTiming,
    HostTiming,
    LinearTiming,
    PolynomialTiming,
    ProfileTiming,
    RequestTiming,
    TableTiming,
)
from servetwin.spec.traffic import (
    Durations,
    Generated,
    Lengths,
    OpenLoop,
    OutputFactor,
    Sessions,
    SharedPrefix,
    Traffic,
    TrafficClass,
)
from servetwin.spec.transforms import Replicate, Resample, Thin, Transform, Window
from servetwin.spec.workload import (
    ClosedWorkload,
    ConstantWorkload,
    DiurnalWorkload,
    GammaWorkload,
    LikeWorkload,
    OnOffWorkload,
    PoissonWorkload,
    RateStep,
    Recorded,
    StepsWorkload,
    TraceWorkload,
)

from .pages import ROOT

TABLES: dict[str, type[BaseModel]] = {
    "The file": Spec,
    "`parallel`": Parallel,
    "`engine` named `vllm`": VllmEngine,
    "`engine` named `sglang`": SglangEngine,
    "`engine` named `trtllm`": TrtllmEngine,
    "`engine.kv_cache_config`": TrtllmKvCache,
    "`engine.cuda_graph_config`": TrtllmGraphs,
    "`engine.scheduler_config`": TrtllmScheduler,
    "`engine.quant_config`": TrtllmQuantization,
    "`engine.speculative`": Speculative,
    "`engine.speculation.acceptance`": Acceptance,
    "`engine.speculation`": Speculation,
    "`engine.speculative_config`": TrtllmSpeculative,
    "`pools`": Pools,
    "`pools.prefill` and `pools.decode`": Pool,
    "`handover`": Handover,
    "`cluster`": Cluster,
    "`cluster.links`": NamedLink,
    "`tiers`": Tiers,
    "`tiers.host`": HostTier,
    "`tiers.disk` and `tiers.shared`": TierBelow,
    "`router` of kind `round_robin`": RoundRobinRouter,
    "`router` of kind `random`": RandomRouter,
    "`router` of kind `least_requests`": LeastRequestsRouter,
    "`router` of kind `least_tokens`": LeastTokensRouter,
    "`router` of kind `power_of_two`": PowerOfTwoRouter,
    "`router` of kind `session_affinity`": SessionAffinityRouter,
    "`router` of kind `consistent_hashing`": ConsistentHashingRouter,
    "`router` of kind `prefix_hash`": PrefixHashRouter,
    "`router` of kind `cache_aware`": CacheAwareRouter,
    "`router` of kind `llm_d`": LlmDRouter,
    "`router` of kind `kv_aware`": KvAwareRouter,
    "`router` of kind `python`": PythonRouter,
    "`timing` of kind `analytic`": AnalyticTiming,
    "`timing` of kind `linear`": LinearTiming,
    "`timing` of kind `polynomial`": PolynomialTiming,
    "`timing` of kind `aiconfigurator`": AiconfiguratorTiming,
    "`timing` of kind `table`": TableTiming,
    "`timing` of kind `profile`": ProfileTiming,
    "`workload` of kind `trace`": TraceWorkload,
    "`workload` of kind `like`": LikeWorkload,
    "Every generated workload": Generated,
    "Open loops": OpenLoop,
    "`workload` of kind `poisson`": PoissonWorkload,
    "`workload` of kind `constant`": ConstantWorkload,
    "`workload` of kind `gamma`": GammaWorkload,
    "`workload` of kind `on_off`": OnOffWorkload,
    "`workload` of kind `diurnal`": DiurnalWorkload,
    "`workload` of kind `steps`": StepsWorkload,
    "`workload.steps`": RateStep,
    "`workload` of kind `closed`": ClosedWorkload,
    "`workload.input_tokens` and `workload.output_tokens`": Lengths,
    "`workload.max_output_tokens`": OutputFactor,
    "`workload.prefix`": SharedPrefix,
    "`workload.sessions`": Sessions,
    "`workload.sessions.think_time_s`": Durations,
    "`workload.classes`": TrafficClass,
    "`workload.transforms`": Transform,
    "`workload.transforms.window`": Window,
    "`workload.transforms.resample`": Resample,
    "`workload.transforms.thin`": Thin,
    "`workload.transforms.replicate`": Replicate,
    "`slo`": ServiceLevel,
    "Limits on statistics": Percentiles,
    "`metrics`": Metrics,
    "`search`": Search,
    "`search.quality`": Quality,
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


def own_fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Without those that the tables of what it is a kind of have."""
    above = [base for base in model.__mro__[1:] if base in TABLES.values()]
    return {
        name: field
        for name, field in model.model_fields.items()
        if not any(name in base.model_fields for base in above)
    }


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_has_every_field_and_its_default(heading: str) -> None:
    rows, fields = tables()[heading], own_fields(TABLES[heading])
    assert sorted(rows) == sorted(fields)
    for name, default in rows.items():
        expected = written(fields[name])
        assert default == expected or (expected is None and default not in ("", "required", "…")), name


def test_no_part_of_a_spec_is_without_a_table() -> None:
    def parts(model: type[BaseModel]) -> set[type[BaseModel]]:
        return {model}.union(*(parts(child) for child in model.__subclasses__()))

    # Bases that only hold what several kinds have in common.
    assert parts(SpecModel) - {SpecModel, Traffic, Recorded, Several, RequestTiming, HostTiming} == set(TABLES.values())
    assert set(tables()) == set(TABLES)
