"""A lowered description, as the core is given it, as a step time of the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .step_time import Affine, DecodeGrid, Graphs, Line, Linear, MixedGrid, Polynomial, PromptGrid, StepTime, Tabulated


def step_time(description: Mapping[str, Any]) -> StepTime:
    given = {name: value for name, value in description.items() if name != "kind"}
    draft = Linear(**given.pop("draft", {}))
    match description["kind"]:
        case "affine":
            return Affine(Linear(**given["host"]), tuple(Linear(**term) for term in given["terms"]), draft)
        case "polynomial":
            return Polynomial(**_frozen(given))
        case "tabulated":
            parts: dict[str, Callable[..., Any]] = {
                "host": Linear,
                "graphs": Graphs,
                "tokens": Line,
                "sequences": Line,
                "decode": DecodeGrid,
                "prompt": PromptGrid,
                "mixed": MixedGrid,
                "longest": Line,
            }
            read = {name: part(**_frozen(given[name])) for name, part in parts.items() if given.get(name) is not None}
            return Tabulated(**read, draft=draft)
        case kind:
            raise ValueError(f"no step time of kind {kind!r}")


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _frozen(inner) for name, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, (list, tuple)) else value
