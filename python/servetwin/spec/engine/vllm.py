"""The options of vLLM that its scheduler reads, under vLLM's own names.

A default of None stands for one that depends on the version, the GPU or the model; `catalog.vllm` fills it in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..base import Count, CountOrZero, Positive, PositiveShare, SpecModel
from ..lines import KeyPath
from .speculation import DRAFTS_MAX, NGRAM_DRAFTS_MAX, Drafting, Speculation
from .version import known_version

VERSIONS = ("0.32", "0.19")
"""Rules that are modelled: 0.32 checked against recordings of the real scheduler, 0.19 read from its source."""


METHODS = (
    "ngram",
    "eagle",
    "eagle3",
    "mtp",
    "draft_model",
    "medusa",
    "mlp_speculator",
    "suffix",
    "ngram_gpu",
    "dflash",
    "dspark",
    "extract_hidden_states",
    "custom_class",
)
"""SpeculativeConfig.method in 0.32 (vllm/config/speculative.py); the names of single models' mtp aside."""


DraftsByRequests = Annotated[list[Annotated[list[CountOrZero], Field(min_length=3, max_length=3)]], Field(min_length=1)]
"""First and last number of requests, drafts."""


class Speculative(Speculation):
    """`--speculative-config`, and what it does not tell.

    `num_speculative_tokens_per_batch_size`: entries of first and last number of requests in a pass, and the drafts of
    the next.
    """

    method: Literal["ngram", "eagle", "eagle3", "mtp"]
    num_speculative_tokens: Annotated[int, Field(ge=1, le=NGRAM_DRAFTS_MAX)]
    num_speculative_tokens_per_batch_size: DraftsByRequests | None = None
    disable_eagle_block_drop: bool = False

    @field_validator("method", mode="before")
    @classmethod
    def _modelled_method(cls, value: Any) -> Any:
        if value in METHODS and value not in ("ngram", "eagle", "eagle3", "mtp"):
            raise ValueError("vLLM's, but not yet modelled; ngram, eagle, eagle3 and mtp are")
        return value

    @property
    def has_head(self) -> bool:
        """Whether drafts come from layers of their own, which see the model's hidden states."""
        return self.method != "ngram"

    @model_validator(mode="after")
    def _fits(self) -> Speculative:
        drafts = self.num_speculative_tokens
        if self.has_head and drafts > DRAFTS_MAX:
            raise ValueError(f"{drafts} drafts of {self.method}: at most {DRAFTS_MAX} are modelled")
        last = 0
        for first, end, count in self.num_speculative_tokens_per_batch_size or ():
            if first > end or first <= last or (last == 0 and first != 1):
                raise ValueError(
                    "num_speculative_tokens_per_batch_size: ranges of requests start at 1, in order, and do not overlap"
                )
            if count > drafts:
                raise ValueError(
                    f"num_speculative_tokens_per_batch_size asks for {count} drafts where there are at most {drafts}"
                )
            last = end
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
    dp_sync_interval: Count = 32
    prefill_schedule_interval: Count = 1
    speculative: Speculative | None = None
    kv_offloading_size: Positive | None = None
    kv_offloading_backend: Literal["native"] = "native"
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
    def offloads(self) -> bool:
        """Whether it keeps blocks in host memory."""
        return self.kv_offloading_size is not None

    @property
    def shares_prefixes(self) -> bool:
        return self.enable_prefix_caching

    @property
    def drafting(self) -> Drafting | None:
        options = self.speculative
        if options is None:
            return None
        drafts, field = options.num_speculative_tokens, ("engine", "speculative")
        heads: dict[str, Literal["none", "eagle", "mtp"]] = {"ngram": "none", "mtp": "mtp"}
        head = heads.get(options.method, "eagle")
        return Drafting(options, field, (*field, "method"), head, drafts, drafts)

    @property
    def graph_options(self) -> tuple[str, ...]:
        """Those that say which CUDA graphs are captured."""
        return ("enforce_eager", "cudagraph_mode", "cudagraph_capture_sizes", "max_cudagraph_capture_size")
