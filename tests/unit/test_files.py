"""Names of files, as they are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from servetwin.errors import InputError
from servetwin.files import absolute, write_whole


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / f"{'a' * 256}.html"
    with pytest.raises(InputError, match="cannot be written: File name too long"):
        write_whole(file, ["text"])
    with pytest.raises(InputError, match="is a folder"):
        write_whole(tmp_path, ["text"])
    assert not list(tmp_path.iterdir())


def test_a_path_is_kept_short_where_that_names_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    file = tmp_path / "there" / "trace.jsonl"
    file.write_text("")
    monkeypatch.chdir(tmp_path / "here")
    assert absolute("../there/trace.jsonl") == str(file)
    assert absolute(Path("..", "there", ".", "trace.jsonl")) == str(file)
    assert absolute("../nowhere/trace.jsonl") == str(tmp_path / "here/../nowhere/trace.jsonl")


def test_a_path_through_a_link_stays_as_it_is(tmp_path: Path) -> None:
    """Above what a link leads to is another folder than above the link."""
    (tmp_path / "far" / "inside").mkdir(parents=True)
    (tmp_path / "far" / "trace.jsonl").write_text("meant")
    (tmp_path / "trace.jsonl").write_text("not meant")
    (tmp_path / "link").symlink_to(tmp_path / "far" / "inside")
    kept = absolute(tmp_path / "link" / ".." / "trace.jsonl")
    assert Path(kept).read_text() == "meant"
