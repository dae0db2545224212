"""The scheduler of TensorRT-LLM's PyTorch backend: what goes into each pass, and what its outputs change.

Requests come in two phases: *context*, until the prompt is computed, and *generation*, a token a pass. The capacity
scheduler says who may hold blocks; the micro-batch scheduler shares the token budget among them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ..request import Request
from .capacity import guaranteed_no_evict, max_utilization, static_batch
from .config import EngineConfig
from .kv_cache import KvCache
from .state import RequestState


@dataclass
class Row:
    """One request's share of a pass."""

    request: RequestState
    tokens: int
    computed_before: int
    decodes: bool

    @property
    def samples(self) -> bool:
        """Whether the pass reaches its last token, so that it gets an output."""
        return self.decodes or self.computed_before + self.tokens == len(self.request.tokens)


@dataclass
class Pass:
    rows: list[Row] = field(default_factory=list)
    """In the order of arrival."""
    new: list[RequestState] = field(default_factory=list)
    resumed: list[RequestState] = field(default_factory=list)
    paused: list[RequestState] = field(default_factory=list)
    drafts: int = 0
    """That each generation verifies."""


class Scheduler:
    """One worker's queue, batch and cache."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.cache = KvCache(config)
        self.queue: deque[RequestState] = deque()
        self.active: list[RequestState] = []
        """At most max_batch_size for each stage, in the order of arrival: started, paused and not yet started."""
        self.waited_iters = 0

    def add(self, request: Request) -> None:
        limit = max(1, min(max(1, request.max_output_tokens), self.config.max_seq_len - len(request.prompt)))
        state = RequestState(request, limit, list(request.prompt))
        self.cache.name_blocks(state)
        self.queue.append(state)

    def schedule(self) -> Pass:
        while self.queue and len(self.active) < self.config.max_batch_size * self.config.pp_size:
            self.active.append(self.queue.popleft())
        plan = Pass(drafts=self.config.drafts_for(len(self.active)))
        contexts, generations = self._micro_batch(self._fitting(plan), plan.drafts)
        if contexts and generations and self._waits(contexts, len(generations) * (1 + plan.drafts)):
            contexts = []
        for request in contexts:
            if not request.started:
                (plan.resumed if request.paused_before else plan.new).append(request)
                self.cache.start(request)
            tokens = min(request.chunk, len(request.tokens) - request.computed)
            plan.rows.append(Row(request, tokens, request.computed, decodes=False))
        for request in generations:
            self.cache.grow(request, plan.drafts)
            plan.rows.append(Row(request, 1 + plan.drafts, request.computed, decodes=True))
        for row in plan.rows:
            row.request.computed += row.tokens
        plan.rows.sort(key=lambda row: self.active.index(row.request))
        return plan

    # Capacity

    def _fitting(self, plan: Pass) -> list[RequestState]:
        match self.config.capacity_scheduler_policy:
            case "GUARANTEED_NO_EVICT":
                return guaranteed_no_evict(self.cache, self.active)
            case "STATIC_BATCH":
                return static_batch(self.cache, self.active)
            case "MAX_UTILIZATION":
                return max_utilization(self.cache, self.active, lambda request: self._pause(request, plan))

    def _pause(self, request: RequestState, plan: Pass) -> None:
        """It gives up its blocks; its tokens so far become its context."""
        self.cache.free(request)
        request.computed = 0
        request.generating = False
        request.paused_before = True
        plan.paused.append(request)

    # Tokens

    def _micro_batch(
        self, fitting: Sequence[RequestState], drafts: int
    ) -> tuple[list[RequestState], list[RequestState]]:
        """Contexts, with their chunks, and generations (batch_manager/microBatchScheduler.cpp)."""
        contexts: list[RequestState] = []
        generations: list[RequestState] = []
        budget = self.config.max_num_tokens
        for request in fitting:
            if request.in_flight:
                continue
            if len(contexts) + len(generations) == self.config.max_batch_size:
                break
            request.chunk = 1 + drafts if request.generating else len(request.tokens) - request.computed
            if request.generating or not self.config.enable_chunked_prefill:
                if request.chunk > budget:
                    break
                budget -= request.chunk
            (generations if request.generating else contexts).append(request)
        if self.config.enable_chunked_prefill and sum(request.chunk for request in contexts) > budget:
            self._chunk(contexts, budget)
        return [request for request in contexts if request.chunk > 0], generations

    def _chunk(self, contexts: Sequence[RequestState], budget: int) -> None:
        """Chunks end on whole blocks, but for a context's last."""
        unit = self.config.tokens_per_block
        remaining = {request: len(request.tokens) - request.computed for request in contexts}
        if self.config.context_chunking_policy == "FIRST_COME_FIRST_SERVED":
            for request in contexts:
                request.chunk = min(remaining[request], budget)
                if request.chunk < remaining[request]:
                    request.chunk = request.chunk // unit * unit
                budget -= request.chunk
            return
        for request in contexts:
            request.chunk = 0
        progress = True
        while budget > 0 and progress:
            progress = False
            for request in contexts:
                more = min(unit, remaining[request] - request.chunk)
                if 0 < more <= budget:
                    request.chunk += more
                    budget -= more
                    progress = True

    def _waits(self, contexts: Sequence[RequestState], generated: int) -> bool:
        """Holds contexts back while there are few of them (PyExecutor._waiting_requests)."""
        config = self.config
        if config.batch_wait_timeout_iters == 0:
            return False
        tokens = sum(len(request.tokens) for request in contexts) + generated
        if self.waited_iters >= config.batch_wait_timeout_iters or tokens >= config.batch_wait_tokens:
            self.waited_iters = 0
            return False
        self.waited_iters += 1
        return True

    # Outputs

    def update(self, plan: Pass) -> list[tuple[RequestState, int]]:
        """Takes in a pass's outputs; returns the requests that got any, in order, and how many."""
        for row in plan.rows:
            row.request.in_flight = False
        deliveries: list[tuple[RequestState, int]] = []
        sampled = [row for row in plan.rows if row.samples]
        for row in sampled:
            if not row.decodes:
                self.cache.store(row.request)
                row.request.generating = True
        for row in sampled:
            request = row.request
            outputs = request.spec.outputs
            given = min(1 + self._accepted(row, plan), request.target - request.num_outputs)
            for _ in range(given):
                request.tokens.append(outputs[request.num_outputs] if outputs else -1)
            request.computed = len(request.tokens) - 1
            deliveries.append((request, given))
            self.cache.name_blocks(request)
            if request.num_outputs >= request.target:
                request.finished = True
                self.cache.free(request)
                self.active.remove(request)
        return deliveries

    def _accepted(self, row: Row, plan: Pass) -> int:
        """Drafts, of those it verified in this pass."""
        if self.config.acceptance is None or not plan.drafts or not row.decodes:
            return 0
        ordinal = row.request.verified
        row.request.verified += 1
        return self.config.acceptance.accepted(row.request.spec.index, ordinal, plan.drafts)
