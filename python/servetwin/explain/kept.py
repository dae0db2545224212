"""Explanations in a study's folder: one file a trial, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import write_whole

FOLDER = "explanations"


def keep(study: Path, told: Mapping[str, Any]) -> None:
    """Writes what `Explanation.as_json` tells, with its `trial` and `load`. Raises InputError if it cannot."""
    file = study / FOLDER / f"{told['trial']}.json"
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", file=str(file)) from None
    write_whole(file, [json.dumps(told, indent=1, ensure_ascii=False)])


def kept(study: Path) -> dict[int, dict[str, Any]]:
    """By trial, what was told of it. Raises InputError where a file is damaged."""
    found = {}
    for file in sorted((study / FOLDER).glob("[0-9]*.json")):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            found[int(told["trial"])] = told
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"damaged: {error}", file=str(file), wanted="`servetwin explain` again, or the file removed"
            ) from None
    return found
