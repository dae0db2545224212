"""A worker's options, under SGLang's own names (its `ServerArgs`)."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ServetwinError
from ..acceptance import Acceptance, Cycle

POLICIES = ("fcfs", "lpm")


@dataclass(frozen=True)
class Channel:
    """One direction between device and host, of one GPU."""

    bytes_per_s: int
    latency_ps: int


@dataclass(frozen=True)
class HiCacheConfig:
    """`--enable-hierarchical-cache`, with its pool's size and its speeds made out."""

    write_policy: str
    tokens: int
    """Size of the pool on the host, in whole pages."""
    layers: int
    token_bytes: int
    load: Channel
    """From the host to the device."""
    store: Channel


@dataclass(frozen=True)
class EngineConfig:
    """SGLang 0.5.23's options. Raises ServetwinError for what it refuses or what is not modelled."""

    page_size: int = 1
    max_total_tokens: int = 4096
    """KV slots of the pool: whole pages, all of them usable."""
    max_running_requests: int = 64
    context_length: int = 131072
    chunked_prefill_size: int | None = 512
    """The most tokens one pass prefills; None for no chunking (SGLang's -1)."""
    max_prefill_tokens: int = 16384
    enable_mixed_chunk: bool = False
    schedule_policy: str = "fcfs"
    schedule_conservativeness: float = 1.0
    disable_radix_cache: bool = False
    enable_priority_scheduling: bool = False
    disable_priority_preemption: bool = False
    schedule_low_priority_values_first: bool = False
    priority_scheduling_preemption_threshold: int = 10
    disable_overlap_schedule: bool = True
    """False, as is SGLang's default: a pass is decided while the one before runs."""
    ignore_eos: bool = True
    """Whether requests say that they will use all their output tokens: a request's property in
    SGLang, that of all requests here."""
    hicache: HiCacheConfig | None = None
    speculative_num_draft_tokens: int = 0
    """Tokens of a request in a verifying pass: the drafts, and one more. 0: no speculation."""
    acceptance: Acceptance | None = None
    decode_reserve_tokens: int = 0
    """Tokens beyond those with KV for which a request holds pages while it decodes."""
    pp_size: int = 1
    """Stages, and as many micro-batches. More than one run without overlap, HiCache and drafts."""
    pp_max_micro_batch_size: int | None = None
    """Requests of a micro-batch; None for its share of `max_running_requests`."""

    def __post_init__(self) -> None:
        if self.schedule_policy not in POLICIES:
            raise refused("schedule_policy", self.schedule_policy, " or ".join(POLICIES))
        if self.enable_priority_scheduling and self.schedule_policy != "fcfs":
            raise refused("schedule_policy", self.schedule_policy, "fcfs, with enable_priority_scheduling")
        if self.max_total_tokens % self.page_size:
            raise refused("max_total_tokens", self.max_total_tokens, f"whole pages of {self.page_size}")
        if self.chunked_prefill_size is not None and self.chunked_prefill_size % self.page_size:
            raise refused("chunked_prefill_size", self.chunked_prefill_size, f"whole pages of {self.page_size}")
        if not 1 <= self.max_running_requests <= self.max_total_tokens // 2:
            wanted = f"from 1 to half of max_total_tokens ({self.max_total_tokens // 2})"
            raise refused("max_running_requests", self.max_running_requests, wanted)
        if self.pp_size > 1 and not (self.disable_overlap_schedule and self.hicache is None and not self.drafts):
            raise refused("pp_size", self.pp_size, "1, or neither overlap nor HiCache nor drafts")
        if self.pp_max_micro_batch_size is not None and not (self.pp_size > 1 and self.pp_max_micro_batch_size >= 1):
            raise refused("pp_max_micro_batch_size", self.pp_max_micro_batch_size, "at least 1, in several stages")
        if self.drafts and (self.acceptance is None or isinstance(self.acceptance, Cycle)):
            raise refused("acceptance", self.acceptance, "a table of outcomes")
        if self.drafts and self.mixes:
            raise refused("speculative_num_draft_tokens", self.speculative_num_draft_tokens, "passes that mix nothing")

    @property
    def drafts(self) -> int:
        """That each request verifies in a pass."""
        return max(self.speculative_num_draft_tokens - 1, 0)

    @property
    def mixes(self) -> bool:
        """Whether decodes join a prefill."""
        return self.enable_mixed_chunk and self.chunked_prefill_size is not None

    @property
    def preempts(self) -> bool:
        """Whether a more urgent request may push others out."""
        return self.enable_priority_scheduling and not self.disable_priority_preemption

    @property
    def max_batch_requests(self) -> int:
        """The most in a running batch: of several micro-batches each has its own."""
        if self.pp_max_micro_batch_size is not None:
            return self.pp_max_micro_batch_size
        return max(self.max_running_requests // self.pp_size, 1)

    @property
    def max_request_tokens(self) -> int:
        return min(self.context_length, self.max_total_tokens) - 1

    @property
    def max_prompt_tokens(self) -> int:
        """A prompt this long or longer is aborted; SGLang keeps five tokens in reserve."""
        return self.max_request_tokens - 5

    def ceil_page(self, tokens: int) -> int:
        return -(-tokens // self.page_size) * self.page_size

    def floor_page(self, tokens: int) -> int:
        return tokens // self.page_size * self.page_size


def refused(option: str, found: object, wanted: str) -> ServetwinError:
    return ServetwinError(f"engine.{option} is {found!r}; use {wanted}")
