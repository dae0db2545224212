"""Reads YAML and remembers the line of every key, so that an error can name it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ..errors import SpecError

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the document."""


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number too, which YAML 1.1 reads as text."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def dotted(path: KeyPath) -> str:
    """`("slo", "ttft_ms")` as `slo.ttft_ms`."""
    return ".".join(str(part) for part in path)


def read_text(file: Path) -> str:
    """The text of a spec. Raises SpecError for what cannot be opened or is not UTF-8."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8 text (byte {error.start})", file=str(file)) from None
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", file=str(file)) from None


def parse_value(text: str, origin: str) -> Any:
    """One value written on the command line, read as YAML. Raises SpecError."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"not YAML: {_problem(error)}", file=origin) from None


def parse_document(text: str, file: str) -> tuple[Any, dict[KeyPath, int]]:
    """The data of a YAML document, and the line of each of its keys and items.

    Raises SpecError for malformed YAML, several documents, duplicate keys and keys that are no names.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        raise SpecError(f"not YAML: {_problem(error)}", file=file, line=line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(f"not YAML: {_problem(error)}", file=file, line=line) from None
    lines: dict[KeyPath, int] = {}
    return (None if node is None else _build(loader, node, (), lines, file, ())), lines


def _build(
    loader: _Loader, node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], file: str, above: tuple[yaml.Node, ...]
) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if node in above:
        raise SpecError("an anchor contains itself", file=file, line=line, field=dotted(path))
    above = (*above, node)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            key_line = key_node.start_mark.line + 1
            if key is None:
                raise SpecError("a key must be a name", file=file, line=key_line, field=dotted(path))
            if key in mapping:
                first = lines[(*path, key)]
                raise SpecError(
                    f"given twice, first on line {first}", file=file, line=key_line, field=dotted((*path, key))
                )
            lines[(*path, key)] = key_line
            mapping[key] = _build(loader, value_node, (*path, key), lines, file, above)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, item, (*path, i), lines, file, above) for i, item in enumerate(node.value)]
    try:
        return loader.construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError(f"not YAML: {_problem(error)}", file=file, line=line, field=dotted(path)) from None


def _problem(error: Exception) -> str:
    if getattr(error, "problem", None) == "but found another document":
        return "several documents, and a spec is one"
    return str(getattr(error, "problem", None) or error).splitlines()[0]
