"""One spec a pool: the whole with what the pool gives in place of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import SpecError
from .deployment import Source
from .lines import KeyPath
from .pools import Pool

OWN = tuple(Pool.model_fields)


class PoolSource(Source):
    """Names what a pool gives by its place there, and the rest by its place in the whole."""

    def __init__(self, whole: Source, name: str, given: Mapping[str, Any]) -> None:
        super().__init__(whole.file, whole.directory)
        self.lines, self.overrides, self.left_out = whole.lines, whole.overrides, whole.left_out
        self._name, self._given = name, given

    def _placed(self, path: KeyPath) -> KeyPath:
        head = path[:1]
        if not head or head[0] not in OWN or (head[0] != "replicas" and head[0] not in self._given):
            return path
        inside = self._given.get(str(head[0]))
        whole = head[0] != "engine" or len(path) < 2 or (isinstance(inside, dict) and path[1] in inside)
        return ("pools", self._name, *path) if whole else path

    def problem(self, path: KeyPath, message: str, *, found: str | None = None, wanted: str | None = None) -> SpecError:
        placed = self._placed(path)
        where = "" if placed != path else f"in the {self._name} pool: "
        return super().problem(placed, where + message, found=found, wanted=wanted)


def pool_data(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The whole file, already in its long form, as this pool sees it."""
    given = data["pools"][name]
    seen = {key: value for key, value in data.items() if key not in ("pools", "handover")}
    for field in OWN:
        if field == "engine" and isinstance(given.get(field), dict):
            seen[field] = {**seen.get(field, {}), **given[field]}
        elif given.get(field) is not None:
            seen[field] = given[field]
    if name == "decode":
        seen["router"] = _decode_router(seen.get("router"), given.get("router") is not None)
    return {key: value for key, value in seen.items() if value is not None}


DECODE = {"track_prefill_tokens": False, "assume_kv_reuse": False}
"""What Dynamo's router sets for decode workers, where prompts come computed (lib/llm/src/kv_router)."""

PREFILL_ONLY = ("overlap_score_credit", "overlap_score_credit_decay", "prefill_load_scale", "use_kv_events", "ttl_secs")
"""Beside those that keep requests back, options about prompts to compute."""


def _decode_router(router: Any, own: bool) -> Any:
    """As Dynamo uses it there, unless the pool says otherwise; of the spec's own, what makes sense there."""
    router = {"kind": router} if isinstance(router, str) else router
    if not isinstance(router, dict) or router.get("kind") != "kv_aware":
        return router
    if own:
        return {"track_prefill_tokens": False, **router}
    dropped = (*PREFILL_ONLY, "queue_threshold", "queue_policy")
    return {**{name: value for name, value in router.items() if name not in dropped}, **DECODE}
