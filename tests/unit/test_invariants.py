"""The check of results can fail: one canary an invariant."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from servetwin.errors import ExitCode, InvariantError
from servetwin.result.invariants import check_invariants
from servetwin.result.result import Result

COMPLETED: dict[str, Any] = {
    "arrival_ps": 0,
    "routed_ps": 0,
    "scheduled_ps": 5,
    "first_token_ps": 9,
    "last_token_ps": 12,
    "end_ps": 12,
    "replica": 0,
    "input_tokens": 8,
    "output_tokens": 2,
    "cached_tokens": 4,
    "preemptions": 0,
    "status": "completed",
    "reason": "",
}
REJECTED = COMPLETED | {
    "scheduled_ps": None,
    "first_token_ps": None,
    "last_token_ps": None,
    "end_ps": 0,
    "output_tokens": 0,
    "cached_tokens": 0,
    "status": "rejected",
    "reason": "needs more blocks than the pool has",
}
UNFINISHED = COMPLETED | {"end_ps": None, "last_token_ps": 10, "output_tokens": 1, "status": "unfinished"}


def result(*rows: dict[str, Any], times: tuple[int, ...] = (0, 1), counted: int | None = None) -> Result:
    statuses = [row["status"] for row in rows]
    return Result(
        status="completed",
        summary={
            "completed": statuses.count("completed") if counted is None else counted,
            "rejected": statuses.count("rejected"),
            "unfinished": statuses.count("unfinished"),
        },
        provenance={"spec": {}},
        rejections={},
        stalled=[],
        timings={},
        _requests=lambda: pa.Table.from_pylist(list(rows)),
        _series=lambda: pa.table({"replica": [0] * len(times), "time_ps": list(times)}),
    )


def test_a_right_result_passes() -> None:
    check_invariants(result(COMPLETED, REJECTED, UNFINISHED))


@pytest.mark.parametrize(
    ("number", "row"),
    [
        (1, COMPLETED | {"end_ps": None}),
        (1, UNFINISHED | {"end_ps": 12}),
        (2, COMPLETED | {"scheduled_ps": 10}),
        (2, COMPLETED | {"end_ps": 11}),
        (3, COMPLETED | {"output_tokens": 0}),
        (3, COMPLETED | {"cached_tokens": 9}),
        (3, REJECTED | {"scheduled_ps": 0}),
        (4, COMPLETED | {"reason": "whim"}),
        (4, REJECTED | {"reason": ""}),
    ],
)
def test_a_broken_row_is_found(number: int, row: dict[str, Any]) -> None:
    with pytest.raises(InvariantError, match=f"invariant {number} is broken by request 1") as caught:
        check_invariants(result(COMPLETED, row))
    assert caught.value.exit_code is ExitCode.DIFFERS


def test_a_lost_request_is_found() -> None:
    with pytest.raises(InvariantError, match="invariant 5"):
        check_invariants(result(COMPLETED, counted=2))


def test_time_that_stands_still_is_found() -> None:
    with pytest.raises(InvariantError, match="invariant 6"):
        check_invariants(result(COMPLETED, times=(0, 0)))
