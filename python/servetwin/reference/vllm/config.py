"""A worker's options, and what differs between the engine's versions."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ServetwinError
from ..acceptance import Acceptance
from .host import HostConfig


@dataclass(frozen=True)
class VersionRules:
    """The scheduling rules on which two versions of vLLM differ."""

    long_prefill_cap_lifted_when_alone: bool
    """A request with no other beside it may use the whole token budget."""
    unhashed_blocks_reused_first: bool
    """Freed blocks that no prefix can hit go to the front of the free queue."""
    single_tokens_padded_with_drafts: bool
    """An admitted request with one token to compute gets rejected drafts, for a uniform batch."""
    lookahead_on_admission: bool
    """A request has slots for its drafting head from its first pass on."""
    every_victim_shifts_the_loop: bool
    """A victim ahead of the loop over running requests moves it back, scheduled or not."""


RULES = {
    "0.32": VersionRules(True, True, True, True, True),
    "0.19": VersionRules(False, False, False, False, False),
}
"""By version: 0.32.0 is recorded step by step; 0.19.0 is read from its source, not recorded."""


@dataclass(frozen=True)
class OtherGroups:
    """Groups of layers, all alike, that do not keep every token."""

    count: int
    window: int = 0
    """Tokens that a layer looks back, itself among them."""
    has_state: bool = False
    """Instead: it keeps one state, whatever the length."""
    come_first: bool = True
    """In the order of groups, before full attention: the first of the model's layers is one of theirs."""


@dataclass(frozen=True)
class EngineConfig:
    """vLLM's options, under the names of the run description.

    Raises ServetwinError for options that the version does not have or that are not modelled.
    """

    version: str = "0.32"
    max_num_seqs: int = 64
    max_num_batched_tokens: int = 2048
    max_model_len: int = 131072
    block_size: int = 16
    num_gpu_blocks: int = 4097
    """Of the whole pool; block 0 is never handed out."""
    enable_prefix_caching: bool = True
    enable_chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    """The most tokens a pass computes for one request; 0 for no such limit."""
    long_prefill_token_threshold_adaptive: bool = False
    scheduling_policy: str = "fcfs"
    watermark_blocks: int = 0
    """Blocks an admission leaves free while anything runs."""
    scheduler_reserve_full_isl: bool = True
    """Admit a request only if its whole prompt fits, not just its first chunk."""
    async_scheduling: bool = False
    num_speculative_tokens: int = 0
    acceptance: Acceptance | None = None
    num_lookahead_tokens: int = 0
    """Slots that a drafting head fills beyond the tokens of a pass."""
    eagle_block_drop: bool = False
    """The last block found in the cache is computed again: the head needs its hidden states."""
    num_speculative_tokens_per_batch_size: tuple[tuple[int, int], ...] = ()
    """Drafts by the number of requests in the pass before: from how many on, how many."""
    offload: HostConfig | None = None
    groups: OtherGroups | None = None
    """Beside that of full attention."""
    pipeline_parallel_size: int = 1
    """Stages, each with its share of the layers."""

    def __post_init__(self) -> None:
        if self.version not in RULES:
            raise ServetwinError(f"engine.version {self.version!r} is not known; known: {', '.join(RULES)}")
        if self.scheduling_policy not in ("fcfs", "priority"):
            raise ServetwinError(f"engine.scheduling_policy is {self.scheduling_policy!r}; use fcfs or priority")
        if self.version == "0.19":
            for option in ("watermark_blocks", "long_prefill_token_threshold_adaptive"):
                if getattr(self, option):
                    raise ServetwinError(f"engine.{option} does not exist in version 0.19")
        if self.num_speculative_tokens and self.acceptance is None:
            raise ServetwinError("engine.acceptance is needed with num_speculative_tokens")
        if self.offload and (self.version != "0.32" or not self.enable_prefix_caching):
            raise ServetwinError("offloading is modelled in version 0.32, with prefix caching")
        if self.groups is not None and (self.offload or self.pipeline_parallel_size > 1):
            raise ServetwinError("other groups are modelled without offloading and pipeline stages")
        if self.groups is not None and self.enable_prefix_caching and self.version != "0.32":
            raise ServetwinError("prefix caching beside other groups is modelled in version 0.32")
        if self.pipeline_parallel_size > 1 and (self.version != "0.32" or self.num_speculative_tokens or self.offload):
            raise ServetwinError("pipeline stages are modelled in version 0.32, without speculation and offloading")

    def drafts_after(self, requests: int) -> int:
        """Drafts of the next pass, after one of so many requests."""
        drafts = self.num_speculative_tokens
        for start, count in self.num_speculative_tokens_per_batch_size:
            if start <= requests:
                drafts = min(count, self.num_speculative_tokens)
        return drafts

    @property
    def rules(self) -> VersionRules:
        return RULES[self.version]
