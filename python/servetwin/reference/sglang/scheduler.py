"""SGLang's scheduler: what goes into each pass, and what its outputs change.

A pass is a prefill or a decode. Prefill comes first: as long as waiting requests fit, none that
runs gets a token, unless decodes are mixed into prefills. A prompt too long for one pass is
chunked, one at a time. When decodes run out of memory, requests are retracted: they give up their
KV and wait again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..request import Request
from .admission import Admission, Verdict
from .config import EngineConfig
from .kv_cache import KvCache
from .new_token_ratio import RETRACT_DECODE_STEPS, NewTokenRatio
from .preemption import choose_victims
from .queue import WaitingQueue
from .state import RequestState


@dataclass
class Pass:
    """What one turn of the scheduler's loop decided; no pass, if it has no rows."""

    prefills: list[RequestState] = field(default_factory=list)
    decodes: list[RequestState] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    """Of each of these, tokens with KV before the pass."""
    given: list[int] = field(default_factory=list)
    """And tokens that come of it."""
    chunked: RequestState | None = None
    """The prefill that goes on in the next pass."""
    retracted: list[RequestState] = field(default_factory=list)
    preempted: list[RequestState] = field(default_factory=list)
    aborted: list[RequestState] = field(default_factory=list)

    @property
    def rows(self) -> list[RequestState]:
        """In batch order."""
        return self.prefills + self.decodes

    @property
    def kind(self) -> str:
        """E(xtend), D(ecode), M(ixed), or - for no pass."""
        if self.prefills:
            return "M" if self.decodes else "E"
        return "D" if self.decodes else "-"


