"""`tiers`: memory below the GPU's that keys and values are kept in."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .base import Count, GbytesPerS, Milliseconds, Positive, SpecModel


class HostTier(SpecModel):
    """Host memory of one replica. How much of it is used, the engine's own option says, or `blocks`."""

    blocks: Count | None = None
    store_gbytes_per_s: GbytesPerS | None = None
    load_gbytes_per_s: GbytesPerS | None = None
    first_byte_ms: Milliseconds = 0.02


class TierBelow(SpecModel):
    """A tier behind host memory, and its link to each rank. As large as GiB or blocks say."""

    capacity_gib: Positive | None = None
    blocks: Count | None = None
    write_gbytes_per_s: GbytesPerS
    read_gbytes_per_s: GbytesPerS
    first_byte_ms: Milliseconds = 0.1
    write_policy: Literal["through", "on_eviction"] = "through"


class Tiers(SpecModel):
    """What the engine's offloading options leave open: sizes in blocks, speeds."""

    host: HostTier = Field(default_factory=HostTier)
    disk: TierBelow | None = None
    shared: TierBelow | None = None
    kv_bytes_per_token: Count | None = None
