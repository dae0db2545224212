"""An imported spec as YAML, its notes in front."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .make import Imported

WIDTH = 110


def yaml_text(imported: Imported) -> str:
    notes = (textwrap.wrap(note, WIDTH, initial_indent="# ", subsequent_indent="#   ") for note in imported.notes)
    body: Any = yaml.dump(imported.spec, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    return "".join(f"{line}\n" for note in notes for line in note) + str(body)


def write_spec(imported: Imported, file: Path) -> None:
    """Whole or not at all. Raises InputError."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        beside.write_text(yaml_text(imported), encoding="utf-8")
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise InputError(f"cannot be written: {error.strerror}", file=str(file)) from None
