"""The suite for authors of routers finds what is wrong with one, and nothing in those that come along."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from servetwin import Choice, ReplicaView, RouterRequest
from servetwin.policy import LeastRequests, RoundRobin, load_router
from servetwin.spec import load_spec
from servetwin.testing import RouterConformance, check_router


class TestLeastRequests(RouterConformance):
    make_router = LeastRequests


class TestRoundRobin(RouterConformance):
    make_router = RoundRobin


def test_the_examples_pass(examples: Path) -> None:
    spec = load_spec(examples / "custom_router.yaml")
    check_router(type(load_router(spec, spec.router)))  # type: ignore[arg-type]


class CountsItself:
    """The fewest tokens it has sent and not seen come back, and the most of the prompt in the cache."""

    reads_cache = True

    def __init__(self) -> None:
        self.prompts: dict[int, int] = {}
        self.load: dict[int, int] = {}

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Choice:
        best = min(replicas, key=lambda view: self.load.get(view.index, 0) - request.cached_tokens[view.index])
        self.prompts[request.index] = request.input_tokens
        self.load[best.index] = self.load.get(best.index, 0) + request.input_tokens
        return Choice(best.index, "fewest tokens")

    def first_token(self, request: int, replica: int, time_ps: int) -> None:
        assert request in self.prompts

    def ended(self, request: int, replica: int, time_ps: int) -> None:
        self.load[replica] -= self.prompts.pop(request)


def test_a_router_with_every_hook_passes() -> None:
    check_router(CountsItself)


class Draws:
    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        return random.randrange(len(replicas))


class Shares:
    turns: ClassVar[list[int]] = []

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        self.turns.append(0)
        return len(self.turns) % 7 % len(replicas)


class Wants:
    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        return max(range(len(replicas)), key=lambda index: request.cached_tokens[index])


class Forgets:
    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        return 0

    def ended(self, request: int, replica: int, time_ps: int) -> None:
        raise LookupError("nobody knows")


class Changes:
    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        replicas[0].waiting += 1  # type: ignore[misc]
        return 0


class OfTwo:
    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        return 1


class Present:
    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> int:
        assert replicas[0].time_ps == request.arrival_ps
        return 0


class Nothing:
    pass


LONG_LIVED = RoundRobin()


@pytest.mark.parametrize(
    ("make_router", "kind", "what", "where"),
    [
        (Draws, AssertionError, "views of the present: route() is not repeatable", None),
        (Shares, AssertionError, "is not repeatable", None),
        (Wants, AttributeError, "reads_cache = True", "route(), for request 0 at"),
        (Forgets, LookupError, "nobody knows", "ended(), for request"),
        (Changes, AttributeError, "waiting", "route(), for request 0 at"),
        (OfTwo, ValueError, "route() chose replica 1; there are 0 to 0", "route(), for request 0 at"),
        (Present, AssertionError, "assert", "route(), for request"),
        (Nothing, AssertionError, "has no method route", None),
        (lambda: LONG_LIVED, AssertionError, "gives the same router twice", None),
    ],
)
def test_what_is_wrong_is_named(make_router: object, kind: type[Exception], what: str, where: str | None) -> None:
    with pytest.raises(kind, match=re.escape(what)) as caught:
        check_router(make_router)  # type: ignore[arg-type]
    notes = getattr(caught.value, "__notes__", [])
    assert where is None or any(where in note for note in notes)
