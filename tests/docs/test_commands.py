"""Whatever README and docs tell a reader to run, runs as it is written.

Installing, downloading and the tests themselves are stood in for: `pip` and `pytest` only check what they are asked,
`curl` hands out the public traces where they are at hand. A section that needs data which is not there is skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from servetwin import make_spec

from .pages import LANGUAGES, ROOT, Block, Section, all_sections

DATA = Path(os.environ.get("SERVETWIN_DATA") or ROOT.parent / "shared" / "data").absolute()
DOWNLOADS = {"conversation_trace.jsonl": DATA / "traces" / "mooncake_conversation.jsonl"}

SECTIONS = [section for section in all_sections() if section.blocks]
RUN = [section for section in SECTIONS if any(block.language in ("bash", "python") for block in section.blocks)]


def stand_ins(folder: Path) -> None:
    """`servetwin` and `python` of this interpreter, and commands that only check their arguments."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    installs = " | ".join(["'install .'", *(f"'install .[{extra}]'" for extra in extras)])
    downloads = "\n".join(f"*/{name}) ln -s {file} {name} ;;" for name, file in DOWNLOADS.items())
    scripts = {
        "servetwin": f'exec {sys.executable} -m servetwin "$@"',
        "python": f'exec {sys.executable} "$@"',
        "pip": f'case "$*" in {installs}) ;; *) echo "pip $*?" >&2; exit 1 ;; esac',
        "pytest": '[ $# = 0 ] || { echo "pytest $*?" >&2; exit 1; }',
        "curl": f'case "$*" in\n{downloads}\n*) echo "curl $*?" >&2; exit 1 ;;\nesac',
    }
    folder.mkdir()
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}\n")
        (folder / name).chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder like a fresh clone, as far as readers' commands look at it, with the data beside it."""
    folder = tmp_path / "servetwin"
    folder.mkdir()
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    if DATA.is_dir():
        (tmp_path / "shared").mkdir()
        (tmp_path / "shared" / "data").symlink_to(DATA)
    stand_ins(tmp_path / "bin")
    return folder


def missing_data(section: Section) -> list[str]:
    text = "\n".join(block.text for block in section.blocks)
    needed = [DATA / path for path in re.findall(r"\.\./shared/data/(\S+)", text)]
    needed += [file for name, file in DOWNLOADS.items() if f"/{name}" in text]
    return [str(path.relative_to(DATA)) for path in dict.fromkeys(needed) if not path.exists()]


def run(block: Block, checkout: Path) -> str:
    command = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[block.language]
    environment = os.environ | {"PATH": f"{checkout.parent / 'bin'}:{os.environ['PATH']}"}
    ran = subprocess.run(
        [*command, block.text], cwd=checkout, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, f"line {block.line}: exit code {ran.returncode}\n{ran.stderr}"
    return ran.stdout


def assert_shown(expected: str, printed: str, line: int) -> None:
    """Each line shown was printed, in this order; `…` stands for anything, blanks for blanks."""
    at = 0
    for shown in expected.splitlines():
        pattern = r"\s+".join(re.escape(word) for word in shown.split()).replace("…", ".*")
        found = re.compile(rf"^\s*{pattern}\s*$", re.MULTILINE).search(printed, at) if shown.strip("… ") else None
        assert found or not shown.strip("… "), f"line {line}: not printed: {shown}\n{printed}"
        at = found.end() if found else at


@pytest.mark.parametrize("section", RUN, ids=lambda section: section.name)
def test_commands_run_as_written(section: Section, checkout: Path) -> None:
    missing = missing_data(section)
    if missing:
        pytest.skip(f"{', '.join(missing)} not at hand (SERVETWIN_DATA, or shared/data beside the checkout)")
    printed = ""
    for block in section.blocks:
        if block.language == "text":
            assert_shown(block.text, printed, block.line)
        elif block.language in ("bash", "python"):
            printed = run(block, checkout)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_every_block_says_what_it_is(section: Section) -> None:
    for block in section.blocks:
        assert block.language in LANGUAGES, f"line {block.line}"


BASE = {"model": "llama-3.1-8b", "gpu": "h100"}
FRAGMENTS = [section for section in SECTIONS if any(block.language == "yaml" for block in section.blocks)]


@pytest.mark.parametrize("section", FRAGMENTS, ids=lambda section: section.name)
def test_fragments_of_specs_are_right(section: Section) -> None:
    for block in section.blocks:
        if block.language == "yaml":
            make_spec({**BASE, **yaml.safe_load(block.text)})


def test_readme_starts_with_two_commands() -> None:
    first = RUN[[section.page.name for section in RUN].index("README.md")].blocks[0]
    commands = [line.split(" #")[0].strip() for line in first.text.splitlines()]
    assert commands == ["pip install . && servetwin demo", "pip install '.[test]' && pytest"]
