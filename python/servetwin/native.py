"""The border to the native core: its errors become servetwin's, its columns numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from ._core import InputError as NativeInputError
from .errors import InputError


@contextmanager
def native_errors() -> Iterator[None]:
    """Raises the core's refusal of an input as InputError; everything else passes through."""
    try:
        yield
    except NativeInputError as error:
        file, line, field, message = error.args
        raise InputError(message, file=file, line=line, field=field) from None


def numbers(column: bytes, code: Literal["q", "Q", "I", "B"]) -> list[int]:
    """A column of the core's; `code` is its type, as `struct` writes it."""
    return memoryview(column).cast(code).tolist()
