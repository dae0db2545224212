"""Fixtures for tests of the Python package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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
