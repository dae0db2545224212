"""The options of SGLang that its scheduler reads, under the names of its ServerArgs (`--page-size` is `page_size`).

A default of None stands for one that depends on the GPU or the model; `catalog.sglang` fills it in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ..base import Count, Positive, PositiveShare, SpecModel
from ..lines import KeyPath
from .version import known_version

VERSIONS = ("0.5.23",)

POLICIES = ("lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key", "hrrn", "shortest-prefill-first")
"""Choices of --schedule-policy (arg_groups/fields/schedule.py)."""


class SglangEngine(SpecModel):
    """`ignore_eos` is a property of requests in SGLang; here it is one of all of them."""

    name: Literal["sglang"]
    version: Literal["0.5.23"] = "0.5.23"
    max_running_requests: Count | None = None
    max_total_tokens: Count | None = None
    chunked_prefill_size: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    max_prefill_tokens: Count = 16384
    context_length: Count | None = None
    page_size: Count = 1
    mem_fraction_static: PositiveShare | None = None
    kv_cache_dtype: Literal["auto", "fp8_e4m3", "fp8_e5m2"] = "auto"
    quantization: Literal["fp8"] | None = None
    schedule_policy: Literal["fcfs", "lpm"] = "fcfs"
    schedule_conservativeness: Positive = 1.0
    enable_mixed_chunk: bool = False
    disable_radix_cache: bool = False
    disable_overlap_schedule: bool = False
    enable_priority_scheduling: bool = False
    disable_priority_preemption: bool = False
    schedule_low_priority_values_first: bool = False
    priority_scheduling_preemption_threshold: Annotated[int, Field(ge=0, le=2**31 - 1)] = 10
    ignore_eos: bool = False
    enable_dp_attention: bool = False
    disable_cuda_graph: bool = False
    disable_prefill_cuda_graph: bool = False
    disable_cuda_graph_padding: bool = False
    cuda_graph_bs_decode: Annotated[list[Count], Field(min_length=1)] | None = None
    cuda_graph_max_bs_decode: Count | None = None

    @field_validator("version", mode="before")
    @classmethod
    def _known_rules(cls, value: Any) -> str:
        return known_version(value, VERSIONS, "SGLang")

    @field_validator("schedule_policy", mode="before")
    @classmethod
    def _modelled_policy(cls, value: Any) -> Any:
        if value in POLICIES and value not in ("fcfs", "lpm"):
            raise ValueError("SGLang's, but not yet modelled; fcfs and lpm are")
        return value

    @field_validator("chunked_prefill_size")
    @classmethod
    def _off_is_minus_one(cls, value: int | None) -> int | None:
        if value == 0:
            raise ValueError("a chunk of no tokens; -1 turns chunked prefill off")
        return value

    @property
    def quantization_option(self) -> KeyPath:
        return ("engine", "quantization")

    @property
    def block_option(self) -> KeyPath:
        """Where the spec gives the size of a cache block."""
        return ("engine", "page_size")

    @property
    def block_tokens(self) -> int:
        return self.page_size

    @property
    def offloads(self) -> bool:
        """Whether it keeps blocks in host memory."""
        return False

    @property
    def shares_prefixes(self) -> bool:
        return not self.disable_radix_cache

    @property
    def graph_options(self) -> tuple[str, ...]:
        """Those that say which CUDA graphs are captured."""
        disabled = ("disable_cuda_graph", "disable_prefill_cuda_graph", "disable_cuda_graph_padding")
        return (*disabled, "cuda_graph_bs_decode", "cuda_graph_max_bs_decode")
