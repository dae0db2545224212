"""The scheduler of vLLM V1: what goes into each pass, and what its outputs change.

There is no prefill or decode phase: a request has tokens, some of them computed, and every pass
computes more. Running requests come first, in order; if they all fit, waiting ones are admitted.
When blocks run out, a running request is preempted: it gives up all its blocks, and computes its
tokens again once it is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...errors import ServetwinError
from ..request import Request
from .config import EngineConfig
from .kv_cache import KvCache
from .offload import Connector, Outside
from .queues import make_queue
from .state import RequestState, Status


@dataclass
class Row:
    """One request's share of a pass."""

    request: RequestState
    tokens: int
    computed_before: int
    """Drafts of a pass still in flight included."""
    drafts: int = 0
    padded: bool = False
    """Its drafts are fillers that are always rejected."""
    samples: bool = False
    """The pass reaches its last token, so it gets an output."""
    decodes: bool = False
    """It computes nothing but its newest token and drafts."""


@dataclass
class Pass:
    """What one `schedule()` call decided."""

    budget: int
    """Tokens that may still be scheduled."""
    prefill_cap: int
    """The most tokens for one request; 0 for no limit."""
    rows: dict[int, Row] = field(default_factory=dict)
    """By request, in batch order."""
    new: list[int] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)
    preempted: list[int] = field(default_factory=list)
    blocks: dict[int, list[int]] = field(default_factory=dict)
    next_drafts: int = 0
    """Drafts that each of its rows will verify next."""
    has_prefill: bool = False
    """A running request in it was still prefilling after its pass before."""


@dataclass(frozen=True)
class Delivery:
    """Outputs of one request from one pass."""

    request: int
    tokens: int
    finished: bool


