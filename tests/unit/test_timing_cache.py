"""Tables are made once, and made anew where what is kept is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from servetwin.timing import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVETWIN_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "_made", {})
    return tmp_path / "timing"


def made(counts: list[str], parts: str, *, forget: bool = False) -> Any:
    if forget:
        cache._made.clear()

    def make() -> dict[str, Any]:
        counts.append(parts)
        return {"parts": parts, "knots": [1, 2, 3]}

    return cache.once(parts, make, read=lambda found: found)


def test_the_same_is_made_once_in_a_process_and_across_processes(folder: Path) -> None:
    counts: list[str] = []
    assert made(counts, "a") is made(counts, "a")
    assert made(counts, "a", forget=True) == {"parts": "a", "knots": [1, 2, 3]}
    made(counts, "b")
    assert counts == ["a", "b"]
    assert len(list(folder.glob("*.json"))) == 2
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("damage", ["", "x", "cut", "other"])
def test_what_is_damaged_is_made_anew(folder: Path, damage: str) -> None:
    counts: list[str] = []
    made(counts, "a")
    (file,) = folder.glob("*.json")
    whole = file.read_text()
    file.write_text({"cut": whole[:-2], "other": whole.replace("3]", "4]")}.get(damage, damage))
    assert made(counts, "a", forget=True)["knots"] == [1, 2, 3]
    assert (counts, file.read_text()) == (["a", "a"], whole)


def test_without_a_place_to_write_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SERVETWIN_CACHE", str(tmp_path / "file"))
    counts: list[str] = []
    assert made(counts, "a") == made(counts, "a", forget=True)
    assert counts == ["a", "a"]
