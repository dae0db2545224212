"""A study on disk: the ledger, and what it is of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._core import __version__
from ..errors import InputError, SpecError
from ..files import absolute
from ..simulation import with_trace
from ..spec import Spec, make_spec
from ..workload import open_workload
from .ledger import FILE, Ledger
from .space import Space, check_some, space_of

if TYPE_CHECKING:
    from .._core import Trace


@dataclass(frozen=True)
class Folder:
    """An open study.

    Attributes:
        spec: with its search, and with the trace that was given beside it.
        trace: the workload.
        space: what is searched.
    """

    path: Path
    spec: Spec
    trace: Trace
    ledger: Ledger
    space: Space


def create(path: Path, spec: Spec, trace: str | None) -> Folder:
    """A new study in `path`, which is made.

    Raises SpecError for a search that cannot be carried out; InputError if there is a study, or it cannot be written.
    """
    if (path / FILE).exists():
        raise InputError("holds a study already", file=str(path), wanted=f"--resume {path}, or another folder")
    if trace is not None:
        spec = with_trace(spec, trace)
    opened = open_workload(spec)
    space = space_of(spec, opened)  # an error of the search leaves no folder behind
    check_some(space)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", file=str(path)) from None
    ledger = Ledger(path, create=True)
    ledger.set_facts(
        {
            "servetwin": __version__,
            "spec": spec.source.data,
            "file": spec.source.file,
            "directory": spec.source.directory,
            "trace": None if trace is None else absolute(trace),
            "workload_sha256": opened.sha256,
        }
    )
    return Folder(path, spec, opened, ledger, space)


def resume(path: Path) -> Folder:
    """A study that was begun before. Raises InputError if it is none, or its workload has changed."""
    ledger = Ledger(path, create=False)
    facts = ledger.facts()
    missing = [name for name in ("servetwin", "spec", "workload_sha256") if name not in facts]
    if missing:
        raise InputError("was never begun: it holds no spec", file=str(path / FILE), wanted="a new folder")
    if facts["servetwin"] != __version__:
        raise InputError(
            f"begun by servetwin {facts['servetwin']}: runs of two versions are not mixed",
            file=str(path / FILE),
            wanted=f"that version, or a new study with {__version__}",
        )
    spec = _spec(facts, path)
    if facts["trace"] is not None:
        spec = with_trace(spec, facts["trace"])
    opened = open_workload(spec)
    if opened.sha256 != facts["workload_sha256"]:
        raise InputError(
            "its workload has changed since", file=str(path / FILE), wanted="the same trace, or a new study"
        )
    return Folder(path, spec, opened, ledger, space_of(spec, opened))


def _spec(facts: dict[str, Any], path: Path) -> Spec:
    try:
        spec = make_spec(facts["spec"])
    except SpecError as error:
        raise InputError(f"damaged: its spec cannot be read: {error}", file=str(path / FILE)) from None
    spec.source.file, spec.source.directory = facts["file"], facts["directory"]
    return spec