class Scheduler:
    """One worker's queue, batch and cache.

    `schedule` is called for each pass, `update` with what a pass sampled, in the same order.
    Under async scheduling the next pass is scheduled before the outputs of the one that runs
    are known: placeholders stand for them.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.cache = KvCache(config)
        self.requests: dict[int, RequestState] = {}
        self.running: list[RequestState] = []
        self.waiting = make_queue(config.scheduling_policy)
        self.holding = make_queue(config.scheduling_policy)
        """Requests that wait and hold blocks, loading or loaded: looked at first."""
        self.connector = None if config.offload is None else Connector(config.offload, config.block_size)
        self.calls = 0
        self.scheduled = 0
        self.processed = 0
        self.leaving: list[tuple[int, list[int]]] = []
        """Blocks of requests that have left, and the pass under way that may still write to them."""

    def add(self, request: Request, arrival_ps: int) -> None:
        state = RequestState(request, arrival_ps, list(request.prompt))
        self.cache.name_blocks(state)
        self.requests[request.index] = state
        self.waiting.add(state)

    @property
    def num_waiting(self) -> int:
        return len(self.holding) + len(self.waiting)

    def schedule(self, now_ps: int) -> Pass:
        self.calls += 1
        if self.cache.others is not None:
            self.cache.others.begin_pass()
        if self.connector is not None:
            self.connector.deferred_until_ps.clear()
            for request in self.connector.loaded(now_ps):
                self._take_loaded(request)
        plan = Pass(self.config.max_num_batched_tokens, self._prefill_cap())
        self._schedule_running(plan)
        if not plan.preempted:
            self._admit_waiting(plan, now_ps)
        plan.next_drafts = self.config.drafts_after(len(plan.rows))
        self._advance(plan)
        return plan

    def _take_loaded(self, request: RequestState) -> None:
        """What was loaded can be hit; the last token is computed again, for what comes after it."""
        request.status = Status.PREEMPTED if request.preemptions else Status.WAITING

    def _prefill_cap(self) -> int:
        """Keeps one long prompt from starving the others, so it is lifted if there are none."""
        config = self.config
        cap = config.long_prefill_token_threshold
        contenders = len(self.running) + self.num_waiting
        if contenders <= 1 and config.rules.long_prefill_cap_lifted_when_alone:
            return 0
        if cap and config.long_prefill_token_threshold_adaptive:
            return max(cap, config.max_num_batched_tokens // contenders)
        return cap

    # Running requests

    def _schedule_running(self, plan: Pass) -> None:
        index = 0
        while index < len(self.running) and plan.budget > 0:
            request = self.running[index]
            tokens = self._tokens_of_running(request, plan)
            if tokens <= 0:
                # Nothing to compute before outputs in flight arrive; others may go on.
                index += 1
                continue
            ahead = self.config.num_lookahead_tokens
            while (new := self.cache.grow(request, request.computed + tokens, ahead)) is None:
                victim = self._victim()
                if not self._gives_blocks(victim):
                    return
                index -= self._take_out(victim, index, plan)
                self._preempt(victim, plan)
                if victim is request:
                    return
            self._schedule_row(request, tokens, new, plan)
            index += 1

    def _tokens_of_running(self, request: RequestState, plan: Pass) -> int:
        certain_to_end = (
            request.placeholders > 0
            and request.computed + 2 - request.placeholders >= request.num_prompt + request.limit
        )
        if certain_to_end or self.calls < request.eligible:
            return 0
        tokens = len(request.tokens) + request.drafts + request.placeholders - request.computed
        if 0 < plan.prefill_cap < tokens:
            tokens = plan.prefill_cap
        tokens = min(tokens, plan.budget, self.config.max_model_len - request.computed - 1)
        return self._clipped(request, request.computed, tokens)

    def _clipped(self, request: RequestState, start: int, tokens: int) -> int:
        others = self.cache.others
        return tokens if others is None or tokens <= 0 else others.clip(request, start, tokens)

    def _victim(self) -> RequestState:
        """Fcfs: the last to have been admitted. Priority: the least urgent, ids not counting."""
        if self.config.scheduling_policy == "fcfs":
            return self.running[-1]
        return max(self.running, key=lambda r: (r.spec.priority, r.arrival_ps))

    def _gives_blocks(self, request: RequestState) -> bool:
        """Not while a pass under way may write to its blocks, where loads could as well."""
        return self.connector is None or request.last_pass <= self.processed

    def _take_out(self, victim: RequestState, index: int, plan: Pass) -> int:
        """Removes a victim from batch and pass; returns by how much the loop shifts back."""
        position = self.running.index(victim)
        del self.running[position]
        row = plan.rows.pop(victim.spec.index, None)
        if row is not None:
            plan.budget += row.tokens
            del plan.blocks[victim.spec.index]
        if self.config.rules.every_victim_shifts_the_loop:
            return int(position < index)
        return int(row is not None)

    def _preempt(self, victim: RequestState, plan: Pass) -> None:
        """Outputs in flight will still be delivered, but must not touch the counters again."""
        self.cache.free(victim)
        if self.connector is not None:
            self.connector.preempt(victim)
        victim.preemptions += 1
        victim.status = Status.PREEMPTED
        victim.computed = 0
        victim.drafts = 0
        victim.prefilling = False
        victim.stale = victim.in_flight
        victim.placeholders = 0
        self.waiting.put_back(victim)
        plan.preempted.append(victim.spec.index)

    def _schedule_row(self, request: RequestState, tokens: int, new: list[int], plan: Pass) -> None:
        beyond = request.computed + tokens - len(request.tokens) - request.placeholders
        row = Row(request, tokens, request.computed, drafts=min(max(beyond, 0), request.drafts))
        request.drafts = 0
        plan.rows[request.spec.index] = row
        plan.blocks[request.spec.index] = new
        plan.budget -= tokens
        plan.has_prefill |= request.prefilling

    # Waiting requests

    def _admit_waiting(self, plan: Pass, now_ps: int) -> None:
        """Admits from the head of the queue until one does not fit: nobody overtakes it."""
        beside_running = bool(plan.rows)
        set_aside: list[RequestState] = []
        still_held: list[RequestState] = []
        while plan.budget > 0 and len(self.running) < self.config.max_num_seqs:
            queue = self.holding if self.holding else self.waiting
            if not queue:
                break
            request = queue.peek()
            if request.status is Status.LOADING:
                still_held.append(queue.pop())
                continue
            if request.stale:
                # A token from before its preemption is on its way: resumed now, it would be
                # sampled twice.
                set_aside.append(queue.pop())
                continue
            if queue is self.holding:
                if not self._admit_loaded(request, beside_running, plan):
                    break
                continue
            hit = self.cache.find_prefix(request)
            outside = self.connector.look(request, len(hit), now_ps) if self.connector is not None else 0
            if outside is Outside.LATER:
                set_aside.append(queue.pop())
            elif outside:
                if not self._load(request, hit, outside, plan, now_ps):
                    break
                still_held.append(queue.pop())
            elif not self._admit(request, hit, beside_running, plan):
                break
        for request in reversed(still_held):
            self.holding.put_back(request)
        for request in reversed(set_aside):
            self.waiting.put_back(request)

    def _load(self, request: RequestState, hit: list[int], count: int, plan: Pass, now_ps: int) -> bool:
        """Gives a request blocks for what the host has of it, which it holds from now on."""
        assert self.connector is not None
        tokens = (len(hit) + count) * self.config.block_size
        spare = self._spare()
        if (
            self.config.scheduler_reserve_full_isl
            and self.cache.blocks_to_admit(request, hit, len(request.tokens)) > spare
        ):
            return False
        drafts = self.config.num_speculative_tokens
        verified = 1 + drafts + self.config.num_lookahead_tokens if drafts else 0
        promised = sum(self.cache.missing(other, len(other.tokens) + verified) for other in self._in_prompts(plan))
        promised += -(-verified // self.config.block_size)
        if self.cache.blocks_to_admit(request, hit, tokens) > spare - promised:
            return False
        self.cache.admit_loading(request, hit, tokens)
        request.status = Status.LOADING
        request.computed = tokens
        self.connector.start_load(request, len(hit), count, now_ps)
        return True

    def _in_prompts(self, plan: Pass) -> list[RequestState]:
        """Requests in the middle of their prompts, those that load or have loaded among them."""
        held = [request for request in self.requests.values() if request.blocks and request not in self.running]
        rows = (plan.rows[index] for index in (*plan.new, *plan.resumed))
        going_on = [row.request for row in rows if row.computed_before + row.tokens < len(row.request.tokens)]
        return held + [request for request in self.running if request.prefilling or request in going_on]

    def _admit_loaded(self, request: RequestState, beside_running: bool, plan: Pass) -> bool:
        self.cache.store(request, request.computed)
        request.computed = min(request.computed, len(request.tokens) - 1)
        admitted = self._admit(request, None, beside_running, plan)
        request.prefilling |= admitted  # vLLM counts it among those that load until the pass is decided
        return admitted

    def _admit(self, request: RequestState, hit: list[int] | None, beside_running: bool, plan: Pass) -> bool:
        """`hit`: what it has on the GPU; None if it holds blocks for what it has."""
        config = self.config
        computed = request.computed if hit is None else len(hit) * config.block_size
        row = Row(request, len(request.tokens) - computed, computed)
        if self._is_padded(row, beside_running, plan):
            row.padded = True
            row.drafts = config.num_speculative_tokens
            row.tokens = 1 + row.drafts
            if row.tokens > plan.budget:
                return False
        if 0 < plan.prefill_cap < row.tokens:
            row.tokens = plan.prefill_cap
        if not config.enable_chunked_prefill and row.tokens > plan.budget:
            return False
        row.tokens = self._clipped(request, computed, min(row.tokens, plan.budget))
        if row.tokens == 0 or not self._fits(row, hit):
            return False
        if row.padded and row.tokens <= row.drafts:
            raise ServetwinError(
                f"engine.long_prefill_token_threshold ({plan.prefill_cap} in this pass) is below "
                f"1 + num_speculative_tokens ({1 + row.drafts}): vLLM fails here"
            )

        if hit is None:
            self.holding.pop()
            self.cache.grow(request, computed + row.tokens, self._ahead_on_admission())
        else:
            self.waiting.pop()
            self.cache.admit(request, hit, computed + row.tokens, self._ahead_on_admission())
        resumed = request.status is Status.PREEMPTED
        (plan.resumed if resumed else plan.new).append(request.spec.index)
        request.status = Status.RUNNING
        request.computed = computed
        self.running.append(request)
        plan.rows[request.spec.index] = row
        plan.blocks[request.spec.index] = list(request.blocks)
        plan.budget -= row.tokens
        return True

    def _is_padded(self, row: Row, beside_running: bool, plan: Pass) -> bool:
        """Beside rows that verify drafts, a single token is padded to the same shape."""
        config = self.config
        return (
            config.num_speculative_tokens > 0
            and config.rules.single_tokens_padded_with_drafts
            and not config.num_speculative_tokens_per_batch_size
            and row.tokens == 1
            and not plan.has_prefill
            and (beside_running or row.computed_before > 0)
            and row.computed_before + config.num_speculative_tokens + 2 <= config.max_model_len
        )

    def _fits(self, row: Row, hit: list[int] | None) -> bool:
        """The check of the whole prompt reserves nothing: later admissions may use its blocks."""
        config = self.config
        spare, request = self._spare(), row.request

        def needed(tokens: int, ahead: int = 0, *, whole: bool = False) -> int:
            if hit is None:
                return self.cache.missing(request, tokens + ahead)
            return self.cache.blocks_to_admit(request, hit, tokens, ahead, whole=whole)

        if config.scheduler_reserve_full_isl and needed(len(request.tokens), whole=True) > spare:
            return False
        return needed(row.computed_before + row.tokens, self._ahead_on_admission()) <= spare

    def _spare(self) -> int:
        return self.cache.pool.num_free - (self.config.watermark_blocks if self.running else 0)

    def _ahead_on_admission(self) -> int:
        return self.config.num_lookahead_tokens if self.config.rules.lookahead_on_admission else 0

    # After the pass is decided, and after it has run

    def _advance(self, plan: Pass) -> None:
        self.scheduled += bool(plan.rows)
        for row in plan.rows.values():
            request = row.request
            known = len(request.tokens) + request.placeholders
            outputs = known - request.num_prompt
            row.decodes = outputs > 0 and row.computed_before >= known - 1
            request.computed += row.tokens
            request.in_flight += row.tokens
            request.last_pass = self.scheduled
            request.prefilling = request.computed < known
            row.samples = not request.prefilling
            if row.samples and self.config.async_scheduling:
                # Its drafts count as accepted until its outputs are known; the next ones stay on the GPU.
                request.placeholders += 1 + row.drafts
                request.drafts = plan.next_drafts
                request.eligible = self.calls + self.config.pipeline_parallel_size

    def update(self, plan: Pass, accepted: Mapping[int, int]) -> list[Delivery]:
        """Processes a pass that has run; `accepted` counts the drafts accepted, by request.

        A request that stops frees its blocks at once, in row order.
        """
        self.processed += bool(plan.rows)
        while self.leaving and self.leaving[0][0] <= self.processed:
            self.cache.pool.release(self.leaving.pop(0)[1])
        deliveries = []
        for index, row in plan.rows.items():
            request = row.request
            request.in_flight -= row.tokens
            stale = request.stale > 0
            if stale:
                request.stale -= row.tokens
            if request.status is Status.FINISHED or not row.samples:
                # Finished: it stopped early, when this pass had been scheduled already.
                continue
            sampled = 1 + accepted.get(index, 0)
            rejected = 1 + row.drafts - sampled
            if not stale:
                request.computed -= rejected
            delivered, finished = self._append_outputs(request, sampled)
            if self.config.async_scheduling and not stale:
                request.placeholders -= rejected + delivered
            if self.config.async_scheduling and request.status is Status.RUNNING:
                self.cache.store(request, request.computed - request.placeholders)
            if finished:
                self._finish(request)
            elif not self.config.async_scheduling:
                request.drafts = plan.next_drafts
            deliveries.append(Delivery(index, delivered, finished))
        return deliveries

    def _append_outputs(self, request: RequestState, sampled: int) -> tuple[int, bool]:
        """Returns how many tokens were delivered, and whether the request is done."""
        delivered = 0
        while delivered < sampled and not self._is_done(request):
            request.tokens.append(request.spec.outputs[request.num_outputs])
            delivered += 1
        self.cache.name_blocks(request)
        return delivered, self._is_done(request)

    def _is_done(self, request: RequestState) -> bool:
        outputs = request.num_outputs
        full = outputs > 0 and len(request.tokens) >= self.config.max_model_len
        return full or outputs >= min(request.limit, len(request.spec.outputs))

    def _finish(self, request: RequestState) -> None:
        """A preempted request can be ended by a late token while it waits."""
        if request.status is Status.RUNNING:
            self.running.remove(request)
        else:
            self.waiting.remove(request)
        request.status = Status.FINISHED
        if self.connector is not None:
            self.connector.ended.append(request)
        if self._gives_blocks(request):
            self.cache.free(request)
        else:
            self.leaving.append((request.last_pass, self.cache.take_away(request)))
        del self.requests[request.spec.index]
