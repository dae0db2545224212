"""vLLM's OffloadingConnector: what is stored on the host, and what is loaded from there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from .host import Host, HostConfig
from .state import RequestState


class Outside(Enum):
    LATER = "some of it is being copied"


@dataclass
class Offloaded:
    """What the host has of one request."""

    offered: int = 0
    """Blocks offered so far, or loaded."""
    used: set[int] = field(default_factory=set)
    """Of its blocks, those that count as used when it ends."""
    busy_until_ps: int = 0
    load: range = range(0)
    """The blocks it loads."""


class Connector:
    """Asked by the scheduler; the clock tells it when a decision is made, and when its pass ends."""

    def __init__(self, config: HostConfig, block_size: int) -> None:
        self._block_size = block_size
        self._drops_last_block = config.drops_last_block
        self.host = Host(config)
        self.requests: dict[int, Offloaded] = {}
        self.loading: dict[RequestState, int] = {}
        """When their loads end."""
        self.ended: list[RequestState] = []
        self.deferred_until_ps: list[int] = []
        """When requests may go on that this decision put off."""
        self.flushed_ps = 0

    def of(self, request: RequestState) -> Offloaded:
        return self.requests.setdefault(request.spec.index, Offloaded())

    def loaded(self, now_ps: int) -> list[RequestState]:
        """Requests whose loads have ended."""
        done = sorted((end_ps, request.spec.index) for request, end_ps in self.loading.items() if end_ps <= now_ps)
        indices = [index for _, index in done]
        found = [request for request in self.loading if request.spec.index in indices]
        for request in found:
            del self.loading[request]
            load = self.of(request).load
            self.host.release(request.keys[load.start : load.stop])
        return found

    def look(self, request: RequestState, local: int, now_ps: int) -> int | Outside:
        """How many blocks the host has after the `local` ones that the GPU has."""
        offloaded = self.of(request)
        if offloaded.busy_until_ps > now_ps:
            return self._put_off(offloaded.busy_until_ps)
        found = self.host.prefix(request.keys[local:])
        if any(block.ready_ps > now_ps for block in found):
            return self._put_off(max(block.ready_ps for block in found))
        if self._drops_last_block:
            found = found[:-1]
        if any(block.readers for block in found):
            return self._put_off(min(self.loading.values()))
        return len(found)

    def _put_off(self, until_ps: int) -> Outside:
        self.deferred_until_ps.append(until_ps)
        return Outside.LATER

    def start_load(self, request: RequestState, local: int, count: int, now_ps: int) -> None:
        offloaded = self.of(request)
        offloaded.load = range(local, local + count)
        offloaded.used.update(offloaded.load)
        offloaded.offered = local + count
        offloaded.busy_until_ps = self.host.load(request.keys[local : local + count], now_ps)
        self.loading[request] = offloaded.busy_until_ps

    def preempt(self, request: RequestState) -> None:
        """Its blocks are given away, so its copies are waited for."""
        self.flushed_ps = max(self.flushed_ps, self.of(request).busy_until_ps)

    def flush(self, start_ps: int) -> int:
        """How long a pass that starts at `start_ps` waits for the copies of those it preempted."""
        waits, self.flushed_ps = max(self.flushed_ps - start_ps, 0), 0
        return waits

    def after_schedule(self, scheduled: Iterable[RequestState], now_ps: int, end_ps: int) -> None:
        """A pass was decided; stores begin when it ends."""
        for request in scheduled:
            self._offer(request, min(request.computed, request.num_prompt), now_ps, end_ps)
        for request in self.ended:
            self._offer(request, request.num_prompt, now_ps, end_ps)
            self.host.use([request.keys[block] for block in sorted(self.of(request).used)])
            del self.requests[request.spec.index]
        self.ended.clear()

    def _offer(self, request: RequestState, tokens: int, now_ps: int, end_ps: int) -> None:
        offloaded, upto = self.of(request), tokens // self._block_size
        if upto <= offloaded.offered:
            return
        offered = range(offloaded.offered, upto)
        for block in offered:
            stored = self.host.blocks.get(request.keys[block])
            if stored is None or stored.ready_ps <= now_ps:
                offloaded.used.add(block)
        stored_ps = self.host.store(request.keys[offered.start : offered.stop], now_ps, end_ps)
        if stored_ps is not None:
            offloaded.offered = upto
            offloaded.busy_until_ps = max(offloaded.busy_until_ps, stored_ps)
