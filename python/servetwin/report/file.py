"""Files for people, written whole or not at all."""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from ..errors import InputError


def write_whole(file: Path, parts: Iterable[str]) -> int:
    """Writes text, compressed if the name ends in .gz, and returns the file's size in bytes.

    It takes its name only when it is complete; an older file of that name remains until then.
    Raises InputError if it cannot be written.
    """
    if file.is_dir():
        raise InputError("is a folder, not a file to write", file=str(file))
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.absolute().parent)
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as raw:
                _write(raw, parts, compress=file.suffix == ".gz")
                raw.flush()
                os.fsync(raw.fileno())
            draft.chmod(0o666 & ~_umask())
            size = draft.stat().st_size
            draft.replace(file)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=str(file)) from None
    return size


def _write(raw: IO[bytes], parts: Iterable[str], compress: bool) -> None:
    if not compress:
        for part in parts:
            raw.write(part.encode())
        return
    # Without a name or a time in it: the same content is the same file.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
        for part in parts:
            packed.write(part.encode())


def size_text(size: int) -> str:
    """As people read sizes."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(round(size / 1e3), 1)} kB"


def _umask() -> int:
    # There is no way to read it but to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
