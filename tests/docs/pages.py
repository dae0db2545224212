"""The pages of the documentation, cut into sections and fenced blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]))

LANGUAGES = ("bash", "python", "text", "yaml")
"""bash and python are run as written, text is what the block before prints, yaml is part of a spec."""


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Section:
    """What stands under one heading: its blocks share a folder, and are run in order."""

    page: Path
    title: str
    blocks: tuple[Block, ...]

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}#{anchor(self.title)}"


def anchor(title: str) -> str:
    """As GitHub makes it from a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def sections(page: Path) -> list[Section]:
    found: list[tuple[str, list[Block]]] = []
    lines = iter(enumerate(page.read_text().splitlines(), 1))
    for number, line in lines:
        if line.startswith("#"):
            found.append((line.lstrip("#").strip(), []))
        elif line.startswith("```"):
            body = []
            for _, inner in lines:
                if inner == "```":
                    break
                body.append(inner)
            else:
                raise AssertionError(f"{page}:{number}: the block has no end")
            found[-1][1].append(Block(line.removeprefix("```"), "\n".join(body), number))
    return [Section(page, title, tuple(blocks)) for title, blocks in found]


def all_sections() -> list[Section]:
    return [section for page in PAGES for section in sections(page)]


def links(page: Path) -> list[str]:
    """Targets of the links on a page, outside code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)
