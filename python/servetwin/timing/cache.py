"""Tables that were made once: kept in the process, and in the user's cache folder.

A table's name is the SHA-256 of what it depends on, this package's own files among it. A file holds its content's
digest in front: what is cut short or changed is made anew. Writers put whole files in place, so that several may at
once. Where nothing can be written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from ..errors import InputError
from ..files import whole_file

T = TypeVar("T")

MOST_FILES = 500
"""Of the folder; beyond, the oldest go."""

_made: dict[str, Any] = {}
_lock = Lock()


def once(parts: str, make: Callable[[], Any], read: Callable[[Any], T]) -> T:
    """What `make` returns, JSON values only, for everything that it depends on: `parts`; as `read` takes it, which all
    who ask share."""
    name = hashlib.sha256(f"{_code()}\n{parts}".encode()).hexdigest()
    with _lock:
        if name not in _made:
            file = folder() / f"{name}.json"
            found = _read(file)
            if found is None:
                found = make()
                _write(file, found)
            _made[name] = read(found)
        made: T = _made[name]
        return made


def folder() -> Path:
    """`SERVETWIN_CACHE`, else where the system keeps a user's caches."""
    given = os.environ.get("SERVETWIN_CACHE")
    if given:
        return Path(given) / "timing"
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "servetwin" / "timing"


def files_of(paths: list[Path]) -> str:
    """Which content files have, as far as their sizes and times of change tell."""
    stats = [(str(path), path.stat()) for path in sorted(paths)]
    return ";".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)


@cache
def _code() -> str:
    package = Path(__file__).parent
    sources = [path for root in (package, package.parent / "catalog") for path in root.rglob("*")]
    return files_of([path for path in sources if path.suffix in (".py", ".json")])


def _read(file: Path) -> Any:
    try:
        digest, _, content = file.read_text(encoding="utf-8").partition("\n")
        if hashlib.sha256(content.encode()).hexdigest() == digest:
            return json.loads(content)
    except (OSError, ValueError):
        pass
    return None


def _write(file: Path, made: Any) -> None:
    content = json.dumps(made)
    with suppress(OSError, InputError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as draft:
            draft.write_text(f"{hashlib.sha256(content.encode()).hexdigest()}\n{content}", encoding="utf-8")
        _prune(file.parent)


def _prune(kept: Path) -> None:
    files = sorted(kept.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    for file in files[:-MOST_FILES]:
        file.unlink(missing_ok=True)
