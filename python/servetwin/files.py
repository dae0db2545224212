"""Files and folders that are written whole or not at all: a draft beside them takes their name when it is complete."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .errors import InputError

STUDY = "study.sqlite"
"""The ledger of a study of `servetwin plan`, by which its folder is known."""


@contextmanager
def whole_file(file: Path) -> Iterator[Path]:
    """An empty draft to fill; an older `file` remains until then. Raises InputError if it cannot be written."""
    import tempfile

    draft = None
    try:
        if file.is_dir():
            raise InputError("is a folder, not a file to write", file=str(file))
        descriptor, name = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.absolute().parent)
        os.close(descriptor)
        draft = Path(name)
        yield draft
        draft.chmod(0o666 & ~umask())
        draft.replace(file)
        draft = None
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=str(file)) from None
    finally:
        if draft is not None:
            draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A draft to fill, of a folder that is not there yet or is empty. Raises InputError if it cannot be written."""
    import shutil
    import tempfile

    target = folder.absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield draft
            draft.chmod(0o777 & ~umask())
            draft.rename(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=str(folder)) from None


def write_whole(file: Path, parts: Iterable[str]) -> int:
    """Writes text, compressed if the name ends in .gz, and returns the file's size in bytes.

    Raises InputError if it cannot be written.
    """
    with whole_file(file) as draft:
        with draft.open("wb") as raw:
            _write(raw, parts, compress=file.suffix == ".gz")
            raw.flush()
            os.fsync(raw.fileno())
        return draft.stat().st_size


def _write(raw: IO[bytes], parts: Iterable[str], compress: bool) -> None:
    if not compress:
        for part in parts:
            raw.write(part.encode())
        return
    import gzip

    # Without a name or a time in it: the same content is the same file.
    with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
        for part in parts:
            packed.write(part.encode())


def umask() -> int:
    """What this process takes from the permissions of what it makes."""
    # There is no way to read it but to set it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def absolute(path: str | Path) -> str:
    """From the root, and without `..` where the shorter name is of the same file: behind a link it need not be."""
    whole = Path(path).absolute()
    short = os.path.normpath(whole)
    try:
        return short if os.path.samefile(short, whole) else str(whole)
    except OSError:
        return str(whole)
