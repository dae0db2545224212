"""What a pipeline stage sends to the next."""

from __future__ import annotations

from ..catalog.stages import Stage

SEND_S = 10e-6
"""Latency from one stage to the next: AIConfigurator's figure for two GPUs."""


def token_bytes(hidden: int, tensor: int) -> float:
    """Of one token, by each tensor rank: the hidden state and the residual beside it, in 2 bytes a figure."""
    return 2 * 2 * hidden / tensor


def send_s(stage: Stage | None, tokens: int, hidden: int, tensor: int) -> float:
    """Seconds that a stage takes to send `tokens` tokens on; 0 of the last one, and of the only one (None)."""
    if stage is None or stage.is_last:
        return 0.0
    return SEND_S + int(tokens * token_bytes(hidden, tensor)) / stage.sends_bytes_per_s
