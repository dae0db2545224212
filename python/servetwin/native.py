"""The border to the native core: its errors become servetwin's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
