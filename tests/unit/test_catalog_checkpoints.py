"""Quantised checkpoints by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.catalog.checkpoints import CHECKPOINTS
from servetwin.catalog.lookup import model
from servetwin.catalog.named import MODELS
from servetwin.errors import InputError


def test_each_is_a_model_in_other_formats() -> None:
    assert not CHECKPOINTS.keys() & MODELS.keys()
    for name, one in CHECKPOINTS.items():
        base = next(
            model for model in MODELS.values() if name.startswith(f"{model.name}-") and model.stack == one.stack
        )
        assert one.stored != base.stored
        assert one.parameters == base.parameters


@pytest.mark.parametrize("name", ["nvidia/Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b-fp8"])
def test_makers_names_are_read(name: str) -> None:
    found = model(name, Path())
    assert found.stored.attention.name == "fp8"
    assert found.stored.kv is not None


def test_a_checkpoint_that_is_close_is_proposed() -> None:
    with pytest.raises(InputError, match="deepseek-r1-nvfp4"):
        model("deepseek-r1-nvfp", Path())
