"""A spec is read strictly, and every refusal says where and what would be right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from servetwin.errors import SpecError
from servetwin.spec import Spec, load_spec, make_spec
from servetwin.spec.router import LeastRequestsRouter
from servetwin.spec.schema import schema
from servetwin.spec.timing import LinearTiming, PolynomialTiming
from servetwin.spec.workload import ClosedWorkload, PoissonWorkload, TraceWorkload

WriteSpec = Callable[[str], Path]

GENERATED = {"requests": 10, "input_tokens": 100, "output_tokens": 10}


def problem(options: dict[str, Any], *overrides: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        make_spec(options, overrides)
    return caught.value


def test_empty_options_are_the_defaults() -> None:
    spec = make_spec({})
    assert (spec.replicas, spec.seed, spec.router.kind, spec.timing.kind) == (1, 0, "round_robin", "analytic")
    assert spec.engine.version == "0.32"
    assert spec.users is None


def test_short_forms_name_a_kind() -> None:
    spec = make_spec({"router": "least_requests", "timing": "polynomial", "workload": {"trace": "t.jsonl"}})
    assert isinstance(spec.router, LeastRequestsRouter)
    assert spec.timing.kind == "polynomial"
    assert isinstance(spec.workload, TraceWorkload)


@pytest.mark.parametrize("version", ["0.32", "0.32.0", "v0.32.0", 0.32])
def test_version_names_its_rules(version: object) -> None:
    assert make_spec({"engine": {"version": version}}).engine.version == "0.32"


@pytest.mark.parametrize("version", ["0.20", "1", 0.2, True, None, "0.32.1"])
def test_other_versions_are_refused_with_the_list(version: object) -> None:
    assert "0.32 and 0.19" in str(problem({"engine": {"version": version}}))


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("engine.max_num_seq", "engine.max_num_seqs"),
        ("max_num_seqs", "engine.max_num_seqs"),
        ("replica", "replicas"),
        ("cluster.node", "cluster.nodes"),
        ("workload.speed_up", "workload.speedup"),
        ("watermak", "engine.watermark"),
    ],
)
def test_unknown_key_names_the_nearest(path: str, near: str) -> None:
    error = problem({}, f"{path}=1")
    assert error.field == path
    assert f"did you mean {near}?" in error.message


def test_unknown_key_without_a_near_one_lists_what_there_is() -> None:
    assert problem({"slo": {"zzz": 1}}).wanted == "one of attainment, e2e_ms, tpot_ms, ttft_ms"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"timing": {"kind": "polynomial", "decode_row_ms": 1}}, "timing.decode_row_ms"),
        ({"workload": {"kind": "poisson", "rate_per_s": 1, **GENERATED, "block_tokens": 512}}, "workload.block_tokens"),
        ({"workload": {"kind": "closed", "users": 1, **GENERATED, "rate_per_s": 1}}, "workload.rate_per_s"),
        ({"router": {"kind": "python", "object": "m:R", "delay_ms": 5}}, "router.delay_ms"),
        ({"router": {"kind": "round_robin", "interval_ms": 5}}, "router.interval_ms"),
        ({"engine": {"version": "0.19", "watermark": 0.0}}, "engine.watermark"),
        (
            {"engine": {"version": "0.19", "long_prefill_token_threshold_adaptive": True}},
            "engine.long_prefill_token_threshold_adaptive",
        ),
        (
            {"engine": {"long_prefill_token_threshold_adaptive": True}},
            "engine.long_prefill_token_threshold_adaptive",
        ),
        ({"slo": {"ttft_ms": {"p95": 5}, "attainment": 0.9}}, "slo.attainment"),
    ],
)
def test_an_option_that_can_never_be_read_is_an_error(options: dict[str, Any], field: str) -> None:
    assert problem(options).field == field


def test_asynchronous_ngram_speculation_is_refused() -> None:
    ngram = {"method": "ngram", "num_speculative_tokens": 2, "acceptance": 0.5}
    assert problem({"engine": {"speculative": ngram, "async_scheduling": True}}).field == "engine.async_scheduling"
    spec = make_spec({"engine": {"speculative": ngram}})
    assert spec.engine.speculative is not None
    assert spec.engine.speculative.acceptance.each == 0.5


EAGLE = {"method": "eagle", "num_speculative_tokens": 3, "acceptance": 0.5}
TREE = {"speculative_num_steps": 3, "speculative_eagle_topk": 1, "speculative_num_draft_tokens": 4}
SGLANG_EAGLE = {
    "name": "sglang",
    "speculative_algorithm": "EAGLE",
    **TREE,
    "speculation": {"acceptance": 0.5},
    "disable_overlap_schedule": True,
}
TRTLLM_EAGLE = {
    "name": "trtllm",
    "speculative_config": {"decoding_type": "Eagle3", "max_draft_len": 3, "acceptance": 0.5},
}


@pytest.mark.parametrize(
    ("engine", "changes", "field"),
    [
        ({"speculative": EAGLE | {"num_speculative_tokens": 9}}, {}, "engine.speculative"),
        ({"speculative": EAGLE | {"method": "medusa"}}, {}, "engine.speculative.method"),
        (
            {"version": "0.19", "speculative": EAGLE | {"disable_eagle_block_drop": True}},
            {},
            "engine.speculative.disable_eagle_block_drop",
        ),
        ({"speculative": EAGLE | {"acceptance": {"mean": 2}}}, {}, "engine.speculative.acceptance.mean"),
        ({"speculative": EAGLE | {"acceptance": {"cycle": [4]}}}, {}, "engine.speculative.acceptance.cycle"),
        ({"speculative": EAGLE | {"num_speculative_tokens_per_batch_size": [[2, 9, 1]]}}, {}, "engine.speculative"),
        ({"speculative": EAGLE | {"num_speculative_tokens_per_batch_size": [[1, 9]]}}, {}, "engine.speculative"),
        ({"speculative": EAGLE | {"num_speculative_tokens_per_batch_size": [[1, 9, 4]]}}, {}, "engine.speculative"),
        (SGLANG_EAGLE, {"speculative_algorithm": "DFLASH"}, "engine.speculative_algorithm"),
        (SGLANG_EAGLE, {"speculative_num_draft_tokens": 5}, "engine.speculative_num_draft_tokens"),
        (SGLANG_EAGLE, {"enable_mixed_chunk": True}, "engine.enable_mixed_chunk"),
        (SGLANG_EAGLE, {"speculation": {"acceptance": {"cycle": [1]}}}, "engine.speculation.acceptance"),
        (SGLANG_EAGLE, {"speculation": {"acceptance": {"mean_length": 4.5}}}, "engine.speculation.acceptance.mean"),
        (SGLANG_EAGLE, {"speculative_algorithm": "NGRAM"}, "engine.speculative_num_steps"),
        ({"name": "sglang", **TREE}, {}, "engine.speculative_num_steps"),
        (TRTLLM_EAGLE, {"max_num_tokens": 8000}, "engine.max_num_tokens"),
        (
            TRTLLM_EAGLE,
            {"scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"}},
            "engine.scheduler_config.capacity_scheduler_policy",
        ),
        (
            {"name": "trtllm", "speculative_config": {"decoding_type": "MTP", "max_draft_len": 3, "acceptance": 0.5}},
            {},
            "engine.speculative_config",
        ),
    ],
)
def test_speculation_that_is_not_modelled_is_refused(
    engine: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    assert (problem({"engine": engine | changes}).field or "").startswith(field)


@pytest.mark.parametrize(
    "acceptance",
    [
        {},
        {"cycle": [3]},
        {"conditional": [0.5]},
        {"conditional": [0.5, 1.5]},
        {"cycle": []},
        {"mean_length": 0.9},
        {"mean_length": 3.1},
        {"each": 0.5, "mean_length": 2},
        1.5,
        "often",
    ],
)
def test_acceptance_must_fit_the_drafts(acceptance: object) -> None:
    problem({"engine": {"speculative": {"method": "ngram", "num_speculative_tokens": 2, "acceptance": acceptance}}})


def test_replicas_must_fit_the_cluster() -> None:
    error = problem({"replicas": 5, "parallel": {"tensor": 4}, "cluster": {"nodes": 2}})
    assert "need 20, and it has 2 × 8 = 16" in error.message


@pytest.mark.parametrize(
    "override",
    [
        "engine.max_num_seqs=0",
        "engine.max_num_seqs=-3",
        "engine.max_num_seqs=1.5",
        'engine.max_num_seqs="8"',
        "engine.max_num_seqs=true",
        "engine.max_num_seqs=99999999999",
        "engine.gpu_memory_utilization=1.1",
        "engine.watermark=1",
        "engine.num_gpu_blocks=1",
        "engine.scheduling_policy=lifo",
        "engine.enable_prefix_caching=1",
        "engine=5",
        "replicas=[1]",
        "seed=-1",
        "metrics.warmup=-1",
        "metrics.window=0",
        "workload.speedup=0",
        "workload.speedup=.inf",
        "workload.speedup=.nan",
        "workload.limit=0",
        "slo.ttft_ms=-1",
        "slo.ttft_ms={p96: 4}",
        "slo.ttft_ms={}",
        "slo={}",
        "router=kv_awar",
        "router={}",
        "timing=linear",
        "timing=magic",
        "workload={kind: poisson}",
        "workload.format=csv",
        "router={kind: python, object: nocolon}",
        "foo",
        "=1",
        "a..b=1",
        "engine.max_num_seqs=[",
    ],
)
def test_wrong_values_are_refused_by_name(override: str) -> None:
    error = problem({}, override)
    assert error.file == f"--set {override}"
    assert str(error)


def test_set_reaches_any_field_and_later_ones_win() -> None:
    spec = make_spec({}, ["engine.max_num_seqs=1", "engine.max_num_seqs=128", "slo.ttft_ms={p95: 500}"])
    assert spec.engine.max_num_seqs == 128
    assert spec.slo is not None


def test_setting_a_kind_replaces_its_mapping() -> None:
    old = {"timing": {"kind": "analytic", "host_ms": 3.0}}
    assert make_spec(old, ["timing=polynomial"]).timing == PolynomialTiming(kind="polynomial")
    spec = make_spec(old, ["timing.kind=linear", "timing.base_ms=5"])
    assert spec.timing == LinearTiming(kind="linear", base_ms=5.0)


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("workload.speedup=0", "workload.speedup"),
        ("workload.limit=0", "workload.limit"),
        ("timing.host_ms=-1", "timing.host_ms"),
        ("router.interval_ms=1", "router.interval_ms"),
        ("slo.ttft_ms=-1", "slo.ttft_ms"),
        ("slo.ttft_ms={p95: -1}", "slo.ttft_ms.p95"),
        ("engine.max_num_seqs.more=1", "engine.max_num_seqs"),
        ("engine.max_num_seqs=", "engine.max_num_seqs"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"workload": {"trace": "t.jsonl"}, "engine": {"max_num_seqs": 5}}])
def test_a_wrong_value_is_named_by_its_own_field(options: dict[str, Any], override: str, field: str) -> None:
    error = problem(options, override)
    assert (error.file, error.field) == (f"--set {override}", field)


def test_a_line_that_was_replaced_is_not_blamed(write_spec: WriteSpec) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write_spec("engine:\n  max_num_seqs: 3\n"), ["engine.max_num_seqs.more=1"])
    assert (caught.value.file, caught.value.found) == ("--set engine.max_num_seqs.more=1", "a mapping")


@pytest.mark.parametrize(
    ("override", "field", "wanted"),
    [
        ("timing.kind=table", "timing.path", "folder of layers"),
        ("tiers.disk={blocks: 9, read_gbytes_per_s: 1}", "tiers.disk.write_gbytes_per_s", "a number"),
        ("tiers.disk.write_gbytes_per_s=1", "tiers.disk.read_gbytes_per_s", "a number"),
        ("engine.speculative={method: eagle, acceptance: 0.5}", "engine.speculative.num_speculative_tokens", "a whole"),
        ("engine.speculative={method: eagle, num_speculative_tokens: 2}", "engine.speculative.acceptance", "0.7"),
        ("engine.cudagraph_capture_sizes=[]", "engine.cudagraph_capture_sizes", "at least 1"),
    ],
)
def test_what_is_missing_is_told_with_what_belongs_there(
    write_spec: WriteSpec, override: str, field: str, wanted: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write_spec("model: llama-3.1-8b\nengine:\n  max_num_seqs: 3\n"), [override])
    assert (caught.value.file, caught.value.field) == (f"--set {override}", field)
    assert wanted in str(caught.value.wanted)


def test_an_option_of_the_default_kind_may_be_set_alone() -> None:
    assert make_spec({}, ["timing.host_ms=0.25"]).timing.model_dump()["host_ms"] == 0.25


@pytest.mark.parametrize(
    "override",
    [
        "metrics.warmup=1e300",
        "metrics.window=1e300",
        "metrics.series_interval=1e300",
        "metrics.series_interval=1e-300",
        "workload.speedup=1e-300",
        "workload.block_tokens=2147483647",
        "workload.max_output_tokens=2147483647",
        "router={kind: python, object: 'a:B', interval_ms: 1e300}",
        "metrics.window=1e-300",
        "timing.compute_efficiency=1e-300",
        "timing={kind: linear, base_ms: 0}",
    ],
)
def test_absurd_values_are_refused(override: str) -> None:
    assert problem({}, override).file == f"--set {override}"


def test_paths_are_meant_from_where_they_are_written(write_spec: WriteSpec) -> None:
    file = write_spec("model: ./a.json\nworkload: {trace: b.jsonl}\n")
    source = load_spec(file, ["workload.trace=c.jsonl"]).source
    assert source.path(("model",), "./a.json") == file.parent / "a.json"
    assert source.path(("workload", "trace"), "c.jsonl") == Path("c.jsonl")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("router.instances=2", "router=llm_d"),
        ("engine.max_running_requests=1", "engine.name=sglang"),
        ("slo.ttft_ms.p95=5", "slo.ttft_ms=6"),
    ],
)
def test_what_a_later_override_would_undo_is_refused(first: str, second: str) -> None:
    error = problem({}, first, second)
    assert (error.file, error.message) == (f"--set {first}", f"undone by --set {second}")


def test_what_was_set_inside_a_whole_is_blamed_for_it() -> None:
    error = problem({"slo": {"ttft_ms": 5}}, "slo.ttft_ms=null", "slo.e2e_ms=null")
    assert (error.file, error.field) == ("--set slo.e2e_ms=null", "slo")


def test_lengths_are_fixed_or_distributed() -> None:
    workload = make_spec({"workload": {"kind": "closed", "users": 3, **GENERATED}}).workload
    assert isinstance(workload, ClosedWorkload)
    assert (workload.input_tokens.p50, workload.input_tokens.p99) == (100, None)
    for lengths in ({"p50": 5, "p99": 4}, {"p50": 5, "max": 9}, {"p50": 5.5}, {"p50": 5, "p99": 9, "min": 8, "max": 7}):
        problem({"workload": {"kind": "poisson", "rate_per_s": 1, **GENERATED, "input_tokens": lengths}})


def test_models_may_be_built_in_python() -> None:
    workload = PoissonWorkload.model_validate({"kind": "poisson", "rate_per_s": 2.0, **GENERATED})
    assert Spec(workload=workload).users is None


def test_file_errors_carry_the_line(write_spec: WriteSpec) -> None:
    file = write_spec("model: llama-3.1-8b\nengine:\n  max_num_seqs: 4\n  max_num_batched: 4\n")
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(file), 4, "engine.max_num_batched")


def test_all_problems_of_a_file_are_told_at_once(write_spec: WriteSpec) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write_spec("replicas: 0\nsed: 1\n"))
    assert {error.line for error in (caught.value, *caught.value.others)} == {1, 2}


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("seed: 1\nseed: 2\n", 2, "given twice, first on line 1"),
        ("engine: {max_num_seqs: 1, max_num_seqs: 2}\n", 1, "given twice"),
        ("engine: [\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("- 1\n- 2\n", 1, "no mapping"),
        ("", 1, "no mapping"),
        ("seed: 1\n---\nseed: 2\n", 2, "several documents, and a spec is one"),
        ("? [a]\n: 1\n", 1, "a key must be a name"),
        ("engine: &a {b: *a}\n", 1, "contains itself"),
        ("seed: !!python/object:os.system 1\n", 1, "not YAML"),
        ("seed: 1\nseed: 0x\x00\n", 2, "not YAML"),
    ],
)
def test_malformed_yaml_is_refused_with_its_line(write_spec: WriteSpec, text: str, line: int, what: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write_spec(text))
    assert caught.value.line == line
    assert what in caught.value.message


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"model: \xe9\n")
    for name, what in (("none.yaml", "cannot be read"), ("", "cannot be read"), ("latin.yaml", "not UTF-8")):
        with pytest.raises(SpecError, match=what):
            load_spec(tmp_path / name)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfseed: 3\n")
    assert load_spec(file).seed == 3


def test_numbers_may_be_written_with_an_exponent() -> None:
    spec = make_spec({}, ["timing={kind: linear, base_ms: 1e-3, prefill_token_ms: 2E+0}"])
    assert spec.timing == LinearTiming(kind="linear", base_ms=0.001, prefill_token_ms=2.0)


def test_schema_knows_the_short_forms() -> None:
    text = json.dumps(schema())
    assert "least_requests" in json.dumps(schema()["properties"]["router"]["anyOf"][0])
    assert "long_prefill_token_threshold" in text
