"""Host memory below the GPU's: loads computed by hand, sizes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servetwin import SpecError, make_spec, simulate
from servetwin.catalog import resolve_engine
from servetwin.result.result import Result

MS = 10**9

ENGINE: dict[str, Any] = {
    "max_num_seqs": 8,
    "max_num_batched_tokens": 64,
    "max_model_len": 4096,
    "block_size": 16,
    "num_gpu_blocks": 9,
    "async_scheduling": False,
}
HOST: dict[str, Any] = {"blocks": 100, "store_gbytes_per_s": 1.0, "load_gbytes_per_s": 1.0, "first_byte_ms": 0.25}


def spec(tmp_path: Path, rows: list[str], **changes: Any) -> dict[str, Any]:
    """A pass takes 10 ms. A block of 16 tokens has 1 MB: a copy of n blocks takes 0.25 + n ms."""
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(rows))
    return {
        "timing": {"kind": "linear", "base_ms": 10.0},
        "engine": ENGINE,
        "tiers": {"host": HOST, "kv_bytes_per_token": 62_500},
        "workload": {"trace": str(trace), "block_tokens": 16},
        **changes,
    }


def row(time_ms: int, ids: list[int], output: int = 1) -> str:
    tokens = 16 * len(ids)
    return f'{{"timestamp": {time_ms}, "input_length": {tokens}, "output_length": {output}, "hash_ids": {ids}}}'


# Of 8 usable blocks, b's 8 evict all that a left on the GPU; then a's 4 blocks come again.
EVICTED = [row(0, [1, 2, 3, 4]), row(100, list(range(10, 18))), row(200, [1, 2, 3, 4])]


def times(result: Result, name: str) -> list[int]:
    return result.requests.column(name).to_pylist()  # type: ignore[no-any-return]


def test_what_the_gpu_dropped_is_loaded(tmp_path: Path) -> None:
    result = simulate(make_spec(spec(tmp_path, EVICTED)))
    # 4 blocks in 4.25 ms; then a pass of 10 ms computes the last token.
    assert times(result, "scheduled_ps") == [0, 100 * MS, 204_250_000_000]
    assert times(result, "first_token_ps") == [10 * MS, 120 * MS, 214_250_000_000]
    assert times(result, "host_tokens") == [0, 0, 63]
    assert times(result, "cached_tokens") == [0, 0, 63]
    assert result.summary["prefix_reuse.host"] == 63 / 256


def test_without_host_memory_it_is_computed_again(tmp_path: Path) -> None:
    plain = spec(tmp_path, EVICTED)
    del plain["tiers"]
    result = simulate(make_spec(plain))
    assert times(result, "first_token_ps")[2] == 210 * MS
    assert times(result, "cached_tokens") == [0, 0, 0]
    assert "host_tokens" not in result.requests.column_names
    assert "prefix_reuse.host" not in result.summary


def test_a_copy_that_is_not_complete_cannot_be_read(tmp_path: Path) -> None:
    """a's blocks leave for the host at 10 ms, the end of its pass, at 0.01 GB/s: 400.25 ms."""
    slow = spec(tmp_path, EVICTED, tiers={"host": HOST | {"store_gbytes_per_s": 0.01}, "kv_bytes_per_token": 62_500})
    result = simulate(make_spec(slow))
    # It is put off until its copy is complete, then loads.
    assert times(result, "scheduled_ps")[2] == 410_250_000_000 + 4_250_000_000


def test_others_are_admitted_past_a_request_that_loads(tmp_path: Path) -> None:
    rows = [*EVICTED, row(201, [50])]
    slow = spec(tmp_path, rows, tiers={"host": HOST | {"load_gbytes_per_s": 0.1}, "kv_bytes_per_token": 62_500})
    result = simulate(make_spec(slow))
    # 4 MB at 0.1 GB/s: 40.25 ms; the request behind it runs from 201 to 211 ms.
    assert times(result, "scheduled_ps")[2:] == [240_250_000_000, 201 * MS]


