"""The names a spec may use, for errors about those it may not."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from .deployment import Spec
from .engine.terms import foreign
from .kinds import by_kind, kind_names, models_in
from .lines import KeyPath, dotted

TAGS = {"engine": "name", "router": "kind", "timing": "kind", "workload": "kind"}
"""Parts that come in kinds, and the key that says which."""


def kinds_at(field: str) -> dict[str, type[BaseModel]]:
    """The kinds of `engine`, `router`, `timing` or `workload`, by name."""
    return by_kind(Spec.model_fields[field].annotation, TAGS[field])


def unknown_key(path: KeyPath, data: Any) -> tuple[str, str | None]:
    """What to say about a key that nothing reads: the message, and what would be right."""
    name = str(path[-1])
    head = path[:-1]
    if len(head) == 1 and head[0] in TAGS:
        field = str(head[0])
        kind = data[field].get(TAGS[field])
        readers = [other for other, model in kinds_at(field).items() if name in model.model_fields]
        if readers and field == "engine":
            return foreign(name, kind, readers), None
        if readers:
            return f"a {field} of kind {kind} never reads this option; kind {' or '.join(readers)} does", None
    known = sorted({key for model in _models_at(head, data) for key in model.model_fields})
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6) or [key for key in known if key.startswith(name)]
    if close:
        return _did_you_mean((*head, close[0])), None
    everywhere = list(_paths(Spec, ()))
    same_name = [path for path in everywhere if path[-1] == name]
    if same_name:
        return _did_you_mean(same_name[0]), None
    close = difflib.get_close_matches(name, [str(path[-1]) for path in everywhere], n=1, cutoff=0.75)
    if close:
        return _did_you_mean(next(path for path in everywhere if path[-1] == close[0])), None
    return "unknown key", f"one of {', '.join(known)}" if known else None


def _did_you_mean(path: KeyPath) -> str:
    return f"unknown key, did you mean {dotted(path)}?"


WANTED: dict[str, str] = {
    "timing.profile": "a profile that `servetwin calibrate` wrote",
    "timing.path": "a file of passes or a folder of layers (docs/timing.md#table)",
    "router.object": "such as my_router.py:MyRouter",
    "acceptance": "such as 0.7, the chance of a draft, or {mean_length: 2.4}",
    "pools.prefill": "both pools, such as `prefill: {replicas: 2}` and `decode: {replicas: 2}`",
    "pools.decode": "both pools, such as `prefill: {replicas: 2}` and `decode: {replicas: 2}`",
}
"""What belongs where a type does not tell enough, by dotted path or last name."""


def usual(path: KeyPath) -> str | None:
    """What to write for a field whose type does not tell enough; None for others."""
    return WANTED.get(dotted(path)) or WANTED.get(str(path[-1]))


def what_belongs(path: KeyPath, data: Any) -> str | None:
    """What would be right for a field that is missing."""
    name = str(path[-1])
    given = usual(path)
    if given is not None:
        return given
    for model in _models_at(path[:-1], data):
        field = model.model_fields.get(name)
        if field is None:
            continue
        if typing.get_origin(field.annotation) is typing.Literal:
            return f"one of {', '.join(map(str, typing.get_args(field.annotation)))}"
        return "a whole number" if field.annotation is int else "a number" if field.annotation is float else None
    return None


def nearest(value: Any, choices: list[str]) -> str | None:
    """The choice that `value` was probably meant to be."""
    close = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.6)
    return close[0] if close else None


def _models_at(path: KeyPath, data: Any) -> list[type[BaseModel]]:
    models: list[type[BaseModel]] = [Spec]
    for name in path:
        if isinstance(data, list) and isinstance(name, int):
            data = data[name]
            continue
        tag = TAGS.get(str(name), "kind")
        data = data.get(name) if isinstance(data, dict) else None
        if any(name in model.model_fields for model in models):
            models = [
                inner
                for model in models
                if name in model.model_fields
                for inner in models_in(model.model_fields[str(name)].annotation)
            ]
        if isinstance(data, dict) and tag in data:
            models = [model for model in models if data[tag] in kind_names(model, tag)] or models
    return models


def _paths(model: type[BaseModel], above: KeyPath) -> Iterator[KeyPath]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        for inner in models_in(field.annotation):
            yield from _paths(inner, (*above, name))
