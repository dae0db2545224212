"""Finds what a spec names."""

from __future__ import annotations

import difflib
from pathlib import Path

from ..errors import InputError, SpecError
from ..spec import Spec
from .gpus import GPUS, Gpu, gpu_name
from .models import Model


def gpu(name: str) -> Gpu:
    """Raises InputError for a name that is not known."""
    known = gpu_name(name)
    if known not in GPUS:
        raise InputError(f"unknown GPU{_hint(known, GPUS)}", found=repr(name), wanted=f"one of {', '.join(GPUS)}")
    return GPUS[known]


def model(name: str, path: Path) -> Model:
    """By name, or from the config.json at `path` if the name looks like a path. Raises InputError."""
    # Models are made where a spec names one.
    from .checkpoints import CHECKPOINTS
    from .config_json import looks_like_path, read_config
    from .named import MODELS, model_name

    if looks_like_path(name):
        return read_config(path)
    known = model_name(name)
    if known in CHECKPOINTS:
        return CHECKPOINTS[known]
    if known not in MODELS:
        raise InputError(
            f"unknown model{_hint(known, MODELS | CHECKPOINTS)}",
            found=repr(name),
            wanted=f"one of {', '.join(MODELS)}, or the path of a Hugging Face config.json",
        )
    return MODELS[known]


def find_gpu(spec: Spec) -> Gpu | None:
    """The spec's GPU, or None if it names none. Raises SpecError."""
    if spec.gpu is None:
        return None
    try:
        return gpu(spec.gpu)
    except InputError as error:
        raise spec.source.problem(("gpu",), error.message, found=error.found, wanted=error.wanted) from None


def find_model(spec: Spec) -> Model | None:
    """The spec's model, or None if it names none. Raises SpecError."""
    if spec.model is None:
        return None
    try:
        return model(spec.model, spec.source.path(("model",), spec.model))
    except InputError as error:
        if error.file is not None:
            raise spec.source.problem(("model",), str(error), found=repr(spec.model)) from None
        raise spec.source.problem(("model",), error.message, found=error.found, wanted=error.wanted) from None


def needed(spec: Spec, field: str, why: str) -> SpecError:
    """The error for a model or GPU left out where something depends on it."""
    return spec.source.problem((field,), f"missing: {why}")


def _hint(name: str, known: dict[str, Gpu] | dict[str, Model]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    return f", did you mean {close[0]}?" if close else ""
