"""One browser for all pages, and each page written once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from servetwin.report.compare.comparison import Comparison
from servetwin.report.compare.page import comparison_page
from servetwin.report.page.document import report_page
from servetwin.report.study.page import write_page

from .browser import browser as launched
from .studies import study
from .worlds import world


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launched() as opened:
        yield opened


@pytest.fixture(scope="session")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The report of a world, as a file."""
    folder = tmp_path_factory.mktemp("reports")

    def write(name: str) -> Path:
        file = folder / f"{name}.html"
        if not file.exists():
            file.write_text(report_page(world(name)), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def comparison_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The comparison of worlds, as a file."""
    folder = tmp_path_factory.mktemp("comparisons")

    def write(*names: str) -> Path:
        file = folder / f"{'-'.join(names)}.html"
        if not file.exists():
            compared = Comparison(list(names), [world(name) for name in names])
            file.write_text(comparison_page(compared), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def study_page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The page of a study, as a file."""
    folder = tmp_path_factory.mktemp("studies")
    written: dict[str, Path] = {}

    def write(name: str) -> Path:
        if name not in written:
            written[name] = write_page(study(name, folder))
        return written[name]

    return write
