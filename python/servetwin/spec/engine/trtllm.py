"""The options of TensorRT-LLM's PyTorch backend that its scheduler reads, under the names of its LLM arguments.

They are what `trtllm-serve --config` reads from YAML, nested alike. A default of None stands for one that depends on
the model or the GPU; `catalog.trtllm` fills it in.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ..base import Count, CountOrZero, PositiveShare, Share, SpecModel
from ..lines import KeyPath
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
    def graph_options(self) -> tuple[str, ...]:
        """Those that say which CUDA graphs are captured."""
        return ("cuda_graph_config",)
