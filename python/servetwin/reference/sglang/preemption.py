"""Whom an urgent request may push out of the running batch."""

from __future__ import annotations

from collections.abc import Sequence

from .admission import CLIP_MAX_NEW_TOKENS, Admission
from .config import EngineConfig
from .queue import rank
from .state import RequestState


def choose_victims(
    config: EngineConfig, request: RequestState, running: Sequence[RequestState], admission: Admission
) -> list[RequestState]:
    """The least urgent, of equals the last to have come, until the request would fit.

    Nobody, if even then it would not. The engine takes the prompt's length from when the request
    was last tried: one that never was counts as if it had none.
    """
    wanted = request.tried_tokens - request.prefix + min(request.max_new_tokens, CLIP_MAX_NEW_TOKENS)
    missing = wanted - admission.slots_left
    victims: list[RequestState] = []
    for candidate in sorted(running, key=lambda r: (-rank(config, r), -r.queued)):
        if rank(config, candidate) - rank(config, request) <= config.priority_scheduling_preemption_threshold:
            break
        victims.append(candidate)
        missing -= admission.expected_tokens(candidate)
        if missing <= 0:
            break
    return victims if missing <= 0 else []
