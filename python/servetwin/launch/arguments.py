"""Flags and values out of an engine's arguments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .table import Table

SIZES = ("cudagraph-capture-sizes", "cuda-graph-bs-decode")
"""Modelled flags that take several words."""


@dataclass
class Arguments:
    """What was given, by flag; a later one counts."""

    values: dict[str, Any] = field(default_factory=dict)
    """Text, or as YAML or JSON gave it; True and False for switches."""
    written: dict[str, str] = field(default_factory=dict)
    """As they stand in the line."""
    unknown: list[str] = field(default_factory=list)


def read_arguments(table: Table, words: list[str], directory: Path | None) -> Arguments:
    """Flags in any of their forms, a file of `--config` included. Raises InputError.

    `--flag value`, `--flag=value`, underscores for dashes, short forms and unambiguous beginnings, `--no-switch`, and
    `--flag.key value` for a part of a value in JSON. `directory` is where the paths in the line start.
    """
    given = Arguments()
    config = None
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or _is_number(word):
            if "model" in given.values or _model_flag(table) in given.values:
                raise InputError("belongs to no flag", field=word, wanted="a flag in front of it, or it left out")
            _put(given, _model_flag(table), word, "model")
            continue
        name, equals, value = word.lstrip("-").partition("=")
        flag, part, switch = _meaning(table, name)
        if flag is None:
            given.unknown.append(word.partition("=")[0])
            if not equals and rest and not rest[0].startswith("-"):
                rest.pop(0)
            continue
        taken: Any = value
        if switch is not None and not equals:
            taken = switch
        elif not equals:
            if not rest or (rest[0].startswith("-") and not _is_number(rest[0])):
                raise InputError("needs a value", field=word)
            taken = rest.pop(0)
            while rest and not rest[0].startswith("-") and _takes_several(table, flag, given):
                taken = f"{taken} {rest.pop(0)}"
        if flag == "config":
            config = Path(directory or "", str(taken))
        elif part:
            _put_part(given, flag, part, taken, word)
        else:
            _put(given, flag, taken, word.partition("=")[0])
    if config is not None:
        _add_file(table, given, config)
    return given


def _meaning(table: Table, name: str) -> tuple[str | None, str, bool | None]:
    """The flag, the part of its value that is set, and, if it takes no value, what it says."""
    if (flag := table.find(name)) is not None:
        return flag, "", True if flag in table.switches else None
    head, dot, part = name.partition(".")
    if dot and (flag := table.find(head)) is not None:
        return flag, part, None
    for prefix in ("no-", "no_"):
        positive = table.find(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if positive is not None and positive in table.switches:
            return positive, "", False
    return None, "", None


def _model_flag(table: Table) -> str:
    return next(name for name, flag in table.flags.items() if flag.status == "modelled" and flag.what == "model")


def _takes_several(table: Table, flag: str, given: Arguments) -> bool:
    """Lists of sizes, and of flags that do not matter here; a word after another one is the model, or a mistake."""
    if flag in SIZES:
        return True
    return table.flags[flag].status == "without effect" and _model_flag(table) in given.values


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _put(given: Arguments, flag: str, value: Any, written: str) -> None:
    given.values[flag] = value
    given.written[flag] = written


def _put_part(given: Arguments, flag: str, part: str, value: str, written: str) -> None:
    whole = given.values.get(flag, {})
    if isinstance(whole, str):
        whole = as_json(flag, whole)
    inner = whole
    *path, last = part.split(".")
    for key in path:
        inner = inner.setdefault(key, {})
    try:
        inner[last] = json.loads(value)
    except ValueError:
        inner[last] = value
    _put(given, flag, whole, written)


def as_json(flag: str, text: str) -> Any:
    """Raises InputError."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"not JSON: {str(error).lower()}", field=f"--{flag}", found=repr(text)) from None


def _add_file(table: Table, given: Arguments, file: Path) -> None:
    """vLLM and SGLang let the line count against the file; TensorRT-LLM the file."""
    try:
        data = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {str(error).splitlines()[0]}", file=str(file)) from None
    if not isinstance(data, dict):
        raise InputError("holds no mapping of options", file=str(file))
    for name, value in _flat(table, data, ""):
        flag, written = table.find(name, exactly=True), f"{name.replace('-', '_')} (in {file.name})"
        if flag is None:
            given.unknown.append(written)
        elif table.engine == "trtllm" or flag not in given.values:
            _put(given, flag, value, written)


def _flat(table: Table, data: dict[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    """Nested options by dotted names, as far as the table knows them so."""
    for key, value in data.items():
        name = f"{above}{key}".replace("_", "-")
        if isinstance(value, dict) and any(known.startswith(f"{name}.") for known in table.flags):
            yield from _flat(table, value, f"{name}.")
        else:
            yield name, value
