"""The two orders in which requests wait."""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import Protocol

from .state import RequestState


class WaitingQueue(Protocol):
    """Requests that wait to be admitted. All methods but `peek` and `in_order` mutate."""

    def __len__(self) -> int: ...

    def add(self, request: RequestState) -> None:
        """A new arrival."""

    def put_back(self, request: RequestState) -> None:
        """A preempted request, or one that was set aside."""

    def peek(self) -> RequestState: ...

    def pop(self) -> RequestState: ...

    def remove(self, request: RequestState) -> None: ...

    def in_order(self) -> list[RequestState]: ...


class FcfsQueue:
    """First come, first served; whatever is put back goes to the front."""

    def __init__(self) -> None:
        self._requests: deque[RequestState] = deque()

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: RequestState) -> None:
        self._requests.append(request)

    def put_back(self, request: RequestState) -> None:
        self._requests.appendleft(request)

    def peek(self) -> RequestState:
        return self._requests[0]

    def pop(self) -> RequestState:
        return self._requests.popleft()

    def remove(self, request: RequestState) -> None:
        self._requests.remove(request)

    def in_order(self) -> list[RequestState]:
        return list(self._requests)


class PriorityQueue:
    """By (priority, arrival, id as a string), smallest first; there is no front to go to."""

    def __init__(self) -> None:
        self._requests: list[RequestState] = []

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, request: RequestState) -> None:
        insort(self._requests, request, key=urgency)

    def put_back(self, request: RequestState) -> None:
        self.add(request)

    def peek(self) -> RequestState:
        return self._requests[0]

    def pop(self) -> RequestState:
        return self._requests.pop(0)

    def remove(self, request: RequestState) -> None:
        self._requests.remove(request)

    def in_order(self) -> list[RequestState]:
        return list(self._requests)


def urgency(request: RequestState) -> tuple[int, int, int]:
    spec = request.spec
    return spec.priority, request.arrival_ps, spec.id_rank


def make_queue(policy: str) -> WaitingQueue:
    return PriorityQueue() if policy == "priority" else FcfsQueue()
