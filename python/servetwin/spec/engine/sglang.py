"""The options of SGLang that its scheduler reads, under the names of its ServerArgs (`--page-size` is `page_size`).

A default of None stands for one that depends on the GPU or the model; `catalog.sglang` fills it in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ..base import Count, CountOrZero, Positive, PositiveShare, SpecModel
from ..lines import KeyPath
from .speculation import DRAFTS_MAX, NGRAM_DRAFTS_MAX, Drafting, Speculation
from .version import known_version

VERSIONS = ("0.5.23",)

POLICIES = ("lpm", "random", "fcfs", "dfs-weight", "lof", "priority", "routing-key", "hrrn", "shortest-prefill-first")
"""Choices of --schedule-policy (arg_groups/fields/schedule.py)."""


ALGORITHMS = ("EAGLE", "EAGLE3", "NEXTN", "NGRAM", "STANDALONE", "DFLASH", "DSPARK", "UNO", "FROZEN_KV_MTP")
"""Of --speculative-algorithm (speculative/spec_info.py)."""

NGRAM_DRAFT_TOKENS = 12
"""_handle_ngram's default."""


class SglangEngine(SpecModel):
    """`ignore_eos` is a property of requests in SGLang; here it is one of all of them.

    `hicache_size` is in gigabytes of 10⁹ bytes, a rank.
    """

    name: Literal["sglang"]
    version: Literal["0.5.23"] = "0.5.23"
    max_running_requests: Count | None = None
    pp_max_micro_batch_size: Count | None = None
    max_total_tokens: Count | None = None
    chunked_prefill_size: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None
    max_prefill_tokens: Count = 16384
    context_length: Count | None = None
    page_size: Count = 1
    mem_fraction_static: PositiveShare | None = None
    swa_full_tokens_ratio: PositiveShare | None = None
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
    speculative_algorithm: Literal["EAGLE", "EAGLE3", "NEXTN", "NGRAM"] | None = None
    speculative_num_steps: Annotated[int, Field(ge=1, le=DRAFTS_MAX)] | None = None
    speculative_eagle_topk: Annotated[int, Field(ge=1, le=64)] | None = None
    speculative_num_draft_tokens: Annotated[int, Field(ge=2, le=NGRAM_DRAFTS_MAX)] | None = None
    speculation: Speculation | None = None
    enable_hierarchical_cache: bool = False
    hicache_ratio: Positive | None = None
    hicache_size: Count | None = None
    hicache_write_policy: Literal["write_through", "write_through_selective", "write_back"] = "write_through"
    num_reserved_decode_tokens: CountOrZero = 512
    disaggregation_decode_extra_slots: CountOrZero | None = None
    disaggregation_decode_polling_interval: Count = 1
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

    @field_validator("speculative_algorithm", mode="before")
    @classmethod
    def _modelled_algorithm(cls, value: Any) -> Any:
        if value in ALGORITHMS and value not in ("EAGLE", "EAGLE3", "NEXTN", "NGRAM"):
            raise ValueError("SGLang's, but not yet modelled; EAGLE, EAGLE3, NEXTN and NGRAM are")
        return value

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
        return self.enable_hierarchical_cache

    @property
    def shares_prefixes(self) -> bool:
        return not self.disable_radix_cache

    @property
    def drafting(self) -> Drafting | None:
        """What `check_engine` has seen to be whole."""
        if self.speculative_algorithm is None or self.speculation is None:
            return None
        heads: dict[str, Literal["none", "eagle", "mtp"]] = {"NGRAM": "none", "NEXTN": "mtp"}
        head = heads.get(self.speculative_algorithm, "eagle")
        drafts = (self.speculative_num_draft_tokens or NGRAM_DRAFT_TOKENS) - 1
        steps = self.speculative_num_steps or drafts
        return Drafting(
            self.speculation, ("engine", "speculation"), ("engine", "speculative_algorithm"), head, steps, drafts
        )

    @property
    def graph_options(self) -> tuple[str, ...]:
        """Those that say which CUDA graphs are captured."""
        disabled = ("disable_cuda_graph", "disable_prefill_cuda_graph", "disable_cuda_graph_padding")
        return (*disabled, "cuda_graph_bs_decode", "cuda_graph_max_bs_decode")