def test_loads_follow_each_other(tmp_path: Path) -> None:
    rows = [row(0, [1, 2]), row(50, [3, 4]), row(100, list(range(10, 18))), row(200, [1, 2]), row(200, [3, 4])]
    result = simulate(make_spec(spec(tmp_path, rows)))
    # Both are asked for at 200 ms: 2.25 ms each, one after the other. The second is there during the
    # pass of the first, and scheduled when that ends.
    assert times(result, "scheduled_ps")[3:] == [202_250_000_000, 212_250_000_000]


def test_the_least_recently_used_block_goes(tmp_path: Path) -> None:
    """Room for 8 blocks: b's 8 take all of it, and nothing of a is left."""
    small = spec(tmp_path, EVICTED, tiers={"host": HOST | {"blocks": 8}, "kv_bytes_per_token": 62_500})
    assert times(simulate(make_spec(small)), "host_tokens") == [0, 0, 0]
    larger = spec(tmp_path, EVICTED, tiers={"host": HOST | {"blocks": 10}, "kv_bytes_per_token": 62_500})
    # The end of a goes first: its first two blocks are still there.
    assert times(simulate(make_spec(larger)), "host_tokens") == [0, 0, 32]


SMALL = {"host": HOST | {"blocks": 8}, "kv_bytes_per_token": 62_500}
BEHIND = {"blocks": 100, "write_gbytes_per_s": 1.0, "read_gbytes_per_s": 0.5, "first_byte_ms": 1.0}


@pytest.mark.parametrize("policy", ["through", "on_eviction"])
def test_what_the_host_dropped_comes_from_the_disk(tmp_path: Path, policy: str) -> None:
    disk = spec(tmp_path, EVICTED, tiers=SMALL | {"disk": BEHIND | {"write_policy": policy}})
    result = simulate(make_spec(disk))
    # To the host: 1 + 4 / 0.5 = 9 ms. To the GPU: 4.25 ms.
    assert times(result, "scheduled_ps")[2] == 213_250_000_000
    assert times(result, "disk_tokens") == [0, 0, 63]
    assert times(result, "host_tokens") == [0, 0, 0]
    assert result.summary["prefix_reuse.disk"] == 63 / 256


def test_what_another_replica_computed_comes_from_the_shared_store(tmp_path: Path) -> None:
    rows = [row(0, [1, 2, 3, 4]), row(100, [1, 2, 3, 4])]
    tiers = {"host": HOST, "kv_bytes_per_token": 62_500}
    # In turn: the second request goes to the replica that has seen nothing.
    result = simulate(make_spec(spec(tmp_path, rows, replicas=2, tiers=tiers | {"shared": BEHIND})))
    assert times(result, "shared_tokens") == [0, 63]
    assert times(result, "scheduled_ps")[1] == 113_250_000_000
    alone = simulate(make_spec(spec(tmp_path, rows, replicas=2, tiers=tiers | {"disk": BEHIND})))
    assert times(alone, "disk_tokens") == [0, 0]


def test_a_copy_to_the_store_has_to_be_complete(tmp_path: Path) -> None:
    """On the host at 14.25 ms, in the store 5 ms later; until then it is computed again."""
    tiers = {"host": HOST, "kv_bytes_per_token": 62_500, "shared": BEHIND}
    for time_ms, loaded in ((19, 0), (20, 63)):
        rows = [row(0, [1, 2, 3, 4]), row(time_ms, [1, 2, 3, 4])]
        result = simulate(make_spec(spec(tmp_path, rows, replicas=2, tiers=tiers)))
        assert times(result, "shared_tokens") == [0, loaded]


RATES = {"write_gbytes_per_s": 1.0, "read_gbytes_per_s": 1.0}
MODEL = {"model": "llama-3.1-8b", "gpu": "h100", "workload": {"trace": "unread.jsonl"}}


