"""The front end: requests are read and tokenised before they are routed, tokens reach clients later."""

from __future__ import annotations

import pytest

from servetwin._core import InputError

from ..small import MS, numbers
from .test_core_edges import simulate

FRONT = {"request_ps": 2 * MS, "prompt_token_ps": MS, "stream_ps": 7 * MS}
"""2 ms and 1 ms a token on the way in, 7 ms on the way out; a pass takes 5 ms."""


@pytest.mark.parametrize("leap", [False, True])
def test_a_request_pays_on_its_way_in_and_its_tokens_on_their_way_out(leap: bool) -> None:
    run = simulate([(100 * MS, 10, 4)], front=FRONT, leap=leap)
    ready = 100 * MS + 2 * MS + 10 * MS
    assert numbers(run, "arrival_ps") == [100 * MS]
    assert numbers(run, "routed_ps") == numbers(run, "scheduled_ps") == [ready]
    assert numbers(run, "first_token_ps") == [ready + 5 * MS + 7 * MS]
    assert numbers(run, "end_ps") == [ready + 4 * 5 * MS + 7 * MS]
    assert sum(count * weight for _, _, count, weight in run.itl()) == 3
    assert {start for start, _, _, _ in run.itl()} == {5 * MS}, "gaps between tokens are the engine's"


@pytest.mark.parametrize("router", ["round_robin", "least_requests"])
def test_a_short_prompt_overtakes_a_long_one(router: str) -> None:
    """With a router that needs no views, and one that does: they take different ways through the core."""
    run = simulate([(0, 60, 1), (MS, 10, 1)], front=FRONT, router={"kind": router}, replicas=2)
    assert numbers(run, "routed_ps") == [62 * MS, 13 * MS]
    assert numbers(run, "replica") == ([1, 0] if router == "round_robin" else [0, 0])


def test_a_turn_starts_when_the_client_has_the_last_token() -> None:
    run = simulate([(0, 1, 1), (30 * MS, 1, 1)], after=[-1, 0], front=FRONT)
    first_end = 3 * MS + 5 * MS + 7 * MS
    assert numbers(run, "end_ps")[0] == first_end
    assert numbers(run, "arrival_ps")[1] == first_end + 30 * MS


def test_what_is_refused_is_refused_at_once() -> None:
    run = simulate([(0, 5000, 1)], front=FRONT)
    assert (numbers(run, "status"), numbers(run, "end_ps")) == ([1], [0])


@pytest.mark.parametrize("router", ["round_robin", "least_requests"])
@pytest.mark.parametrize("token_ps", [10**17, 10**18])
def test_what_stays_at_the_front_beyond_the_horizon_ends_the_run(router: str, token_ps: int) -> None:
    """Also where its time fits into no 64 bits."""
    with pytest.raises(InputError, match="over 100 days"):
        simulate([(0, 90, 1)], front=FRONT | {"prompt_token_ps": token_ps}, router={"kind": router}, replicas=2)


def test_users_come_free_in_the_order_of_what_they_see() -> None:
    """One sees a refusal at once, before another has the answer that its engine gave earlier."""
    rows = [(0, 1, 1), (0, 1, 2), (0, 5000, 1), (0, 1, 1), (0, 1, 1)]
    run = simulate(rows, users=2, front={"request_ps": 0, "prompt_token_ps": 0, "stream_ps": 20 * MS})
    # Both are served from 0 on; the first is free at 5 + 20 ms, is refused and sends the next, the second at 10 + 20.
    assert numbers(run, "arrival_ps") == [0, 0, 25 * MS, 25 * MS, 30 * MS]
