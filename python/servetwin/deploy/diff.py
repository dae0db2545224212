"""What a deployment changes beside what runs now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalog import find_gpu, find_model
from ..errors import InputError
from ..launch import find_table, import_file
from ..spec import Spec, make_spec


@dataclass(frozen=True)
class Difference:
    """A field in which they differ.

    Attributes:
        flag: the engine's, where the field has one.
        now, then: values; None for the engine's default.
    """

    field: str
    flag: str | None
    now: Any
    then: Any


def differences(spec: Spec, file: Path, *, container: str | None) -> list[Difference]:
    """Field by field, what a launch script or manifest does not yet have as the spec has it.

    Raises InputError where the file cannot be read, runs another engine, or the spec has pools, which are no single
    command.
    """
    if spec.pools is not None:
        raise InputError("pools are several commands, and a file holds one", field="--diff")
    imported = import_file(file, container=container, allow_unsupported=True)
    now = make_spec(imported.spec)
    if now.engine.name != spec.engine.name:
        raise InputError(
            "runs another engine", file=str(file), found=now.engine.name, wanted=f"one that runs {spec.engine.name}"
        )
    table = find_table(spec.engine.name, spec.engine.version)
    flags = {flag.what: f"--{name}" for name, flag in table.flags.items() if flag.status == "modelled"}
    known = set(flags) | ({"gpu"} if now.gpu is not None else set())
    known |= set() if file.suffix == ".sh" else {"replicas"}  # a script starts one, as often as it is asked to
    before, after = _values(now), _values(spec)
    return [
        Difference(field, flags.get(field), before.get(field), after.get(field))
        for field in sorted(known)
        if before.get(field) != after.get(field)
    ]


def _values(spec: Spec) -> dict[str, Any]:
    """By dotted path, with the defaults of the engine's options; names of models and GPUs as the catalog has them."""
    data = spec.model_dump(include={"parallel", "engine", "replicas"})
    model, gpu = find_model(spec), find_gpu(spec)
    names = {"model": model and model.name, "gpu": gpu and gpu.name}
    return dict(_flat(data, "")) | names


def _flat(data: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        yield f"{above}{key}", value
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
