"""Rows that SGLang's overlap loop retracts while a token of theirs is on its way. Every pass takes 10 ms."""

from __future__ import annotations

from .. import small
from ..small import LEAPS, MS, SGLANG, affine


@LEAPS
def test_a_token_that_is_dropped_leaves_no_gap(leap: bool) -> None:
    """8 and 4 tokens of prompts, and 16 and 14 of answers, in 30 slots: the second loses all that it has."""
    engine = SGLANG | {"max_total_tokens": 30, "context_length": 29, "schedule_conservativeness": 0.1}
    requests = small.trace([0, 5 * MS], [8, 4], [16, 14])
    run = small.simulate([{"engine": engine, "step_time": affine(10 * MS)}], requests, leap=leap)
    assert small.numbers(run, "preemptions") == [0, 1]
    assert small.numbers(run, "output_tokens") == [16, 14]
    gaps = small.gaps(run)
    assert len(gaps) == 15 + 13
    assert sum(gaps) == sum(small.times(run, "last_token")) - sum(small.times(run, "first_token"))
