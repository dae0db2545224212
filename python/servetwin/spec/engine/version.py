"""Versions of engines, as people write them."""

from __future__ import annotations

from typing import Any


def known_version(value: Any, versions: tuple[str, ...], title: str) -> str:
    """The version whose rules are modelled: `0.32`, `v0.32.0` and YAML's number 0.32 are the same.

    A patch release of 0 follows its minor release; where patch releases are listed, they are told apart. Raises
    ValueError for others.
    """
    text = str(value).removeprefix("v") if isinstance(value, (str, float)) and value is not True else None
    if text is not None and text not in versions and text.endswith(".0") and text.count(".") == 2:
        text = text[:-2]
    if text not in versions:
        known = f"{', '.join(versions[:-1])} and {versions[-1]}" if len(versions) > 1 else versions[0]
        raise ValueError(f"no rules for this version of {title}; there are rules for {known}")
    return text
