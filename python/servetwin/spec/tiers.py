"""`tiers`: memory below the GPU's that keys and values are kept in."""

from __future__ import annotations

from pydantic import Field

from .base import Count, NotNegative, Positive, SpecModel


class HostTier(SpecModel):
    """Host memory of one replica. How much of it is used, the engine's own option says, or `blocks`."""

    blocks: Count | None = None
    store_gbytes_per_s: Positive | None = None
    load_gbytes_per_s: Positive | None = None
    first_byte_ms: NotNegative = 0.02


class Tiers(SpecModel):
    """What the engine's offloading options leave open: sizes in blocks, speeds."""

    host: HostTier = Field(default_factory=HostTier)
    kv_bytes_per_token: Count | None = None