class Scheduler:
    """One worker's queue, batch and cache.

    `schedule` is called for each pass, `update` once it has run, `idle` if there was none to run.
    In the overlap loop the next pass is scheduled before the outputs of the one that runs are known.
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.cache = KvCache(config)
        self.ratio = NewTokenRatio(config.schedule_conservativeness)
        self.waiting = WaitingQueue(config, self.cache)
        self.running: list[RequestState] = []
        """Those that decode; what a pass prefills joins them when the next pass is decided."""
        self.is_full = False
        """Nothing more fits: no prefill is tried until a running request leaves."""
        self.chunked: RequestState | None = None
        self.last = Pass()

    @property
    def has_requests(self) -> bool:
        """Whether anything waits or runs, once the last pass's requests have been merged."""
        return bool(self.waiting or self.running or self.chunked)

    def add(self, request: Request) -> None:
        """Outputs that could never fit are cut off; a prompt that could not is aborted."""
        config = self.config
        prompt = list(request.prompt)
        limit = min(
            request.max_output_tokens,
            config.max_request_tokens - len(prompt) - 1,
            config.max_total_tokens - config.ceil_page(len(prompt)) - config.page_size - 1,
        )
        aborted = len(prompt) >= config.max_prompt_tokens
        self.waiting.add(
            RequestState(
                spec=request,
                tokens=[0] if aborted else prompt,
                num_prompt=1 if aborted else len(prompt),
                max_new_tokens=max(limit, 0),
                ignore_eos=config.ignore_eos,
                aborted=aborted,
            )
        )

    def schedule(self) -> Pass:
        plan = Pass()
        self._merge(self.last)
        self._prefill(plan)
        if not plan.prefills and self.running:
            self._decode(plan)
        self.last = plan
        return plan

    def idle(self) -> None:
        if not self.has_requests:
            self.ratio.reset()

    def _merge(self, last: Pass) -> None:
        """What was prefilled runs from now on, but for what is chunked or has finished."""
        if self.chunked is not None and self.chunked.extend_end > self.chunked.prefix:
            self._checkpoint(self.chunked)
        if last.prefills:
            joining = [r for r in last.rows if not r.finished and r is not last.chunked]
            if len(joining) < len(last.rows) or (joining and not self.running):
                self.is_full = False
            self.running = self.running + joining
        staying = [r for r in self.running if not r.finished]
        if len(staying) < len(self.running):
            self.is_full = False
        self.running = staying

    # Prefill

    def _prefill(self, plan: Pass) -> None:
        if self.config.preempts or not self.running:
            self.is_full = False
        if self.chunked is None:
            if self.is_full or not self.waiting:
                return
            if self._free_rows([]) <= 0 and not self.config.preempts:
                self.is_full = True
                return
        self.waiting.sort()
        admission = Admission(self.config, self.cache, self.running, self.ratio.current)
        if self.chunked is not None:
            self.chunked.tried_tokens = len(self.chunked.tokens)
            self.chunked = admission.continue_chunked(self.chunked)
        self._admit_waiting(admission, plan)
        self.waiting.drop(admission.admitted)
        for request in plan.preempted:
            self.waiting.add(request)
        if not admission.admitted:
            return
        if admission.chunked is not None:
            self.chunked = admission.chunked
        self.cache.extend(admission.admitted)
        for request in admission.admitted:
            request.retracted = False
        plan.prefills = admission.admitted
        plan.chunked = self.chunked
        if self.config.mixes:
            self._mix(plan)

    def _admit_waiting(self, admission: Admission, plan: Pass) -> None:
        """From the head of the queue, until one does not fit: nobody overtakes it."""
        for request in self.waiting:
            if admission.verdict is Verdict.OTHER:
                return
            if len(admission.admitted) >= self._free_rows(admission.admitted):
                self.is_full = True
            if self.is_full and not self._preempt_for(request, admission, plan):
                return
            request.tried_tokens = len(request.tokens)
            self.cache.match_for_prefill(request)
            verdict = admission.admit(request)
            if verdict is Verdict.NO_TOKEN:
                self.is_full = bool(admission.admitted or self.running)
            if verdict is not Verdict.CONTINUE:
                return

    def _free_rows(self, admitted: list[RequestState]) -> int:
        """How many more may run; the chunked request has its row already."""
        held = sum(request.holds_row for request in admitted)
        return min(self.config.max_batch_requests - len(self.running), self.cache.free_rows + held)

    def _preempt_for(self, request: RequestState, admission: Admission, plan: Pass) -> bool:
        """Takes less urgent requests out of the running batch, if that makes room."""
        if not self.config.preempts:
            return False
        victims = choose_victims(self.config, request, self.running, admission)
        for victim in [r for r in self.running if r in victims]:
            admission.give_up(victim)
            self.running.remove(victim)
            self._retract(victim, len(self.running))
            plan.preempted.append(victim)
        return bool(victims)

    def _mix(self, plan: Pass) -> None:
        """Decodes join the prefill: all, or none if they lack memory."""
        self._drop_ending()
        if not self.running or not self.cache.fits_decode(self.running):
            return
        self._take_decodes(plan)
        for request in self.running:
            request.tried_tokens = len(request.tokens)
        self.running = []

    # Decode

    def _decode(self, plan: Pass) -> None:
        some_end = self._drop_ending()
        if not self.running:
            return
        if self.cache.fits_decode(self.running):
            self.ratio.decay()
        elif some_end:
            # Their slots come free with their last token: nobody is retracted, nobody decodes.
            return
        else:
            plan.retracted = self._retract_some(plan)
            self.is_full = False
            self.ratio.retracted(self.running)
            for request in plan.retracted:
                self.waiting.add(request)
        if self.running:
            self._take_decodes(plan)

    def _take_decodes(self, plan: Pass) -> None:
        """All that run, and what will come of their drafts, which only the device knows so far."""
        plan.decodes = self.running
        plan.stored = [r.device_tokens if self.config.drafts else r.kv_tokens for r in self.running]
        self.cache.decode(self.running)
        plan.given = [1 + self._accepted(request) for request in self.running]
        for request, given in zip(self.running, plan.given, strict=True):
            request.device_tokens += given

    def _drop_ending(self) -> bool:
        """Overlap: takes those out whose last token, by their limit, is on its way."""
        if self.config.disable_overlap_schedule:
            return False
        ending = [r for r in self.last.rows if r.num_outputs + 1 >= r.max_new_tokens]
        staying = [r for r in self.running if r not in ending]
        some_end = len(staying) < len(self.running)
        if some_end:
            self.is_full = False
        self.running = staying
        return some_end

    def _retract_some(self, plan: Pass) -> list[RequestState]:
        """At least one goes, those with the fewest outputs, then the longest prompts, first.

        The batch keeps the order in which they would have gone.
        """
        self.running = sorted(self.running, key=lambda r: (r.num_outputs, -r.num_prompt), reverse=True)
        retracted: list[RequestState] = []
        while len(self.running) > 1:
            victim = self.running.pop()
            self._retract(victim, len(self.running))
            retracted.append(victim)
            if self.cache.fits_decode(self.running):
                return retracted
        self._abort_last(plan)
        return retracted

    def _abort_last(self, plan: Pass) -> None:
        """Not even the last of the batch fits: others hold what it needs (`retract_decode` in schedule_batch.py)."""
        request = self.running.pop()
        self.cache.release(request)
        request.finished = True
        plan.aborted.append(request)

    def _retract(self, request: RequestState, left: int) -> None:
        """Its KV is freed, not stored, and more is evicted, for those that are left."""
        request.retracted = True
        self.cache.release(request)
        self.cache.make_room(RETRACT_DECODE_STEPS * left)

    # After a pass has run

    def update(self, plan: Pass) -> list[RequestState]:
        """Every row gets its token, or tokens, but for the prompt that goes on. Returns those that got one.

        Overlap: neither do those that have ended or been retracted since the pass was decided.
        """
        served = [r for r in plan.rows if r is not plan.chunked and not r.finished and not r.retracted]
        given = dict(zip(map(id, plan.decodes), plan.given, strict=True))
        for request in served:
            for _ in range(given.get(id(request), 1)):
                self._append_output(request)
            if self.config.drafts and id(request) in given:
                request.kv_tokens = len(request.tokens) - 1
            if request.finished:
                self.cache.store(request, request.kv_tokens)
                self.cache.release(request)
            elif request in plan.prefills:
                self._checkpoint(request)
        return served

    def _accepted(self, request: RequestState) -> int:
        """Drafts, of those it verifies next."""
        if self.config.acceptance is None:
            return 0
        ordinal = request.verified
        request.verified += 1
        return self.config.acceptance.accepted(request.spec.index, ordinal, self.config.drafts)

    def _append_output(self, request: RequestState) -> None:
        """Nothing to one that has them all."""
        if request.finished:
            return
        outputs = request.spec.outputs
        # Even a request that asks for no output gets a token, one that nobody else has.
        own = -1 - request.spec.index
        request.tokens.append(outputs[request.num_outputs] if request.num_outputs < len(outputs) else own)
        limit = min(request.max_new_tokens, len(outputs))
        request.finished = request.aborted or request.num_outputs >= limit

    def _checkpoint(self, request: RequestState) -> None:
        self.cache.store(request, request.extend_end)
        request.prefix = request.extend_end
