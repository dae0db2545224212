"""Rows of aiconfigurator-core's tables as timings of ours."""

from __future__ import annotations

from typing import Any

import pytest

from servetwin.accuracy.readers import READERS
from servetwin.accuracy.readers.base import Timing
from servetwin.catalog import GPUS

H200 = GPUS["h200"]


def read(operator: str, row: dict[str, Any], table: int = 0) -> Timing | None:
    return READERS[operator][table].read(H200, row)


EXPERTS = {
    "moe_dtype": "fp8_block",
    "num_tokens": 512,
    "hidden_size": 7168,
    "inter_size": 2048,
    "topk": 8,
    "num_experts": 256,
    "moe_tp_size": 4,
    "moe_ep_size": 1,
    "distribution": "power_law_1.01",
    "kernel_source": "triton",
    "latency": 0.5,
}


def test_experts_are_those_of_one_rank() -> None:
    found = read("experts", EXPERTS)
    assert found is not None
    assert (found.kind, found.seconds) == ("fp8_block", 0.5e-3)
    # A quarter of each expert is read, if it has a token.
    weights = 3 * 7168 * 512 * 256 / H200.memory_bytes_per_s
    assert 0.5 * weights < found.load.memory_s < 1.5 * weights


@pytest.mark.parametrize(
    "other",
    [
        {"distribution": "balanced", "moe_ep_size": 8, "moe_tp_size": 1},
        {"distribution": "power_law_0.6"},
        {"moe_dtype": "w4afp8"},
        {"moe_dtype": "w4a16_mxfp4", "kernel_source": "vllm_compressedtensorsw4a4mxfp4moe_marlin_marlinexperts"},
    ],
)
def test_experts_that_say_something_else_are_left_out(other: dict[str, Any]) -> None:
    assert read("experts", EXPERTS | other) is None


MODULE = {
    "model": "deepseek-ai/DeepSeek-V3",
    "gemm_type": "fp8_block",
    "kv_cache_dtype": "bfloat16",
    "num_heads": 16,
    "batch_size": 64,
    "isl": 1,
    "step": 4095,
    "latency": 0.2,
}


def test_decodes_of_a_module_read_the_whole_context() -> None:
    # On an H200 from the second table, TensorRT-LLM's.
    assert read("latent_decode", MODULE) is None
    found = read("latent_decode", MODULE, 1)
    assert found is not None
    assert found.load.memory_s * H200.memory_bytes_per_s == pytest.approx(64 * 4096 * 576 * 2, rel=0.2)


def test_modules_of_other_models_are_left_out() -> None:
    assert read("latent_decode", MODULE | {"model": "moonshotai/Kimi-K3"}, 1) is None


def test_sparse_prompts_come_from_two_engines() -> None:
    """Short ones from the second table, long ones from the first."""
    prompt = MODULE | {"model": "deepseek-ai/DeepSeek-V3.2", "batch_size": 1, "step": 0}
    read_by = {
        tokens: [read("sparse_prompt", prompt | {"isl": tokens}, table) is not None for table in (0, 1)]
        for tokens in (256, 3072, 8192)
    }
    assert read_by == {256: [False, True], 3072: [False, False], 8192: [True, False]}


def test_products_in_blocks_come_from_another_engine() -> None:
    row = {"gemm_dtype": "fp8_block", "m": 64, "n": 4096, "k": 7168, "latency": 0.01}
    assert read("gemm", row, 0) is None
    assert read("gemm", row, 2) is not None
    assert read("gemm", row | {"gemm_dtype": "bfloat16"}, 2) is None


def test_products_of_one_table_that_scatters_come_from_another() -> None:
    row = {"gemm_dtype": "fp8", "m": 64, "n": 4096, "k": 7168, "latency": 0.01}
    tables = READERS["gemm"]
    assert [table.read(GPUS["b200"], row) is not None for table in tables] == [False, True, False]
    assert [table.read(GPUS["h200"], row) is not None for table in tables] == [True, False, False]


@pytest.mark.parametrize(
    ("source", "phase", "kind"),
    [
        ("causal_conv1d_fn", "context", "prompt_convolution"),
        ("chunk_gated_delta_rule_flashinfer", "context", "prompt_rule"),
        ("fused_recurrent_gated_delta_rule_packed_decode", "generation", "decode_rule"),
    ],
)
def test_a_gated_delta_layer_has_two_kernels(source: str, phase: str, kind: str) -> None:
    row = {"num_k_heads": 16, "num_v_heads": 32, "head_k_dim": 128, "head_v_dim": 128, "d_conv": 4}
    found = read(
        "gated_delta", row | {"batch_size": 8, "seq_len": 1024, "kernel_source": source, "phase": phase, "latency": 1.0}
    )
    assert found is not None
    assert found.kind == kind


def test_windows_are_a_kind_of_their_own() -> None:
    row = {"batch_size": 8, "step": 8191, "num_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "latency": 1.0}
    row |= {"kv_cache_dtype": "bfloat16", "attn_dtype": "bfloat16"}
    plain, near = read("decode_attention", row), read("decode_attention", row | {"window_size": 1024})
    assert plain is not None
    assert near is not None
    assert (plain.kind, near.kind) == ("bf16", "window")
    assert plain.load.memory_s == pytest.approx(8 * near.load.memory_s, rel=0.1)


def test_deepep_counts_microseconds_and_nccl_elements() -> None:
    sent = read(
        "collective",
        {
            "comm_backend": "deepep_ll",
            "phase": "dispatch",
            "ep_size": 8,
            "num_tokens": 128,
            "hidden_size": 7168,
            "topk": 8,
            "latency": 112.1,
        },
        1,
    )
    assert sent is not None
    assert (sent.kind, sent.seconds) == ("low_latency_dispatch_8", pytest.approx(112.1e-6))
    row = {"op_name": "all_gather", "num_gpus": 8, "message_size": 2**27, "latency": 1.4}
    half, byte = (read("collective", row | {"nccl_dtype": kind}) for kind in ("half", "int8"))
    assert half is not None
    assert byte is not None
    assert half.kind == "all_gather_8"
    assert half.load.memory_s == 2 * byte.load.memory_s == pytest.approx(7 / 8 * 2**28 / 450e9)
