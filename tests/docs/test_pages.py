"""Pages lead somewhere, and say what is so."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from servetwin.result.columns import REASONS

from .pages import PAGES, ROOT, anchor, links, sections


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        if link.startswith("https://"):
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        if heading:
            assert heading in {anchor(section.title) for section in sections(target)}, link


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md") if "://" not in link}
    assert set(PAGES) - linked == {ROOT / "README.md"}


def test_the_table_of_same_time_order_names_its_tests() -> None:
    def tests_of(name: str) -> set[str]:
        tree = ast.parse((ROOT / "tests" / "unit" / name).read_text())
        return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}

    page = (ROOT / "docs" / "semantics.md").read_text()
    table = page.partition("## What happens first")[2].partition("\n## ")[0]
    named = [cell.strip(" `") for line in table.splitlines() for cell in line.split("|") if cell.startswith(" `test_")]
    assert len(named) == len(set(named))
    # Transfers have theirs among the tests of pools.
    assert tests_of("test_same_time_order.py") == set(named) - tests_of("test_disaggregation.py")


def test_every_reason_is_explained() -> None:
    page = (ROOT / "docs" / "semantics.md").read_text()
    for reason in filter(None, REASONS):
        assert f"| {reason} |" in page
