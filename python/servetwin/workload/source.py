"""A trace's file: what is in it, packed or not, and where in it something is wrong."""

from __future__ import annotations

import hashlib
import io
from functools import cached_property
from pathlib import Path

from ..errors import InputError

HEAD_BYTES = 1 << 16
"""Enough to tell a format by."""

GZIP, ZSTD, PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
FOREIGN = {
    b"\xff\xfe": "is UTF-16; convert it to UTF-8",
    b"\xfe\xff": "is UTF-16; convert it to UTF-8",
    b"PK\x03\x04": "is a zip archive; unpack it first",
    b"BZh": "is bzip2-compressed; decompress it first",
    b"\xfd7zXZ": "is xz-compressed; decompress it first",
}
SHOWN = 80
"""How many characters of what was found a message shows."""


class Source:
    """A file that holds a trace, or its `content` if that is at hand. Raises InputError where it cannot be read."""

    def __init__(self, path: str | Path, content: bytes | None = None) -> None:
        self.path = None if content is not None else Path(path)
        self.name = str(path)
        if content is not None:
            self.raw = content
            self._start = content[:HEAD_BYTES]
        else:
            self._start = self._opened(Path(path))
        for start, message in FOREIGN.items():
            if self._start.startswith(start):
                raise InputError(message, file=self.name)

    def _opened(self, path: Path) -> bytes:
        try:
            if path.is_dir():
                raise InputError("is a directory; name the trace file in it", file=self.name)
            if path.exists() and not path.is_file():
                raise InputError("is not a regular file; write the trace to one first", file=self.name)
            with path.open("rb") as file:
                return file.read(HEAD_BYTES)
        except FileNotFoundError:
            raise InputError("does not exist", file=self.name) from None
        except PermissionError:
            raise InputError("may not be read: permission denied", file=self.name) from None
        except (OSError, ValueError) as error:
            raise InputError(f"cannot be read: {error}", file=self.name) from None

    @property
    def packed(self) -> bool:
        return self._start.startswith((GZIP, ZSTD))

    @property
    def is_parquet(self) -> bool:
        return self._start.startswith(PARQUET)

    @cached_property
    def raw(self) -> bytes:
        try:
            return Path(self.name).read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", file=self.name) from None

    @cached_property
    def sha256(self) -> str:
        """Of the file as it is, packed or not."""
        return hashlib.sha256(self.raw).hexdigest()

    @cached_property
    def data(self) -> bytes:
        """What is in it, unpacked, without a byte order mark."""
        return self._unpacked(self.raw, whole=True).removeprefix(b"\xef\xbb\xbf")

    @cached_property
    def head(self) -> bytes:
        """The first of `data`."""
        start = self._unpacked(self._start, whole=False) if self.packed else self._start
        for foreign, message in FOREIGN.items():
            if self.packed and start.startswith(foreign):
                raise InputError(f"holds what {message}", file=self.name)
        return start.removeprefix(b"\xef\xbb\xbf")[:HEAD_BYTES]

    def _unpacked(self, raw: bytes, *, whole: bool) -> bytes:
        if not raw.startswith((GZIP, ZSTD)):
            return raw
        import gzip
        import zlib

        try:
            if raw.startswith(GZIP):
                if whole:
                    return gzip.decompress(raw)
                return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw, HEAD_BYTES)
            return _zstd(raw, -1 if whole else HEAD_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"cannot be decompressed: {str(error).strip()}", file=self.name) from None

    def problem(
        self,
        message: str,
        *,
        line: int | None = None,
        field: str | None = None,
        found: object = None,
        wanted: str | None = None,
    ) -> InputError:
        """An error at a place in this file."""
        shown = None if found is None else short(found)
        return InputError(message, file=self.name, line=line, field=field, found=shown, wanted=wanted)


def short(found: object) -> str:
    """What was found, as far as a message shows it."""
    text = str(found)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def _zstd(raw: bytes, count: int) -> bytes:
    import pyarrow as pa

    with pa.CompressedInputStream(pa.BufferReader(raw), "zstd") as stream:
        if count < 0:
            parts = io.BytesIO()
            while part := stream.read(1 << 24):
                parts.write(part)
            return parts.getvalue()
        return bytes(stream.read(count))
