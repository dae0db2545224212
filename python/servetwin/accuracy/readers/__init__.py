"""Readers of the tables, by operator."""

from .base import Table
from .dense import read_blocks, read_decode, read_gemm, read_prefill, read_scattered
from .links import read_all_reduce, read_deepep, read_nccl
from .sparse import latent_reader, module_reader, read_delta, read_experts

SPARSE = "sparse_attention/vllm/*"

READERS = {
    "gemm": [
        Table("gemm/vllm/*/gemm_perf.parquet", read_gemm),
        Table("gemm/sglang/*/gemm_perf.parquet", read_scattered),
        Table("gemm/trtllm/*/gemm_perf.parquet", read_blocks),
    ],
    "prefill_attention": [Table("attention/vllm/*/context_attention_perf.parquet", read_prefill)],
    "decode_attention": [Table("attention/vllm/*/generation_attention_perf.parquet", read_decode)],
    "experts": [Table("moe/vllm/*/moe_perf.parquet", read_experts)],
    "latent_prompt": [
        Table("mla/vllm/*/mla_context_module_perf.parquet", latent_reader(True, slow=False)),
        Table("mla/trtllm/*/mla_context_module_perf.parquet", latent_reader(True, slow=True)),
    ],
    "latent_decode": [
        Table("mla/vllm/*/mla_generation_module_perf.parquet", latent_reader(False, slow=False)),
        Table("mla/trtllm/*/mla_generation_module_perf.parquet", latent_reader(False, slow=True)),
    ],
    # vLLM's takes 1.5 ms for any prompt below 2,000 tokens: its launches, one by one.
    "sparse_prompt": [
        Table(f"{SPARSE}/dsa_context_module_perf.parquet", module_reader(True, tokens_within=(4096, 2**31))),
        Table(
            "sparse_attention/trtllm/*/dsa_context_module_perf.parquet", module_reader(True, tokens_within=(1, 2047))
        ),
    ],
    "sparse_decode": [Table(f"{SPARSE}/dsa_generation_module_perf.parquet", module_reader(False))],
    "compressed_4_prompt": [Table(f"{SPARSE}/dsv4_csa_context_module_perf.parquet", module_reader(True, 4))],
    "compressed_4_decode": [Table(f"{SPARSE}/dsv4_csa_generation_module_perf.parquet", module_reader(False, 4))],
    "compressed_128_prompt": [Table(f"{SPARSE}/dsv4_hca_context_module_perf.parquet", module_reader(True, 128))],
    "compressed_128_decode": [Table(f"{SPARSE}/dsv4_hca_generation_module_perf.parquet", module_reader(False, 128))],
    "gated_delta": [Table("linear_attention/vllm/*/gdn_perf.parquet", read_delta)],
    "all_reduce": [Table("comm/vllm/*/custom_allreduce_perf.parquet", read_all_reduce)],
    "collective": [
        Table("comm/nccl/*/nccl_perf.parquet", read_nccl),
        Table("comm/vllm/*/moe_a2a_perf.parquet", read_deepep),
    ],
}
"""Of each operator: where its timings are, and how a row is read."""