def test_the_size_in_gib_is_of_all_ranks() -> None:
    """131,072 bytes a token of 8 GB: 16 tokens, 2 MiB; two ranks hold half of it each."""
    for tensor in (1, 2):
        resolved = resolve_engine(
            make_spec({**MODEL, "parallel": {"tensor": tensor}, "engine": {"kv_offloading_size": 64}})
        )
        offload = resolved.options["offload"]
        assert offload["blocks"] == 64 * 2**30 // 2**21
        assert offload["block_bytes"] == 2**21 // tensor
        assert offload["store"] == offload["load"] == {"bytes_per_s": 53_550_000_000, "latency_ps": 20_000_000}


@pytest.mark.parametrize(
    ("changes", "field", "why"),
    [
        ({"engine": {"kv_offloading_size": 0.001}}, "engine.kv_offloading_size", "smaller than a block"),
        ({"engine": {"kv_offloading_size": 1e300}}, "engine.kv_offloading_size", "more blocks than can be counted"),
        (
            {"engine": {"kv_offloading_size": 8}, "tiers": {"disk": {**RATES, "capacity_gib": 1e300}}},
            "tiers.disk.capacity_gib",
            "more blocks than can be counted",
        ),
        (
            {"engine": {"kv_offloading_size": 8}, "tiers": {"disk": {**RATES, "capacity_gib": 0.001}}},
            "tiers.disk.capacity_gib",
            "smaller than a block",
        ),
        ({"engine": {"kv_offloading_size": 8}, "tiers": {"shared": RATES}}, "tiers.shared", "no size"),
        ({"tiers": {"disk": {**RATES, "blocks": 9}}}, "tiers", "nothing is offloaded"),
        (
            {"engine": {"kv_offloading_size": 8}, "tiers": {"disk": {**RATES, "read_gbytes_per_s": 0, "blocks": 9}}},
            "tiers.disk.read_gbytes_per_s",
            "equal to 0.001",
        ),
        ({"engine": {"kv_offloading_size": 0}}, "engine.kv_offloading_size", "greater than 0"),
        (
            {"engine": {"kv_offloading_size": 8}, "tiers": {"host": {"load_gbytes_per_s": 1e300}}},
            "tiers.host.load_gbytes_per_s",
            "equal to 1000000",
        ),
        (
            {"engine": {"kv_offloading_size": 8}, "tiers": {"host": {"first_byte_ms": 1e12}}},
            "tiers.host.first_byte_ms",
            "equal to 8640000000",
        ),
        (
            {"engine": {"kv_offloading_size": 8}, "tiers": {"host": {"load_gbytes_per_s": 0}}},
            "tiers.host.load_gbytes_per_s",
            "equal to 0.001",
        ),
        (
            {"engine": {"kv_offloading_size": 8, "enable_prefix_caching": False}},
            "engine.kv_offloading_size",
            "without prefix caching",
        ),
        ({"engine": {"kv_offloading_size": 8, "version": "0.19"}}, "engine.kv_offloading_size", "other rules"),
        ({"engine": {"kv_offloading_size": 8, "kv_offloading_backend": "lmcache"}}, "engine.kv_offloading_backend", ""),
        ({"engine": {"kv_offloading_backend": "native"}}, "engine.kv_offloading_backend", "never read"),
        ({"tiers": {"host": {"first_byte_ms": 1}}}, "tiers", "never read"),
        ({"engine": {"kv_offloading_size": 8}, "tiers": {"host": {"blocks": 9}}}, "tiers.host.blocks", "given already"),
        ({"engine": {"name": "trtllm"}, "tiers": {"host": {"blocks": 9}}}, "tiers", "never read"),
        (
            {
                "engine": {"kv_offloading_size": 8},
                "pools": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}},
            },
            "engine.kv_offloading_size",
            "one KV connector",
        ),
    ],
)
def test_refused(changes: dict[str, Any], field: str, why: str) -> None:
    with pytest.raises(SpecError) as error:
        resolve_engine(make_spec({**MODEL, **changes}))
    assert error.value.field == field
    assert why in str(error.value)
