"""What the core is told of speculation: a table of outcomes in place of chances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..spec import Spec
from ..spec.engine import Acceptance, Drafting
from .formats import Format
from .layers import Layer
from .models import Model

OUTCOMES = 1 << 16
"""Of a table: a count of drafts comes up with its chance to 1 in 65,536."""


def acceptance(given: Acceptance, drafts: int, seed: int) -> dict[str, Any]:
    """As the core takes it, for `drafts` drafts one after the other."""
    if given.cycle is not None:
        return {"kind": "cycle", "pattern": given.cycle}
    return {"kind": "drawn", "counts": outcomes(chances(given, drafts)), "seed": seed}


def chances(given: Acceptance, drafts: int) -> list[float]:
    """Of each draft, if those before it were accepted.

    A mean length m becomes the one chance c for every draft with 1 + c + c² + … = m.
    """
    if given.conditional is not None:
        return list(given.conditional)
    if given.each is not None:
        return [given.each] * drafts
    assert given.mean_length is not None
    return [_chance_of_length(given.mean_length, drafts)] * drafts


def mean_length(conditional: Sequence[float]) -> float:
    """Tokens of a pass on average, the one that needs no draft among them."""
    mean = reached = 1.0
    for chance in conditional:
        reached *= chance
        mean += reached
    return mean


def outcomes(conditional: Sequence[float]) -> list[int]:
    """How many of OUTCOMES outcomes accept 0, 1, … drafts: by largest remainder, of equals the fewest drafts."""
    shares, reached = [], 1.0
    for chance in conditional:
        shares.append(reached * (1 - chance) * OUTCOMES)
        reached *= chance
    shares.append(reached * OUTCOMES)
    counts = [int(share) for share in shares]
    by_remainder = sorted(range(len(shares)), key=lambda i: (counts[i] - shares[i], i))
    for index in by_remainder[: OUTCOMES - sum(counts)]:
        counts[index] += 1
    return counts


def check_model_drafts(spec: Spec, model: Model | None, drafting: Drafting) -> None:
    """Raises SpecError where a model that is known has no layers to predict more than one token with."""
    if drafting.head == "mtp" and model is not None and not model.mtp:
        raise spec.source.problem(
            drafting.method,
            "the model has no layers for multi-token prediction",
            found=model.name,
            wanted="a drafting head (eagle) or n-grams, or a model that has them",
        )


def head_bytes(model: Model, drafting: Drafting | None, kv: Format, tensor: int) -> int:
    """That the head's layer keeps of a token on one rank, beside what the model does; 0 without a head."""
    if drafting is None or drafting.head == "none":
        return 0
    return head_layer(model, drafting).mixer.cache_bytes(1, kv, tensor)


def head_layer(model: Model, drafting: Drafting) -> Layer:
    """That a head drafts with: the model's own, or one like the model's last."""
    if drafting.head == "mtp" and model.mtp:
        return model.mtp[-1]
    return model.stack[-1]


def _chance_of_length(mean: float, drafts: int) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if mean_length([middle] * drafts) < mean:
            low = middle
        else:
            high = middle
    return high
