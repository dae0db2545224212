"""Finds what a spec names."""

from __future__ import annotations

import difflib

from ..errors import InputError, SpecError
from ..spec import Spec
from .gpus import ALIASES, GPUS, Gpu
from .models import MODELS, Model, looks_like_path, normal_name, read_config


def find_gpu(spec: Spec) -> Gpu | None:
    """The spec's GPU, or None if it names none. Raises SpecError."""
    if spec.gpu is None:
        return None
    name = spec.gpu.lower()
    name = ALIASES.get(name, name)
    if name not in GPUS:
        raise spec.source.problem(
            ("gpu",), f"unknown GPU{_hint(name, GPUS)}", found=repr(spec.gpu), wanted=f"one of {', '.join(GPUS)}"
        )
    return GPUS[name]


def find_model(spec: Spec) -> Model | None:
    """The spec's model, or None if it names none. Raises SpecError."""
    if spec.model is None:
        return None
    if looks_like_path(spec.model):
        try:
            return read_config(spec.source.path(("model",), spec.model))
        except InputError as error:
            raise spec.source.problem(("model",), str(error), found=repr(spec.model)) from None
    name = normal_name(spec.model)
    if name not in MODELS:
        raise spec.source.problem(
            ("model",),
            f"unknown model{_hint(name, MODELS)}",
            found=repr(spec.model),
            wanted=f"one of {', '.join(MODELS)}, or the path of a Hugging Face config.json",
        )
    return MODELS[name]


def needed(spec: Spec, field: str, why: str) -> SpecError:
    """The error for a model or GPU left out where something depends on it."""
    return spec.source.problem((field,), f"missing: {why}")


def _hint(name: str, known: dict[str, Gpu] | dict[str, Model]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f", did you mean {close[0]}?" if close else ""
