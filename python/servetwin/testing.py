"""For authors of routers: does it do what `servetwin.Router` asks, in every kind of run?

    from servetwin.testing import check_router
    check_router(MyRouter)

or, for pytest, one test each:

    class TestMyRouter(RouterConformance):
        make_router = MyRouter
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ROUTER_NOTE
from .policy import Choice, ReplicaView, Router, RouterRequest
from .simulation import simulate

HOOKS = ("route", "first_token", "ended")
"""The methods of a router that a run calls; all but the first are optional."""

_BURSTS = {"kind": "poisson", "requests": 150, "rate_per_s": 60, "input_tokens": 700, "output_tokens": 60}
_PREFIXES = {"groups": 3, "tokens": 320, "share": 0.7}
_ENGINE = {"max_model_len": 2048, "max_num_seqs": 8, "num_gpu_blocks": 400}


@dataclass(frozen=True)
class Situation:
    """A small run that a router must cope with."""

    name: str
    replicas: int = 3
    engine: tuple[tuple[str, Any], ...] = ()
    interval_ms: float = 0.0
    delay_ms: float = 0.0

    def spec(self) -> dict[str, Any]:
        return {
            "replicas": self.replicas,
            "engine": {**_ENGINE, **dict(self.engine)},
            "timing": "polynomial",
            "router": {
                "kind": "python",
                "object": "servetwin.testing:Watched",
                "interval_ms": self.interval_ms,
                "delay_ms": self.delay_ms,
            },
            "workload": {**_BURSTS, "prefix": _PREFIXES},
        }


SITUATIONS = (
    Situation("views of the present"),
    Situation("views up to 250 ms old", interval_ms=200, delay_ms=50),
    Situation("views that never come through", interval_ms=1000, delay_ms=10_000),
    Situation("one replica", replicas=1),
    Situation("many replicas", replicas=17),
    Situation("too few blocks: requests are preempted", engine=(("num_gpu_blocks", 90),)),
    Situation("no prefix caching", engine=(("enable_prefix_caching", False),)),
)
"""What `check_router` runs."""


class DeliberateError(Exception):
    """Raised on purpose, to see where it comes out."""


class Watched:
    """A router, with a note of all it chose, that can be made to fail.

    Args:
        inner: the router that is tested.
        fail_in: the hook that raises `DeliberateError`, in its third call.
        answer: what `route` answers instead of what `inner` does.
    """

    def __init__(self, inner: Router, *, fail_in: str | None = None, answer: Any = None) -> None:
        self.inner, self.fail_in, self.answer = inner, fail_in, answer
        self.reads_cache = getattr(inner, "reads_cache", False)
        self.choices: list[int] = []
        self.calls = dict.fromkeys(HOOKS, 0)
        self.raised: DeliberateError | None = None
        for hook in HOOKS[1:]:
            if hasattr(inner, hook) or fail_in == hook:
                setattr(self, hook, self._told(hook))

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Any:
        self._count("route")
        if self.answer is not None:
            return self.answer
        chosen: Choice | int = self.inner.route(request, replicas)
        self.choices.append(chosen if isinstance(chosen, int) else chosen.replica)
        return chosen

    def _told(self, hook: str) -> Callable[[int, int, int], None]:
        def tell(request: int, replica: int, time_ps: int) -> None:
            self._count(hook)
            if hasattr(self.inner, hook):
                getattr(self.inner, hook)(request, replica, time_ps)

        return tell

    def _count(self, hook: str) -> None:
        self.calls[hook] += 1
        if hook == self.fail_in and self.calls[hook] == 3:
            self.raised = DeliberateError(hook)
            raise self.raised


def check_router(make_router: Callable[[], Router]) -> None:
    """Raises AssertionError, or what the router itself raises with a note of the method, the request and the time.

    Args:
        make_router: a class, or anything that gives a fresh router when called without arguments.
    """
    _can_be_made(make_router)
    for situation in SITUATIONS:
        check_situation(make_router, situation)
    check_failures(make_router)
    check_wrong_answers(make_router)


def check_situation(make_router: Callable[[], Router], situation: Situation) -> None:
    """The router answers every request with a replica that there is, and a fresh one answers alike."""
    spec = situation.spec()
    runs = []
    for seed in (1, 2):
        random.seed(seed)  # a router that draws from it, unseeded, gives itself away
        watched = Watched(make_router())
        result = simulate(spec, router=watched)
        sent = [replica for replica in result.requests["replica"].to_pylist() if replica is not None]
        assert sorted(sent) == sorted(watched.choices), f"{situation.name}: a request is not where route() sent it"
        runs.append(watched.choices)
    pairs = zip(*runs, strict=True)
    first = next((index for index, (one, other) in enumerate(pairs) if one != other), None)
    assert first is None, (
        f"{situation.name}: route() is not repeatable: two fresh routers in two equal runs sent request {first} to "
        f"replicas {runs[0][first]} and {runs[1][first]}; draw from random.Random(seed), and keep state in the "
        "instance, not in its class or module"
    )


def check_failures(make_router: Callable[[], Router]) -> None:
    """What a method raises ends the run and comes out as it is, with a note of the method, the request and the time."""
    for hook in HOOKS:
        watched = Watched(make_router(), fail_in=hook)
        error = _failure_of(watched)
        assert error is not None, f"{hook}() raised, and the run went on"
        assert error is watched.raised, f"{hook}() raised one exception, and another came out: {error!r}"
        notes = getattr(error, "__notes__", [])
        named = any(note.startswith(f"{ROUTER_NOTE}{hook}(), for request ") for note in notes)
        assert named, f"no note names {hook}(), its request and its time: {notes}"


def check_wrong_answers(make_router: Callable[[], Router]) -> None:
    """An answer that is no choice of a replica ends the run."""
    for answer, kind in (("1", TypeError), (3, ValueError), (-1, ValueError), ((0, 7), TypeError)):
        error = _failure_of(Watched(make_router(), answer=answer))
        assert isinstance(error, kind), f"the answer {answer!r} of route() was not refused as a {kind.__name__}"
        named = any(note.startswith(f"{ROUTER_NOTE}route(), for request 0") for note in error.__notes__)
        assert named, f"the answer {answer!r} was refused without a note of its request"


def _failure_of(watched: Watched) -> Exception | None:
    try:
        simulate(SITUATIONS[0].spec(), router=watched)
    except Exception as error:
        return error
    return None


def _can_be_made(make_router: Callable[[], Router]) -> None:
    router = make_router()
    assert callable(getattr(router, "route", None)), f"{router!r} has no method route(request, replicas)"
    assert make_router() is not router, f"{make_router!r} gives the same router twice; a run needs a fresh one"
    for hook in HOOKS[1:]:
        found = getattr(router, hook, None)
        assert found is None or callable(found), f"{hook} is no method: {found!r}"


class RouterConformance:
    """`check_router`, a test each, for pytest: a subclass gives `make_router`."""

    make_router: Callable[[], Router]

    def _make(self) -> Callable[[], Router]:
        return type(self).make_router

    def test_a_fresh_router_can_be_made(self) -> None:
        _can_be_made(self._make())

    def test_it_copes_with_every_situation(self) -> None:
        for situation in SITUATIONS:
            check_situation(self._make(), situation)

    def test_what_it_raises_comes_out(self) -> None:
        check_failures(self._make())

    def test_wrong_answers_are_refused(self) -> None:
        check_wrong_answers(self._make())
