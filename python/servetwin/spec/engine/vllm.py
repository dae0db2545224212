"""The options of vLLM that its scheduler reads, under vLLM's own names.

A default of None stands for one that depends on the version, the GPU or the model; `catalog.vllm` fills it in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..base import Count, CountOrZero, PositiveShare, Share, SpecModel
from ..lines import KeyPath
from .version import known_version

VERSIONS = ("0.32", "0.19")
"""Rules that are modelled: 0.32 checked against recordings of the real scheduler, 0.19 read from its source."""


class Acceptance(SpecModel):
    """How many drafts of a pass are accepted: a cycle of counts, or the chance of each after those before it."""

    cycle: Annotated[list[CountOrZero], Field(min_length=1)] | None = None
    conditional: Annotated[list[Share], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Acceptance:
        if (self.cycle is None) == (self.conditional is None):
            raise ValueError("needs exactly one of `cycle` and `conditional`")
        return self


class Speculative(SpecModel):
    """Speculative decoding. A number for `acceptance` is the same chance for every draft."""

    method: Literal["ngram"]
    num_speculative_tokens: Annotated[int, Field(ge=1, le=64)]
    acceptance: Acceptance

    @field_validator("acceptance", mode="before")
    @classmethod
    def _one_chance_for_all(cls, value: Any, info: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"conditional": [value] * info.data.get("num_speculative_tokens", 1)}
        return value

    @model_validator(mode="after")
    def _fits(self) -> Speculative:
        drafts = self.num_speculative_tokens
        if self.acceptance.cycle is not None and max(self.acceptance.cycle) > drafts:
            raise ValueError(f"acceptance.cycle accepts {max(self.acceptance.cycle)} of {drafts} drafts")
        if self.acceptance.conditional is not None and len(self.acceptance.conditional) != drafts:
            raise ValueError(
                f"acceptance.conditional has {len(self.acceptance.conditional)} chances for {drafts} drafts"
            )
        return self


class VllmEngine(SpecModel):
    name: Literal["vllm"] = "vllm"
    version: Literal["0.32", "0.19"] = "0.32"
    max_num_seqs: Count | None = None
    max_num_batched_tokens: Count | None = None
    max_model_len: Count | None = None
    block_size: Count = 16
    num_gpu_blocks: Annotated[Count, Field(ge=2)] | None = None
    gpu_memory_utilization: PositiveShare | None = None
    kv_cache_dtype: Literal["auto", "fp8"] = "auto"
    quantization: Literal["fp8"] | None = None
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: CountOrZero = 0
    long_prefill_token_threshold_adaptive: bool = False
    scheduling_policy: Literal["fcfs", "priority"] = "fcfs"
    watermark: Annotated[float, Field(ge=0, lt=1)] = 0.0
    scheduler_reserve_full_isl: bool = True
    async_scheduling: bool | None = None
    speculative: Speculative | None = None
    enforce_eager: bool = False
    cudagraph_mode: Literal["NONE", "PIECEWISE", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE"] = "FULL_AND_PIECEWISE"
    cudagraph_capture_sizes: Annotated[list[Count], Field(min_length=1)] | None = None
    max_cudagraph_capture_size: Count | None = None

    @field_validator("version", mode="before")
    @classmethod
    def _known_rules(cls, value: Any) -> str:
        return known_version(value, VERSIONS, "vLLM")

    @property
    def quantization_option(self) -> KeyPath:
        return ("engine", "quantization")

    @property
    def block_option(self) -> KeyPath:
        """Where the spec gives the size of a cache block."""
        return ("engine", "block_size")

    @property
    def block_tokens(self) -> int:
        return self.block_size

    @property
    def shares_prefixes(self) -> bool:
        return self.enable_prefix_caching

    @property
    def graph_options(self) -> tuple[str, ...]:
        """Those that say which CUDA graphs are captured."""
        return ("enforce_eager", "cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size")
