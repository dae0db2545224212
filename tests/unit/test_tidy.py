"""Habits that no linter knows. Each check has a canary: something it must object to."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LINES_MAX = 600
LONGER: dict[str, int] = {}
"""Files that are longer, and how long they may be: a ratchet. They may only shrink, and no new ones come in."""

HOSTS = {
    "doi.org": "papers that formulas come from",
    "github.com": "sources of traces; the index of Rust crates, in Cargo.lock",
    "raw.githubusercontent.com": "traces to download",
    "json-schema.org": "names the dialect of the spec's schema",
    "localhost": "where launch scripts find their replicas",
    "www.apache.org": "the licence",
    "www.w3.org": "names the language of SVG",
}
"""The hosts that files may name, and what for: no mirror of a registry, no machine of anyone's."""


def tracked() -> Iterator[Path]:
    """Text files under version control."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a checkout of git")
    for name in filter(None, listed.decode().split("\0")):
        file = ROOT / name
        if file.is_file() and b"\0" not in file.read_bytes():
            yield file


def lines_with(pattern: str, text: str) -> list[str]:
    return [line for line in text.splitlines() if re.search(pattern, line)]


def private_paths(text: str) -> list[str]:
    """Lines that name a folder of somebody's machine."""
    return lines_with(r"(?<![\w./])/(home|root|Users|work|workspace|mnt)/\w", text)


def unknown_hosts(text: str) -> list[str]:
    return [host for host in re.findall(r"\bhttps?://([\w.-]+)", text) if host not in HOSTS]


def postponed(text: str) -> list[str]:
    """Lines that leave something for later."""
    return lines_with(r"\b(TODO|FIXME|HACK)\b", text)


def unexplained(text: str) -> list[str]:
    """Dependencies of a pyproject.toml or Cargo.toml, from elsewhere, without a comment on their line."""
    file = tomllib.loads(text)
    project = file.get("project", {})
    wanted = [f'"{name}"' for name in project.get("dependencies", [])]
    wanted += [f'"{name}"' for names in project.get("optional-dependencies", {}).values() for name in names]
    for part in (file, file.get("workspace", {})):
        for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
            crates = part.get(kind, {}).items()
            wanted += [f"{name} =" for name, source in crates if "path" not in source]
    lines = [line.strip() for line in text.splitlines()]
    return [name for name in wanted if not any(line.startswith(name) and "# " in line for line in lines)]


CHECKS = {
    "private paths": (private_paths, "see /home/someone/notes"),
    "unknown hosts": (unknown_hosts, "index = https://mirror.example/simple"),
    "postponed": (postponed, "// TODO: later"),
}


@pytest.mark.parametrize("name", CHECKS)
def test_no_file_holds(name: str) -> None:
    check, canary = CHECKS[name]
    assert check(canary)
    ours = Path(__file__).resolve()
    found = {str(file.relative_to(ROOT)): check(file.read_text()) for file in tracked() if file != ours}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_files_are_short() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text().splitlines())
        for file in tracked()
        if file.suffix in (".py", ".pyi", ".rs", ".sh")
    }
    assert max(lengths.values()) > 100
    longer = {name: length for name, length in lengths.items() if length > LONGER.get(name, LINES_MAX)}
    assert longer == {}
    slack = {name: lengths.get(name, 0) for name, length in LONGER.items() if lengths.get(name, 0) < length}
    assert slack == {}, "shorter than it may be: lower its number in LONGER, or remove it"


def test_every_dependency_says_what_it_is_for() -> None:
    assert unexplained('[dependencies]\nserde = "1"\n') == ["serde ="]
    assert unexplained('[project]\ndependencies = [\n  "rich>=13",\n]\n') == ['"rich>=13"']
    files = [ROOT / "pyproject.toml", ROOT / "Cargo.toml", *ROOT.glob("crates/*/Cargo.toml")]
    assert [(file.name, unexplained(file.read_text())) for file in files if unexplained(file.read_text())] == []


def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
