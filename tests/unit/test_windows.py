"""Models whose layers do not all keep every token: what is made of them, what may be used again, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from servetwin import simulate
from servetwin.catalog import resolve_engine
from servetwin.catalog.engine import ResolvedEngine
from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.spec import make_spec

from ..small import MS, TEN_MS, trace

V4 = {"model": "deepseek-v4-pro", "gpu": "b300", "parallel": {"tensor": 8}}
OSS = {"model": "gpt-oss-20b", "gpu": "h100"}


def sglang(spec: dict[str, Any], role: str = "aggregated", **options: Any) -> ResolvedEngine:
    return resolve_engine(make_spec(spec | {"engine": {"name": "sglang", **options}}), role)


def test_v4_by_hand() -> None:
    """61 layers: 30 with entries of 4 tokens, 31 with entries of 128."""
    engine = sglang(V4, page_size=256)
    window = engine.window
    assert window is not None
    # A latent has 448 + 128 + 8 bytes; pages of 64 of them are padded to 37,440 bytes, of 2 to 1,728.
    # An indexer's key has 132.
    entries = 30 * (37_440 / 64 + 132) / 4 + 31 * (1_728 / 2) / 128
    assert window.token_bytes == pytest.approx(entries)
    # In a window's page 256 latents, 149,760 bytes, and the states of 8 entries of 4 tokens: 4 · 640 numbers, float32.
    near = 61 * 149_760 / 256 + 30 * 8 * 4 * 640 * 4 / 256
    assert window.window_bytes == pytest.approx(near)
    # 256 requests and one to pad, 128 tokens each, and a few more: 1,024 numbers of float32 a layer.
    assert window.state_bytes == (-(-(257 * 128 + 129) // 128) * 128) * 1024 * 4 * 31
    assert engine.memory is not None
    assert engine.memory.states == window.state_bytes
    pool = int(engine.memory.kv / (entries + near / 10)) // 256 * 256
    assert engine.options["max_total_tokens"] == pool
    assert engine.options["window"] == {"tokens": 128, "pool_tokens": pool // 10 // 256 * 256, "eviction_interval": 128}
    assert engine.options["max_running_requests"] == 256
    assert engine.kv.name == "fp8"


def test_v4_drafts_need_a_layer_more_and_longer_states() -> None:
    drafts = {"speculative_algorithm": "NEXTN", "speculative_num_steps": 3, "speculative_eagle_topk": 1}
    drafts |= {"speculative_num_draft_tokens": 4, "speculation": {"acceptance": 0.7}, "disable_overlap_schedule": True}
    plain, drafting = (sglang(V4, page_size=256, **more).window for more in ({}, drafts))
    assert plain is not None
    assert drafting is not None
    assert drafting.token_bytes == pytest.approx(plain.token_bytes * 62 / 61)
    assert drafting.request_bytes == 2 * plain.request_bytes


def test_gpt_oss_by_hand() -> None:
    """24 layers, every other with a window of 128: the token itself and 127 before it."""
    engine = sglang(OSS, max_total_tokens=100_000)
    window = engine.window
    assert window is not None
    assert (window.token_bytes, window.window_bytes) == (12 * 8 * 128 * 2, 12 * 8 * 128 * 2)
    assert engine.options["window"] == {"tokens": 127, "pool_tokens": 80_000, "eviction_interval": 128}
    assert sglang(OSS, max_total_tokens=100_000, swa_full_tokens_ratio=0.5).options["window"]["pool_tokens"] == 50_000
    # Without a radix cache, for 8 requests: 127 + 128 and two pages of one each; a page, and two chunks of 4,096.
    cap = sglang(
        OSS, disable_radix_cache=True, max_running_requests=8, chunked_prefill_size=4096, max_total_tokens=10**5
    )
    assert cap.options["window"]["pool_tokens"] == 8 * 257 + 2 * 4096 + 1


def test_the_last_part_of_a_hand_over_brings_the_window() -> None:
    pools = {"prefill": {"parallel": {"tensor": 8}}, "decode": {"parallel": {"tensor": 8}}}
    spec = {
        "model": "deepseek-v4-pro",
        "gpu": "b300",
        "engine": {"name": "sglang", "page_size": 256},
        "pools": pools,
        "cluster": {"gpus_per_node": 8, "nodes": 2, "nic_gbps": 400},
        "timing": "polynomial",
        "workload": {"kind": "poisson", "requests": 1, "rate_per_s": 1, "input_tokens": 10, "output_tokens": 10},
    }
    window = resolve(make_spec(spec)).pools[1].engine.window
    assert window is not None
    described = handover(spec)
    assert described["bytes_per_token"] == round(window.token_bytes * 8)
    assert described["tail"] == {
        "window_tokens": 128,
        "page_tokens": 256,
        "bytes_per_token": round(window.window_bytes * 8),
        "state_bytes": 128 * 1024 * 4 * 31 * 8,
    }
    assert handover(spec | {"handover": {"kv_bytes_per_token": 1000}})["tail"] is None


def handover(options: dict[str, Any]) -> dict[str, Any]:
    spec = make_spec(options)
    found: dict[str, Any] = run_description(spec, resolve(spec), leap=True, own_router=False)["handover"]
    return found


def cached(prompts: Sequence[tuple[int, Sequence[int]]], outputs: int = 2, **options: Any) -> list[int]:
    """Tokens that requests of these lengths and contents, in blocks of 10, find in the cache, one after the other."""
    engine = {"name": "sglang", "max_total_tokens": 20_000, "context_length": 8192, "chunked_prefill_size": 2048}
    return found_by(OSS | {"engine": engine | {"disable_overlap_schedule": True} | options}, prompts, outputs)


def found_by(spec: dict[str, Any], prompts: Sequence[tuple[int, Sequence[int]]], outputs: int = 2) -> list[int]:
    lengths, contents = zip(*prompts, strict=True)
    arrival_ps = [row * 100_000 * MS for row in range(len(prompts))]
    requests = trace(arrival_ps, lengths, [outputs] * len(prompts), blocks=contents, block_tokens=10)
    result = simulate(make_spec(spec | {"timing": TEN_MS}), requests)
    assert set(result.requests["status"].to_pylist()) == {"completed"}
    found: list[int] = result.requests["cached_tokens"].to_pylist()
    return found


LONG = range(100)
"""1,000 tokens."""


def test_a_prefix_is_used_where_its_window_is() -> None:
    """The first leaves the window before its end: the next goes on from there. What shares half of it finds none."""
    onwards, half = [*range(100), 200], [*range(50), *range(300, 350)]
    assert cached([(1000, LONG), (1010, onwards), (1000, half)]) == [0, 1000, 0]


def test_what_was_missed_for_its_window_is_kept_with_one() -> None:
    """SGLang stores such a prompt up to where it branched off, with the window before that."""
    halves = [[*range(50), *range(first, first + 50)] for first in (300, 400, 500)]
    assert cached([(1000, LONG), *[(1000, half) for half in halves]]) == [0, 0, 500, 500]


def test_a_short_prompt_is_all_window() -> None:
    assert cached([(100, range(10)), (100, [*range(5), *range(20, 25)])]) == [0, 50]


def test_windows_are_evicted_before_the_rest() -> None:
    """Of 1,000 slots for windows a prompt leaves 127 taken: after eight more, those of the first are gone."""
    others = [(300, range(first, first + 30)) for first in range(100, 340, 30)]
    pool = {"swa_full_tokens_ratio": 0.05, "chunked_prefill_size": 300}
    again = (310, [*range(30), 999])
    assert cached([(300, range(30)), again], **pool)[1] == 300
    assert cached([(300, range(30)), *others, again], **pool)[-1] == 0
    assert cached([(300, range(30)), *others, again])[-1] == 300


def problem(options: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolve(make_spec({"timing": "polynomial", **options}))
    return caught.value


QWEN = {"model": "qwen3.5-122b-a10b", "gpu": "h200", "parallel": {"tensor": 4}}
STATES = {"name": "sglang", "max_total_tokens": 100_000, "disable_radix_cache": True}
BLOCKS = {"name": "vllm", "enable_prefix_caching": False, "num_gpu_blocks": 10_000}
CACHING = {"name": "vllm", "num_gpu_blocks": 10_000}
NGRAM = {"method": "ngram", "num_speculative_tokens": 2, "acceptance": 0.5}


@pytest.mark.parametrize(
    ("spec", "field", "text"),
    [
        (V4 | {"engine": {"name": "sglang"}}, "engine.page_size", "SGLang sets another"),
        (V4, "model", "compressed attention"),
        (OSS | {"engine": CACHING | {"version": "0.19"}}, "engine.enable_prefix_caching", "sliding-window attention"),
        (
            V4 | {"parallel": {"tensor": 8, "pipeline": 2}, "engine": {"name": "sglang", "page_size": 256}},
            "parallel.pipeline",
            "stages",
        ),
        (OSS | {"engine": {"name": "trtllm"}}, "model", "sliding-window attention"),
        (
            OSS | {"engine": {"name": "sglang", "enable_hierarchical_cache": True}},
            "engine.enable_hierarchical_cache",
            "",
        ),
        (OSS | {"engine": {"name": "sglang", "enable_mixed_chunk": True}}, "engine.enable_mixed_chunk", "windows"),
        (
            OSS | {"engine": {"name": "sglang", "swa_full_tokens_ratio": 0.001}},
            "engine.swa_full_tokens_ratio",
            "windows",
        ),
        (
            {"model": "llama-3.1-8b", "gpu": "h100", "engine": {"name": "sglang", "swa_full_tokens_ratio": 0.5}},
            "engine.swa_full_tokens_ratio",
            "never read",
        ),
        (QWEN | {"engine": STATES | {"disable_radix_cache": False}}, "engine.disable_radix_cache", "gated delta"),
        (QWEN | {"engine": STATES}, "engine.max_running_requests", "missing"),
        (QWEN | {"engine": BLOCKS | {"block_size": 32}}, "engine.block_size", "raises it"),
        (QWEN | {"engine": CACHING | {"version": "0.19"}}, "engine.enable_prefix_caching", "gated delta"),
        (QWEN | {"engine": CACHING | {"enable_chunked_prefill": False}}, "engine.enable_chunked_prefill", "needs it"),
        (QWEN | {"engine": CACHING | {"speculative": NGRAM}}, "engine.speculative", "gated delta"),
        (QWEN | {"engine": CACHING | {"kv_offloading_size": 10}}, "engine.kv_offloading_size", "gated delta"),
        (OSS | {"engine": CACHING, "tiers": {"host": {"blocks": 100}}}, "tiers.host.blocks", "sliding"),
        (OSS | {"engine": CACHING | {"speculative": NGRAM | {"method": "eagle"}}}, "engine.speculative", "sliding"),
        (OSS | {"parallel": {"pipeline": 2}, "engine": CACHING}, "parallel.pipeline", "stages"),
    ],
)
def test_refused_by_name(spec: dict[str, Any], field: str, text: str) -> None:
    error = problem(spec)
    assert error.field == field
    assert text in str(error)


def test_pools_of_other_groups_are_refused() -> None:
    spec = OSS | {
        "engine": {"name": "vllm", "enable_prefix_caching": False},
        "pools": {"prefill": {}, "decode": {}},
        "handover": {"link": "wire"},
        "cluster": {"nodes": 1, "gpus_per_node": 8, "links": {"wire": {"gbytes_per_s": 10}}},
    }
    assert "hand-overs" in str(problem(spec))


def test_groups_of_vllm_by_hand() -> None:
    """gpt-oss: two groups of 12 layers. Qwen3.5 122B: 12 of full attention and three times 12 with a state."""
    oss = resolve_engine(make_spec(OSS | {"engine": {"name": "vllm"}}))
    assert oss.options["enable_prefix_caching"]
    assert oss.options["groups"] == {"count": 1, "window": 128, "has_state": False, "come_first": True}
    assert oss.memory is not None
    assert oss.memory.kv_per_token == 12 * 8 * 128 * 2
    # A state of 64 heads of 128 × 128 in float32 on four ranks, and the convolution's; a token has 1,024 bytes.
    state = (64 * 128 * 128 * 4 + 2 * 3 * (2 * 16 * 128 + 64 * 128)) / 4
    block = -(-state // (16 * 1024)) * 16
    qwen = resolve_engine(make_spec(QWEN | {"engine": BLOCKS}))
    assert qwen.options["groups"] == {"count": 3, "window": 0, "has_state": True, "come_first": True}
    assert qwen.options["block_size"] == qwen.block_tokens == block
    with pytest.raises(SpecError):
        resolve_engine(make_spec(QWEN | {"engine": BLOCKS | {"block_size": int(block) - 16}}))


def by_vllm(prompts: Sequence[tuple[int, Sequence[int]]], **options: Any) -> list[int]:
    engine = {"name": "vllm", "block_size": 10, "num_gpu_blocks": 2000, "max_model_len": 8192}
    return found_by(OSS | {"engine": engine | options}, prompts)


def test_vllm_keeps_the_window_before_the_end_of_a_prompt() -> None:
    """The last token is computed again: of 1,000 tokens 99 blocks of 10 are found, of 1,010 then 100."""
    onwards = [*range(100), 200]
    assert by_vllm([(1000, LONG), (1010, onwards), (1010, onwards)]) == [0, 990, 1000]


def test_vllm_keeps_a_window_where_full_attention_had_more() -> None:
    """What shares half of it finds no window there, and leaves one for the next."""
    halves = [[*range(50), *range(first, first + 50)] for first in (300, 400)]
    assert by_vllm([(1000, LONG), *[(1000, half) for half in halves]]) == [0, 0, 500]


def test_vllm_finds_a_short_prompt_whole() -> None:
    assert by_vllm([(100, range(10)), (100, [*range(5), *range(20, 25)])]) == [0, 50]


def test_vllm_evicts_windows_with_the_rest() -> None:
    """A prompt of 300 tokens leaves 30 blocks and 13 of its window: of a pool for ten, the first one is gone."""
    others = [(300, range(first, first + 30)) for first in range(100, 400, 30)]
    again = (310, [*range(30), 999])
    assert by_vllm([(300, range(30)), *others, again])[-1] == 290
    assert by_vllm([(300, range(30)), *others, again], num_gpu_blocks=300, max_model_len=400)[-1] == 0


def test_vllm_starts_from_a_state_at_the_end_of_a_block() -> None:
    """Its prompts are computed up to the last whole block, whose state is kept, and then to their ends."""
    size = 1060
    spec = QWEN | {"engine": CACHING | {"block_size": size}}
    length = 3 * size + 20
    names = range(-(-length // 10))
    longer = [*names, *range(5000, 5050)]
    half = [*range(2 * size // 10), *range(9000, 9000 + size // 10 + 20)]
    prompts = [(length, names), (length + 500, longer), (len(half) * 10, half), (len(half) * 10, half)]
    assert found_by(spec, prompts) == [0, 3 * size, 0, 3 * size]


def test_states_take_memory_before_tokens_do() -> None:
    config = {"model": "qwen3.5-35b-a3b", "gpu": "h200"}
    room = sglang(config, max_total_tokens=10_000, disable_radix_cache=True, max_running_requests=64)
    assert room.options["window"] is None
    assert room.options["max_running_requests"] == 64


def test_tokens_under_way_while_a_window_is_sized() -> None:
    """Room for one request that uses all of the GPU: version 0.32 leaves the window's group the tokens of two passes
    under way beside it, 0.19 those of one."""
    rooms = {}
    for version in ("0.32", "0.19"):
        engine = {"name": "vllm", "version": version, "enable_prefix_caching": False, "gpu_memory_utilization": 0.2}
        error = problem(OSS | {"engine": engine | {"max_num_batched_tokens": 4096, "max_num_seqs": 256}})
        assert error.field == "engine.max_model_len"
        rooms[version] = int(str(error).split("room for ")[1].split(" tokens")[0].replace(",", ""))
    assert rooms["0.19"] - rooms["0.32"] == 4096
