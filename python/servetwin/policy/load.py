"""Finds a router of the user's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import cast

from ..errors import ROUTER_NOTE
from ..spec import Spec
from ..spec.router import PythonRouter
from .router import Router


def load_router(spec: Spec, options: PythonRouter) -> Router:
    """The object that `options.object` names; a class is called without arguments.

    Raises SpecError if it is not to be found or has no `route`; what the user's own code raises passes through,
    with a note.
    """
    place, _, name = options.object.rpartition(":")
    module = _module_from_file(spec, place) if place.endswith(".py") else _module_by_name(spec, place)
    found: object = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise spec.source.problem(("router", "object"), f"{place} defines no {name}", found=repr(options.object))
    router = found
    if isinstance(found, type):
        with _noted(f"{name}(), called without arguments"):
            router = found()
    if not callable(getattr(router, "route", None)):
        raise spec.source.problem(
            ("router", "object"),
            "not a router: it has no method route(request, replicas)",
            found=repr(options.object),
        )
    return cast(Router, router)


@contextmanager
def _noted(code: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        error.add_note(ROUTER_NOTE + code)
        raise


def _module_from_file(spec: Spec, place: str) -> ModuleType:
    file = spec.source.path(("router", "object"), place)
    try:
        exists = file.is_file()
    except OSError as error:
        raise spec.source.problem(("router", "object"), f"{file} cannot be read: {error.strerror}") from None
    if not exists:
        raise spec.source.problem(("router", "object"), f"there is no file {file}", found=repr(place))
    name = f"servetwin_user_{file.stem}"
    module_spec = importlib.util.spec_from_file_location(name, file)
    if module_spec is None or module_spec.loader is None:
        raise spec.source.problem(("router", "object"), f"{file} is no Python file", found=repr(place))
    module = importlib.util.module_from_spec(module_spec)
    # Dataclasses and pickling look their module up by name.
    sys.modules[name] = module
    with _noted(f"file {file}, as it was imported"):
        module_spec.loader.exec_module(module)
    return module


def _module_by_name(spec: Spec, place: str) -> ModuleType:
    try:
        with _noted(f"module {place}, as it was imported"):
            return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(error.name + ".")):
            raise
        raise spec.source.problem(
            ("router", "object"),
            f"there is no module {place}",
            found=repr(place),
            wanted="a module, or a path to a .py file",
        ) from None
