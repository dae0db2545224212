"""What a study has found out so far, in one SQLite file: a run is there whole, and for good, or not at all.

A study is carried out by asking for runs, and asks the ledger first. So to go on after a crash is to begin again:
every finished run is found, and what follows from it is decided as before.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import STUDY
from .runs import Outcome, Run

FILE = STUDY

VERSION = 1
"""Of the tables. It grows when older programs could misread them."""

APPLICATION = 0x73747769
"""Marks the file as a ledger ("stwi"), as SQLite's application_id."""

TABLES = """
CREATE TABLE IF NOT EXISTS study (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS runs (
    candidate INTEGER NOT NULL,
    load REAL NOT NULL,
    share REAL NOT NULL,
    stalled INTEGER NOT NULL,
    simulate_s REAL NOT NULL,
    summary TEXT NOT NULL,
    PRIMARY KEY (candidate, load, share)
) STRICT;
"""


class Ledger:
    """The ledger in `folder`. Several processes may have it open at once."""

    def __init__(self, folder: Path, *, create: bool) -> None:
        self._file = folder / FILE
        if not create and not self._file.is_file():
            raise InputError(
                "holds no study", file=str(folder), wanted=f"a folder with a {FILE}, as `plan --out` writes"
            )
        with self._named_errors():
            # Waits for another process to finish writing; a write takes milliseconds.
            self._database = sqlite3.connect(self._file, timeout=60, isolation_level=None, check_same_thread=False)
            self._check()
            self._database.execute("PRAGMA journal_mode = WAL")
            # After a crash of the process nothing is lost; after one of the machine perhaps the last runs.
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(TABLES)
            self._database.execute(f"PRAGMA application_id = {APPLICATION}")
            self._database.execute(f"PRAGMA user_version = {VERSION}")
            self._known = dict(self._read())

    def _check(self) -> None:
        application = self._pragma("application_id")
        empty = self._pragma("schema_version") == 0
        if not empty and application != APPLICATION:
            raise InputError("not a study of servetwin", file=str(self._file))
        version = self._pragma("user_version")
        if version > VERSION:
            raise InputError(
                "written by a newer servetwin",
                file=str(self._file),
                found=f"version {version}",
                wanted=f"at most {VERSION}, or a newer servetwin",
            )

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    def _read(self) -> Iterator[tuple[Run, Outcome]]:
        rows = self._database.execute("SELECT candidate, load, share, stalled, simulate_s, summary FROM runs")
        for candidate, load, share, stalled, simulate_s, summary in rows:
            yield Run(candidate, load, share), Outcome(json.loads(summary), bool(stalled), simulate_s)

    def get(self, run: Run) -> Outcome | None:
        return self._known.get(run)

    def put(self, run: Run, outcome: Outcome) -> None:
        """Keeps it. Of two processes that carried out the same run, the first is kept: they are equal but for time."""
        row = (run.candidate, run.load, run.share, outcome.stalled, outcome.simulate_s, json.dumps(outcome.summary))
        with self._named_errors():
            self._database.execute("INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?, ?)", row)
        self._known[run] = outcome

    def all(self) -> list[tuple[Run, Outcome]]:
        """By candidate, load and share."""
        return sorted(self._known.items())

    def facts(self) -> dict[str, Any]:
        """What the study is of."""
        with self._named_errors():
            return {name: json.loads(value) for name, value in self._database.execute("SELECT * FROM study")}

    def set_facts(self, facts: Mapping[str, Any]) -> None:
        rows = [(name, json.dumps(value)) for name, value in facts.items()]
        with self._named_errors():
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany("INSERT OR REPLACE INTO study VALUES (?, ?)", rows)
            self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()

    def _named_errors(self) -> _NamedErrors:
        return _NamedErrors(self._file)


class _NamedErrors:
    """Says which file SQLite could not read or write. What was written before stays."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.DatabaseError):
            damaged = "malformed" in str(error) or "not a database" in str(error)
            message = "damaged, or no study" if damaged else "cannot be read or written; finished runs are kept"
            raise InputError(f"{message}: {error}", file=str(self._file)) from None
        if isinstance(error, (ValueError, TypeError)) and not isinstance(error, InputError):
            raise InputError(f"damaged: a run cannot be read ({error})", file=str(self._file)) from None
