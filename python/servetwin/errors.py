"""Every error that servetwin raises on purpose, and the exit codes of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's exit code means; the same for every command."""

    DONE = 0
    DIFFERS = 1
    BAD_INPUT = 2
    STALLED = 3


ROUTER_NOTE = "in the router's "
"""How the note begins that an exception of a user's router carries: what code it is from, or request and time."""


def of_router(error: BaseException) -> bool:
    """Whether a user's router raised it, or answered with what is no choice."""
    return any(note.startswith(ROUTER_NOTE) for note in getattr(error, "__notes__", ()))


def printable(text: str) -> str:
    """`text` with what a terminal would hide or act on escaped; lines stay lines."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)


class ServetwinError(Exception):
    """The root: catching it catches whatever servetwin refuses, and nothing else."""

    exit_code: ExitCode = ExitCode.BAD_INPUT


class InputError(ServetwinError):
    """Something a user gave cannot be used.

    Args:
        message: what is wrong, in one sentence.
        file: where it was read, or None for an argument.
        line: counted from 1, or None where a file has no lines.
        field: dotted path or column name.
        found: the offending value, as the user wrote it.
        wanted: what would be right.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        field: str | None = None,
        found: str | None = None,
        wanted: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.field = field
        self.found = found
        self.wanted = wanted

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        text = ": ".join(part for part in (place, self.field, self.message) if part)
        if self.found is not None:
            text += f"; found {self.found}"
        if self.wanted is not None:
            text += f"; expected {self.wanted}"
        return text


class MissingDataError(InputError):
    """Data that is not part of servetwin is not here."""


class SpecError(InputError):
    """A spec cannot be run. `others` holds the further problems found in the same reading."""

    others: Sequence[SpecError] = ()

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *(str(other) for other in self.others)])


class InvariantError(ServetwinError):
    """A result contradicts itself: a defect of servetwin, not of the input."""

    exit_code = ExitCode.DIFFERS
