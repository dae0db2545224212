"""Fixtures for tests of the Python package."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def needs_core() -> None:
    """Skips a test where the native core is not built."""
    try:
        core = importlib.import_module("servetwin._core")
    except ImportError as error:
        pytest.skip(f"the native core is not built: {error}")
    wanted = {"Trace": "generate", "Run": "summary"}
    if not all(hasattr(getattr(core, owner, None), name) for owner, name in wanted.items()):
        pytest.skip("the native core is an older one")


@pytest.fixture
def examples() -> Path:
    return EXAMPLES


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[[str], Path]:
    """Writes the text of a spec and gives its path."""

    def write(text: str) -> Path:
        file = tmp_path / "spec.yaml"
        file.write_text(text)
        return file

    return write
