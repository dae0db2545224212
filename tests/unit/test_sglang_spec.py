"""SGLang's HiCache and decode replicas in a spec: what is made of their options, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.catalog import resolve_engine
from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.spec import make_spec

SGLANG = {"name": "sglang", "max_total_tokens": 10_000, "context_length": 4096}
ON = {"enable_hierarchical_cache": True}
NAMED = {"model": "llama-3.1-8b", "gpu": "h100"}
"""128 KiB of KV a token, on 32 layers."""


def problem(options: dict[str, Any]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        resolve(make_spec({"timing": "polynomial", **options}))
    return caught.value


def hicache(spec: dict[str, Any], **options: Any) -> dict[str, Any]:
    found = resolve_engine(make_spec(spec | {"engine": SGLANG | ON | options})).options["hicache"]
    assert isinstance(found, dict)
    return found


def pools(**decode: Any) -> dict[str, Any]:
    return {
        "engine": SGLANG,
        "pools": {"prefill": {}, "decode": {"engine": decode}},
        "handover": {"link": "wire", "kv_bytes_per_token": 1000},
        "cluster": {"nodes": 1, "gpus_per_node": 8, "links": {"wire": {"gbytes_per_s": 10}}},
    }


def test_the_pool_on_the_host_is_whole_pages_and_one_more() -> None:
    assert hicache(NAMED)["tokens"] == 20_001
    assert hicache(NAMED, page_size=64, hicache_ratio=0.5)["tokens"] == (9984 // 2 // 64 + 1) * 64
    assert hicache(NAMED, hicache_size=1)["tokens"] == 10**9 // 131_072 + 1
    assert hicache(NAMED | {"parallel": {"tensor": 2}}, hicache_size=1)["tokens"] == 10**9 // 65_536 + 1
    assert hicache(NAMED)["layers"] == 32


def test_speeds_are_given_or_the_gpus() -> None:
    host = {"load_gbytes_per_s": 20, "store_gbytes_per_s": 10, "first_byte_ms": 1}
    found = hicache({"tiers": {"host": host, "kv_bytes_per_token": 7}})
    assert found["load"] == {"bytes_per_s": 20 * 10**9, "latency_ps": 10**9}
    assert found["store"] == {"bytes_per_s": 10**10, "latency_ps": 10**9}
    assert (found["token_bytes"], found["layers"]) == (7, 1)
    assert hicache(NAMED)["load"]["bytes_per_s"] > 20 * 10**9


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"engine": SGLANG | {"hicache_ratio": 2.0}}, "engine.hicache_ratio"),
        ({"engine": SGLANG | {"hicache_write_policy": "write_back"}}, "engine.hicache_write_policy"),
        ({"engine": SGLANG | ON | {"hicache_ratio": 2.0, "hicache_size": 3}}, "engine.hicache_ratio"),
        ({"engine": SGLANG | ON | {"hicache_ratio": 1e308}, **NAMED}, "engine.hicache_ratio"),
        ({"engine": SGLANG | ON | {"disable_radix_cache": True}}, "engine.enable_hierarchical_cache"),
        ({"engine": SGLANG | ON | {"hicache_write_policy": "write_around"}}, "engine.hicache_write_policy"),
        ({"engine": SGLANG | ON | {"hicache_size": 10**6}, **NAMED}, "engine.hicache_size"),
        ({"engine": SGLANG | ON, "tiers": {"host": {"blocks": 9}}}, "tiers.host.blocks"),
        ({"engine": SGLANG | ON}, "model"),
        ({"engine": SGLANG, "tiers": {"host": {"first_byte_ms": 1}}}, "tiers"),
        ({"engine": SGLANG | {"num_reserved_decode_tokens": 64}}, "engine.num_reserved_decode_tokens"),
        (pools(enable_hierarchical_cache=True), "pools.decode.engine.enable_hierarchical_cache"),
        (pools(num_reserved_decode_tokens=-1), "pools.decode.engine.num_reserved_decode_tokens"),
        (pools(disaggregation_decode_polling_interval=0), "pools.decode.engine.disaggregation_decode_polling_interval"),
    ],
)
def test_what_would_be_never_read_or_cannot_be_is_refused(spec: dict[str, Any], field: str) -> None:
    assert problem(spec).field == field


def test_options_of_decode_replicas_are_refused_of_the_others() -> None:
    spec = pools()
    spec["pools"]["prefill"] = {"engine": {"num_reserved_decode_tokens": 1}}
    assert problem(spec).field == "pools.prefill.engine.num_reserved_decode_tokens"
    spec = pools()
    spec["handover"]["local_prefill_tokens"] = 100
    assert problem(spec).field == "handover.local_prefill_tokens"


def test_a_decode_replica_has_no_radix_cache_and_its_own_options() -> None:
    spec = make_spec({"timing": "polynomial", **pools(max_running_requests=16)})
    prefill, decode = run_description(spec, resolve(spec), leap=True, own_router=False)["pools"]
    assert not prefill["engine"]["disable_radix_cache"]
    assert prefill["engine"]["disaggregation"] is None
    assert decode["engine"]["disable_radix_cache"]
    assert decode["engine"]["disaggregation"] == {
        "num_reserved_decode_tokens": 512,
        "decode_extra_slots": 32,
        "polling_interval": 1,
    }
    spec = make_spec({"timing": "polynomial", **pools(max_running_requests=33)})
    assert resolve(spec).pools[1].engine.options["disaggregation"]["decode_extra_slots"] == 0
