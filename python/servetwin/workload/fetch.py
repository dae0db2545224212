"""Downloads of public traces: checked, whole or not at all, and going on where the last one broke off."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from .public import PUBLIC, PublicTrace

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 30


@dataclass(frozen=True)
class Fetched:
    """`new`: False if the file was there already; `known`: whether it could be compared with a known SHA-256."""

    file: Path
    sha256: str
    new: bool
    known: bool


def fetch(name: str, folder: str | Path = ".", *, progress: Callable[[float], None] | None = None) -> Fetched:
    """Downloads a public trace into `folder`, under the name it has at its source.

    What has arrived stays beside it as NAME.part until all has. `progress` is called with the share done, where the
    server tells how much there is. Raises InputError for an unknown name, a source that cannot be reached, or one that
    has changed.
    """
    trace = PUBLIC.get(name)
    if trace is None:
        raise InputError("no such public trace", field="name", found=name, wanted=f"one of {', '.join(PUBLIC)}")
    file = Path(folder) / trace.file
    new = not file.parent.exists()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.exists():
            return _there(file, trace)
        part = file.with_name(f"{file.name}.part")
        _download(trace, part, progress or (lambda share: None))
        sha256 = _sha256(part)
        if trace.sha256 not in (None, sha256):
            _forget(part)
            raise InputError(
                "not the trace it should be, and thrown away: the source has changed, or what came was no trace",
                file=trace.url,
                found=f"sha256 {sha256}",
                wanted=str(trace.sha256),
            )
        part.replace(file)
        _forget(part)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror or error}", file=error.filename or str(file)) from None
    finally:
        if new:
            # Goes only if nothing came.
            with contextlib.suppress(OSError):
                file.parent.rmdir()
    return Fetched(file, sha256, True, trace.sha256 is not None)


def _there(file: Path, trace: PublicTrace) -> Fetched:
    sha256 = _sha256(file)
    if trace.sha256 not in (None, sha256):
        raise InputError(
            "is there already, and is another file",
            file=str(file),
            found=f"sha256 {sha256}",
            wanted=f"{trace.sha256}; remove it, or choose another folder",
        )
    return Fetched(file, sha256, False, trace.sha256 is not None)


def _download(trace: PublicTrace, part: Path, progress: Callable[[float], None]) -> None:
    with _answer(trace.url, part) as (answer, start):
        if answer is None:
            return
        length = answer.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdigit() else None
        _remember(part, answer.headers.get("ETag"))
        with part.open("ab" if start else "wb") as into:
            done = start
            for chunk in answer.iter_raw():
                into.write(chunk)
                done += len(chunk)
                if total:
                    progress(done / total)
    if total is not None and done != total:
        raise _broken(trace.url, part, "the connection was closed")


@contextlib.contextmanager
def _answer(url: str, part: Path) -> Iterator[tuple[httpx.Response | None, int]]:
    """The server's answer, and the byte it begins at; None if there was nothing left to come."""
    import httpx

    have = part.stat().st_size if part.exists() else 0
    # As it is: the bytes of a compressed answer could not be continued.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if etag := _etag(part):
            headers["If-Range"] = etag
    try:
        with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as client:
            with client.stream("GET", url, headers=headers) as answer:
                if answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    yield answer, have
                    return
                if answer.status_code == 200:
                    yield answer, 0
                    return
                status = answer.status_code
                if status == 416 and answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                    yield None, have
                    return
            if status in (206, 416):
                # What is here is no beginning of what is there.
                _forget(part)
                with client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer:
                    status = answer.status_code
                    if status == 200:
                        yield answer, 0
                        return
        raise InputError(f"cannot be had: the server answers {status}", file=url)
    except httpx.HTTPError as error:
        raise _broken(url, part, str(error) or type(error).__name__) from None


def _broken(url: str, part: Path, why: str) -> InputError:
    have = part.stat().st_size if part.exists() else 0
    if have:
        return InputError(f"broke off: {why}; {have:,} bytes are in {part}, run again to go on", file=url)
    advice = "is there a network? elsewhere, download it with a browser and name the file with --trace"
    return InputError(f"cannot be reached: {why}; {advice}", file=url)


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _remember(part: Path, etag: str | None) -> None:
    """Weak tags do not promise the same bytes."""
    if etag is not None and not etag.startswith("W/"):
        _tag_file(part).write_text(etag)
    else:
        _tag_file(part).unlink(missing_ok=True)


def _etag(part: Path) -> str | None:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return _tag_file(part).read_text()
    return None


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag_file(part).unlink(missing_ok=True)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        digest: Any = hashlib.file_digest(opened, "sha256")
    return str(digest.hexdigest())
