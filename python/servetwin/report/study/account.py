"""What became of every combination of a study, what it took, and how well each part of that is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...plan.make import Answer
from ...plan.screen import part
from ...plan.space import reasons
from ..page.numbers import short


def account(answer: Answer) -> dict[str, Any]:
    """Counts that add up to all combinations; of each end but the last, the reasons with their counts."""
    taken = answer.account
    return {
        "combinations": taken.combinations,
        "unseen": taken.unseen,
        "decided": taken.decided,
        "dropped": _dropped(answer),
        "pruned": _given_up(taken.pruned),
        "screened": _given_up(taken.screened),
        "runs": _runs(answer),
    }


def _dropped(answer: Answer) -> list[dict[str, Any]]:
    """By reason without its figures, the commonest first, with one of them in full."""
    return [
        {"reason": reason, "count": count, "example": dict(one.settings), "in_full": one.reason}
        for reason, count, one in reasons(answer.account.dropped)
    ]


def _given_up(reasons: Mapping[int, str]) -> list[dict[str, Any]]:
    """By reason, the commonest first, with the trials."""
    found: dict[str, list[int]] = {}
    for number, reason in reasons.items():
        found.setdefault(reason, []).append(number)
    ordered = sorted(found.items(), key=lambda entry: -len(entry[1]))
    return [{"reason": reason, "count": len(numbers), "trials": sorted(numbers)} for reason, numbers in ordered]


def _runs(answer: Answer) -> list[dict[str, Any]]:
    """Simulations by the part of the workload they ran on, the whole last."""
    shares = sorted({run.share for run in answer.outcomes})
    return [
        {
            "share": short(share),
            "on": part(share),
            "count": sum(run.share == share for run in answer.outcomes),
            "simulate_s": short(sum(one.simulate_s for run, one in answer.outcomes.items() if run.share == share)),
        }
        for share in shares
    ]
