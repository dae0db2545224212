"""Engines by name: options, defaults, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.catalog import ResolvedEngine, resolve_engine
from servetwin.catalog.sglang import distributed_bytes
from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.spec.engine import TITLES
from servetwin.spec.engine.terms import TERMS
from servetwin.spec.fields import kinds_at

SGLANG = {"name": "sglang", "max_total_tokens": 10_000, "context_length": 4096}


def problem(options: dict[str, Any], *overrides: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolve(make_spec({"timing": "polynomial", **options}, overrides))
    return caught.value


def sglang(**options: Any) -> ResolvedEngine:
    return resolve_engine(make_spec({"engine": SGLANG | options}))


def on(gpu: str, tensor: int = 1, **options: Any) -> ResolvedEngine:
    spec = {"model": "llama-3.1-8b", "gpu": gpu, "parallel": {"tensor": tensor}, "engine": {"name": "sglang"} | options}
    return resolve_engine(make_spec(spec))


def test_every_engine_has_a_title_and_terms_that_exist() -> None:
    models = kinds_at("engine")
    assert list(models) == list(TITLES)
    for row in TERMS:
        for engine, option in row.items():
            assert option.split(".")[0] in models[engine].model_fields, option


def test_without_a_name_it_is_vllm() -> None:
    assert make_spec({"engine": {"max_num_seqs": 4}}).engine.name == "vllm"
    assert make_spec({}).engine.name == "vllm"


@pytest.mark.parametrize("name", ["sgl", "tensorrt", 7, None])
def test_unknown_engines_are_refused_with_the_list(name: object) -> None:
    error = problem({"engine": {"name": name}})
    assert error.field == "engine.name"
    assert error.wanted == f"one of {', '.join(TITLES)}"


@pytest.mark.parametrize(
    ("engine", "field", "own"),
    [
        ({"name": "sglang", "max_num_seqs": 4}, "engine.max_num_seqs", "max_running_requests"),
        ({"name": "sglang", "num_gpu_blocks": 4}, "engine.num_gpu_blocks", "max_total_tokens"),
        ({"page_size": 4}, "engine.page_size", "block_size"),
        ({"chunked_prefill_size": 4}, "engine.chunked_prefill_size", "max_num_batched_tokens"),
    ],
)
def test_an_option_of_another_engine_names_the_nearest(engine: dict[str, Any], field: str, own: str) -> None:
    error = problem({"engine": engine})
    assert error.field == field
    assert f"its nearest is {own}" in error.message


def test_setting_the_name_leaves_out_the_other_engines_options() -> None:
    spec = make_spec({"engine": {"max_num_seqs": 4, "watermark": 0.1}}, ["engine.name=sglang", "engine.page_size=16"])
    assert (spec.engine.name, spec.engine.page_size) == ("sglang", 16)
    assert spec.source.left_out == ["max_num_seqs", "watermark"]


def test_setting_the_name_it_has_already_changes_nothing() -> None:
    spec = make_spec({"engine": {"max_num_seqs": 4}}, ["engine.name=vllm"])
    assert spec.engine.max_num_seqs == 4
    assert not spec.source.left_out


@pytest.mark.parametrize(
    ("gpu", "tensor", "chunk", "fraction"),
    [
        # reserved = 512 + 1.5 · chunk + 128 · ranks + 2 · graph rows + 8 · prefill graphs, at least 10 GiB above 60 GiB
        ("h100", 1, 8192, round(1 - (512 + 12288 + 128 + 512 + 8 * 58) / 81559, 3)),
        ("h200", 8, 8192, round(1 - (512 + 12288 + 1024 + 1024 + 8 * 58) / 143771, 3)),
        ("rtx4090", 1, 4096, round(1 - (512 + 6144 + 128 + 96 + 8 * 50) / 24564, 3)),
    ],
)
def test_sglangs_defaults_follow_the_gpu(gpu: str, tensor: int, chunk: int, fraction: float) -> None:
    engine = on(gpu, tensor, context_length=8192)
    assert engine.options["chunked_prefill_size"] == chunk
    assert engine.memory is not None
    assert engine.memory.usable == int((engine.memory.total - 2**29 - distributed_bytes(tensor)) * fraction)
    assert engine.options["max_total_tokens"] == engine.memory.kv // engine.memory.kv_per_token
    assert engine.options["max_running_requests"] == min(
        max(min(int(engine.blocks / 8192 * 512), 4096), 2048), engine.blocks // 2
    )


def test_a_pool_is_cut_to_whole_pages() -> None:
    assert sglang(page_size=64).options["max_total_tokens"] == 9984
    assert sglang(page_size=64).kv_cache == "156 blocks of 64 tokens"


def test_requests_never_exceed_half_the_pool() -> None:
    assert sglang(max_running_requests=100, max_total_tokens=64).rows == 32


def test_minus_one_turns_chunks_off() -> None:
    assert sglang(chunked_prefill_size=-1).options["chunked_prefill_size"] is None
    assert sglang(chunked_prefill_size=-1).pass_tokens > 16384


def test_recorded_is_what_the_recordings_ran() -> None:
    assert sglang(disable_overlap_schedule=True).rules.startswith("recorded")
    assert sglang().rules.startswith("unrecorded for the overlap loop")


def test_sglangs_options_go_to_the_core_under_their_own_names() -> None:
    spec = make_spec({"timing": "polynomial", "engine": SGLANG | {"schedule_policy": "lpm"}})
    engine = run_description(spec, resolve(spec), leap=True, own_router=False)["pools"][0]["engine"]
    assert engine["name"] == "sglang"
    assert engine["schedule_policy"] == "lpm"
    assert "block_size" not in engine


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"chunked_prefill_size": 8, "page_size": 16}, "chunked_prefill_size"),
        ({"chunked_prefill_size": 24, "page_size": 16}, "chunked_prefill_size"),
        ({"chunked_prefill_size": 0}, "chunked_prefill_size"),
        ({"max_total_tokens": 20, "page_size": 16}, "max_total_tokens"),
        ({"max_total_tokens": 7}, "max_total_tokens"),
        ({"enable_mixed_chunk": True, "chunked_prefill_size": -1}, "enable_mixed_chunk"),
        ({"schedule_policy": "lpm", "enable_priority_scheduling": True}, "schedule_policy"),
        ({"schedule_policy": "hrrn"}, "schedule_policy"),
        ({"schedule_low_priority_values_first": True}, "schedule_low_priority_values_first"),
        ({"priority_scheduling_preemption_threshold": 5}, "priority_scheduling_preemption_threshold"),
        (
            {
                "enable_priority_scheduling": True,
                "disable_priority_preemption": True,
                "priority_scheduling_preemption_threshold": 5,
            },
            "priority_scheduling_preemption_threshold",
        ),
        ({"version": "0.5.22"}, "version"),
    ],
)
def test_what_sglang_cannot_run_is_refused_by_name(options: dict[str, Any], field: str) -> None:
    assert problem({"engine": SGLANG | options}).field == f"engine.{field}"


def test_weights_that_do_not_fit_sglang_show_the_arithmetic() -> None:
    error = problem({"model": "llama-3.1-70b", "gpu": "h100", "engine": {"name": "sglang"}})
    assert error.field == "model"
    assert "131.41 GiB weights" in error.message
