"""Reading untrusted JSON field by field: every key is checked, none is passed over."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InputError

REQUIRED = object()
"""In place of a default: the key must be there."""


class Fields:
    """The keys of one JSON object, taken one after the other. `finish` refuses what is left.

    All methods but `finish` take a key and return its value, or the default; all raise
    InputError, naming the file and the path of the key.
    """

    def __init__(self, raw: object, file: str, path: str = "") -> None:
        self._file = file
        self._path = path
        if not isinstance(raw, dict):
            self._refuse("", raw, "an object")
        self._left: dict[str, Any] = dict(raw)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str, default: object = REQUIRED) -> Any:
        if key in self._left:
            return self._left.pop(key)
        if default is REQUIRED:
            raise InputError("is missing", file=self._file, field=self._path + key)
        return default

    def integer(self, key: str, default: object = REQUIRED, *, least: int = 0) -> int:
        value = self.take(key, default)
        if not is_integer(value) or value < least:
            self._refuse(key, value, f"an integer of at least {least}")
        return int(value)

    def number(self, key: str, default: object = REQUIRED) -> Decimal:
        value = self.take(key, default)
        if not (is_integer(value) or isinstance(value, float | Decimal)) or value < 0:
            self._refuse(key, value, "a number of at least 0")
        return Decimal(str(value))

    def flag(self, key: str, default: object = REQUIRED) -> bool:
        value = self.take(key, default)
        if not isinstance(value, bool):
            self._refuse(key, value, "true or false")
        return value

    def text(self, key: str, default: object = REQUIRED) -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            self._refuse(key, value, "a string")
        return value

    def integers(self, key: str) -> tuple[int, ...] | None:
        """None if the key is absent or null."""
        value = self.take(key, None)
        if value is None:
            return None
        if not isinstance(value, list) or not all(map(is_integer, value)):
            self._refuse(key, value, "a list of integers")
        return tuple(value)

    def refuse(self, key: str, found: object, wanted: str) -> NoReturn:
        """What a key says is understood, but cannot be used."""
        self._refuse(key, found, wanted)

    def finish(self) -> None:
        if self._left:
            key = min(self._left)
            raise InputError("is not a known key", file=self._file, field=self._path + key)

    def _refuse(self, key: str, found: object, wanted: str) -> NoReturn:
        shown = repr(found)
        raise InputError(
            "cannot be used",
            file=self._file,
            field=self._path + key or None,
            found=shown if len(shown) <= 60 else shown[:57] + "...",
            wanted=wanted,
        )


def is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def read_text(path: Path) -> str:
    """The text of a file, unpacked if its name ends in .gz. Raises InputError."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", file=str(path)) from error


def parse_json(text: str, file: str, *, line: int | None = None, exact: bool = False) -> Any:
    """Strict JSON: no NaN, no infinity. `exact` keeps decimals as they are written.

    Raises InputError.
    """

    def refuse(constant: str) -> NoReturn:
        raise InputError(f"{constant} is not a number in JSON", file=file, line=line)

    def finite(digits: str) -> float:
        value = float(digits)
        if math.isinf(value):
            refuse(digits)
        return value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=Decimal if exact else finite)
    except (ValueError, RecursionError) as error:
        raise InputError(f"is not valid JSON: {error}", file=file, line=line) from error


def parse_lines(text: str, file: str) -> Sequence[Any]:
    """One JSON value a line; empty lines do not count."""
    return [
        parse_json(line, file, line=number, exact=True)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]
