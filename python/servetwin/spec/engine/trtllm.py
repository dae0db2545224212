"""The options of TensorRT-LLM's PyTorch backend that its scheduler reads, under the names of its LLM arguments.

They are what `trtllm-serve --config` reads from YAML, nested alike. A default of None stands for one that depends on
the model or the GPU; `catalog.trtllm` fills it in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..base import Count, CountOrZero, PositiveShare, Share, SpecModel
from ..lines import KeyPath
from .speculation import DRAFTS_MAX, NGRAM_DRAFTS_MAX, Drafting, Speculation
from .version import known_version

VERSIONS = ("1.2",)


class TrtllmKvCache(SpecModel):
    """KvCacheConfig."""

    enable_block_reuse: bool = True
    tokens_per_block: Count = 32
    max_tokens: Count | None = None
    free_gpu_memory_fraction: PositiveShare = 0.9
    dtype: Literal["auto", "fp8"] = "auto"


class TrtllmScheduler(SpecModel):
    """SchedulerConfig."""

    capacity_scheduler_policy: Literal["GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH"] = "GUARANTEED_NO_EVICT"
    context_chunking_policy: Literal["FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS"] = "FIRST_COME_FIRST_SERVED"


DECODING_TYPES = (
    "Eagle3",
    "Eagle",
    "MTP",
    "NGram",
    "Draft_Target",
    "Lookahead",
    "Medusa",
    "PARD",
    "SA",
    "SaveState",
    "User_Provided",
    "AUTO",
)
"""SpeculativeConfig.decoding_type (llmapi/llm_args.py)."""


class TrtllmSpeculative(Speculation):
    """SpeculativeConfig, and what it does not tell. `MTP` counts its drafts by `num_nextn_predict_layers`."""

    decoding_type: Literal["Eagle3", "Eagle", "MTP", "NGram"]
    max_draft_len: Annotated[int, Field(ge=1, le=NGRAM_DRAFTS_MAX)] | None = None
    num_nextn_predict_layers: Annotated[int, Field(ge=1, le=DRAFTS_MAX)] | None = None
    max_concurrency: Count | None = None

    @field_validator("decoding_type", mode="before")
    @classmethod
    def _modelled_type(cls, value: Any) -> Any:
        if value in DECODING_TYPES and value not in ("Eagle3", "Eagle", "MTP", "NGram"):
            raise ValueError("TensorRT-LLM's, but not yet modelled; Eagle3, Eagle, MTP and NGram are")
        return value

    @property
    def drafts(self) -> int:
        return self.max_draft_len or self.num_nextn_predict_layers or 1

    @model_validator(mode="after")
    def _fits(self) -> TrtllmSpeculative:
        mtp = self.decoding_type == "MTP"
        needed, unread = ("num_nextn_predict_layers", "max_draft_len")[:: 1 if mtp else -1]
        if getattr(self, needed) is None or getattr(self, unread) is not None:
            raise ValueError(f"{self.decoding_type} needs {needed}, and does not read {unread}")
        if self.decoding_type != "NGram" and self.drafts > DRAFTS_MAX:
            raise ValueError(f"{self.drafts} drafts of {self.decoding_type}: at most {DRAFTS_MAX} are modelled")
        return self


class TrtllmQuantization(SpecModel):
    """QuantConfig."""

    quant_algo: Literal["FP8"] | None = None


class TrtllmGraphs(SpecModel):
    """CudaGraphConfig. Without padding a graph serves batches of just its size."""

    batch_sizes: Annotated[list[Count], Field(min_length=1)] | None = None
    max_batch_size: Count | None = None
    enable_padding: bool = False


class TrtllmEngine(SpecModel):
    name: Literal["trtllm"]
    version: Literal["1.2"] = "1.2"
    max_batch_size: Count = 2048
    max_num_tokens: Count = 8192
    max_seq_len: Count | None = None
    enable_chunked_prefill: bool = False
    kv_cache_config: TrtllmKvCache = Field(default_factory=TrtllmKvCache)
    scheduler_config: TrtllmScheduler = Field(default_factory=TrtllmScheduler)
    quant_config: TrtllmQuantization = Field(default_factory=TrtllmQuantization)
    cuda_graph_config: TrtllmGraphs | None = Field(default_factory=TrtllmGraphs)
    speculative_config: TrtllmSpeculative | None = None
    batch_wait_timeout_iters: CountOrZero = 0
    batch_wait_max_tokens_ratio: Share = 0.0

    @field_validator("version", mode="before")
    @classmethod
    def _known_rules(cls, value: Any) -> str:
        return known_version(value, VERSIONS, "TensorRT-LLM")

    @property
    def quantization(self) -> str | None:
        return "fp8" if self.quant_config.quant_algo == "FP8" else None

    @property
    def quantization_option(self) -> KeyPath:
        return ("engine", "quant_config", "quant_algo")

    @property
    def block_option(self) -> KeyPath:
        """Where the spec gives the size of a cache block."""
        return ("engine", "kv_cache_config", "tokens_per_block")

    @property
    def block_tokens(self) -> int:
        return self.kv_cache_config.tokens_per_block

    @property
    def offloads(self) -> bool:
        """Whether it keeps blocks in host memory."""
        return False

    @property
    def shares_prefixes(self) -> bool:
        return self.kv_cache_config.enable_block_reuse

    @property
    def drafting(self) -> Drafting | None:
        options = self.speculative_config
        if options is None:
            return None
        field = ("engine", "speculative_config")
        heads: dict[str, Literal["none", "eagle", "mtp"]] = {"NGram": "none", "MTP": "mtp"}
        head = heads.get(options.decoding_type, "eagle")
        return Drafting(options, field, (*field, "decoding_type"), head, options.drafts, options.drafts)

    @property
    def graph_options(self) -> tuple[str, ...]:
        """Those that say which CUDA graphs are captured."""
        return ("cuda_graph_config",)
