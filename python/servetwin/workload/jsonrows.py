"""Rows of JSON: one object a line, and values by dotted path with the line of whatever is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from ..errors import InputError
from ..units import HORIZON_PS
from .csvtable import TOKENS_MAX
from .source import Source

ABSENT: Any = object()


def parse(source: Source, text: bytes, line: int | None) -> Any:
    """JSON with exact decimals. Raises InputError."""
    try:
        return json.loads(text.decode(), parse_float=Decimal, parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise source.problem(f"byte {error.start + 1} is not UTF-8; save the trace as UTF-8", line=line) from None
    except json.JSONDecodeError as error:
        at = error.lineno if line is None else line
        raise source.problem(f"malformed JSON at column {error.colno}: {error.msg}", line=at) from None
    except RecursionError:
        raise source.problem("JSON nested too deep", line=line) from None
    except (ValueError, ArithmeticError) as error:
        raise source.problem(f"malformed JSON: {error}", line=line) from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"found {constant}; a finite number is right")


def json_lines(source: Source) -> Iterator[Row]:
    """Each line's object; blank lines are nothing. Raises InputError for a line that holds no object."""
    for number, text in enumerate(source.data.split(b"\n"), 1):
        if not text.strip():
            continue
        row = parse(source, text, number)
        if not isinstance(row, dict):
            raise source.problem("is no JSON object; this format has one a line", line=number, found=str(row))
        yield Row(source, number, row)


class Row:
    """One object of a file, and where it stands; `at` is what its paths begin with."""

    def __init__(self, source: Source, line: int | None, data: dict[str, Any], at: str = "") -> None:
        self.source = source
        self.line = line
        self.data = data
        self.at = at

    def fail(self, path: str, message: str, found: Any = None, wanted: str | None = None) -> InputError:
        return self.source.problem(message, line=self.line, field=self.at + path, found=found, wanted=wanted)

    def get(self, path: str) -> Any:
        """The value, or None where there is none."""
        value: Any = self.data
        for name in path.split("."):
            if isinstance(value, list) and name.isdigit():
                value = value[int(name)] if int(name) < len(value) else None
            elif isinstance(value, dict):
                value = value.get(name)
            else:
                return None
        return value

    def whole(self, path: str, least: int = 0, most: int = TOKENS_MAX, default: Any = ABSENT) -> Any:
        """A whole number; 12.0 is as good as 12."""
        value = self.get(path)
        if value is None:
            if default is not ABSENT:
                return default
            raise self.fail(path, "missing", wanted=f"a whole number from {least} to {most}")
        if isinstance(value, Decimal) and value.adjusted() < 20 and value == int(value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.fail(path, "cannot be read", shown(value), f"a whole number from {least} to {most}")
        return value

    def units(self, path: str, power: int, default: Any = ABSENT, *, most: int = 2**100) -> Any:
        """A number from 0, times 10^`power`, rounded to the nearest whole one, halves to even; at most `most`."""
        value = self.get(path)
        if value is None and default is not ABSENT:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise self.fail(path, "missing" if value is None else "cannot be read", shown(value), "a number")
        if value < 0:
            raise self.fail(path, "is negative", shown(value), "a time from 0")
        if isinstance(value, int):
            scaled = value * 10**power
        else:
            scaled = most + 1 if value.adjusted() > 30 else value.scaleb(power).to_integral_value(ROUND_HALF_EVEN)
        if scaled > most:
            wanted = "a time within 100 days, in this format's unit" if most == HORIZON_PS else "a time"
            raise self.fail(path, "is too large", shown(value), wanted)
        return int(scaled)

    def text(self, path: str, default: Any = ABSENT) -> Any:
        """A string that is not empty; whole numbers are taken as they are written."""
        value = self.get(path)
        if value is None and default is not ABSENT:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            wanted = "a string that is not empty"
            raise self.fail(path, "missing" if value is None else "cannot be read", shown(value), wanted)
        return value

    def ids(self, path: str) -> list[int]:
        """A list of ids of up to 64 bits."""
        value = self.get(path)
        if not isinstance(value, list):
            raise self.fail(path, "missing" if value is None else "cannot be read", shown(value), "a list of ids")
        for number, one in enumerate(value, 1):
            if isinstance(one, bool) or not isinstance(one, int) or not 0 <= one < 2**64:
                raise self.fail(path, f"element {number} is no id", shown(one), "a whole number of up to 64 bits")
        return value


def shown(value: Any) -> str | None:
    """As it is written in the file."""
    if value is None:
        return None
    return str(value) if isinstance(value, Decimal) else json.dumps(value, default=str, ensure_ascii=False)
