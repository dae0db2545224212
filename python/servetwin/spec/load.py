"""From YAML and `--set` to a checked `Spec`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import SpecError
from .check import check
from .deployment import Source, Spec
from .fields import TAGS, kinds_at, nearest, unknown_key, usual, what_belongs
from .lines import KeyPath, dotted, parse_document, parse_value, read_text
from .pool_specs import PoolSource, pool_data
from .pools import POOLS


def load_spec(file: str | Path, overrides: Iterable[str] = ()) -> Spec:
    """Reads a spec and applies overrides of the form `engine.max_num_seqs=128`, the values being YAML.

    Raises SpecError with file, line and dotted path.
    """
    source = Source(str(file), str(Path(file).resolve().parent))
    data, source.lines = parse_document(read_text(Path(file)), str(file))
    if not isinstance(data, dict):
        raise SpecError("holds no mapping of options", file=str(file), line=1)
    return _build(data, source, overrides)


def make_spec(options: Mapping[str, Any], overrides: Iterable[str] = ()) -> Spec:
    """A spec from a dictionary shaped like the YAML. Raises SpecError."""
    return _build(dict(options), Source(), overrides)


def vary(spec: Spec, settings: Mapping[str, Any]) -> Spec:
    """The spec with these values at these dotted paths, as `--set` would give it, and without its search.

    What holds others is set before them: `engine`, and its `name`, before `engine.max_num_seqs`. Raises SpecError.
    """
    source, data = spec.source.copy(), spec.source.data
    data = {name: value for name, value in data.items() if name != "search"}
    for path, value in sorted(((tuple(name.split(".")), value) for name, value in settings.items()), key=_outermost):
        data = _expanded(_set(data, source, path, value, f"search.vary {dotted(path)}={value}"))
    return _checked(data, source)


def _outermost(setting: tuple[KeyPath, Any]) -> tuple[int, KeyPath]:
    path = setting[0]
    return (0 if path[1:] == (TAGS.get(str(path[0])),) else len(path), path)


def _build(data: dict[str, Any], source: Source, overrides: Iterable[str]) -> Spec:
    data = _expanded(data)
    for override in overrides:
        data = _expanded(_override(data, source, override))
    return _checked(data, source)


def _checked(data: dict[str, Any], source: Source) -> Spec:
    source.data = data
    spec = _validated(data, source)
    if spec.pools is not None:
        for name in POOLS:
            seen = _expanded(pool_data(data, name))
            spec._of_pools[name] = _validated(seen, PoolSource(source, name, data["pools"][name]))
    check(spec)
    return spec


def _validated(data: dict[str, Any], source: Source) -> Spec:
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        problems = [_problem(details, data, source) for details in error.errors(include_url=False)]
        problems[0].others = problems[1:]
        raise problems[0] from None
    spec._source = source
    return spec


def _expanded(data: dict[str, Any]) -> dict[str, Any]:
    """With short forms written out: `router: random` is `router: {kind: random}`, a workload is a trace, an engine
    vLLM; `timing: {profile: file}` is of kind profile."""
    data = dict(data)
    for field in ("router", "timing"):
        if isinstance(data.get(field), str):
            data[field] = {"kind": data[field]}
    timing = data.get("timing")
    if isinstance(timing, dict) and "kind" not in timing and "profile" in timing:
        data["timing"] = {"kind": "profile", **timing}
    if isinstance(data.get("workload"), dict) and "kind" not in data["workload"]:
        data["workload"] = {"kind": "trace", **data["workload"]}
    if isinstance(data.get("engine"), dict) and "name" not in data["engine"]:
        data["engine"] = {"name": "vllm", **data["engine"]}
    return data


def _override(data: dict[str, Any], source: Source, override: str) -> dict[str, Any]:
    origin = f"--set {override}"
    name, equals, text = override.partition("=")
    path: KeyPath = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise SpecError("not of the form path=value", file=origin, wanted="such as --set engine.max_num_seqs=128")
    if not text.strip():
        raise SpecError("no value", file=origin, field=dotted(path), wanted="a value, or null for the default")
    return _set(data, source, path, parse_value(text, origin), origin)


def _set(data: dict[str, Any], source: Source, path: KeyPath, value: Any, origin: str) -> dict[str, Any]:
    field = str(path[0])
    tag = TAGS.get(field)
    if tag is not None and path[1:] == (tag,):
        old = data.get(field)
        if field == "engine" and isinstance(old, dict):
            if old["name"] == value:
                return data
            source.left_out += [name for name in old if name != tag]
        # Options of the old kind mean nothing to the new one.
        path, value = path[:1], {tag: value}
    elif tag is not None and len(path) > 1 and data.get(field) is None:
        data = {**data, field: {tag: _default_kind(field)}}
    for earlier, given in source.overrides.items():
        if len(earlier) > len(path) and earlier[: len(path)] == path:
            raise SpecError(f"undone by {origin}", file=given, field=dotted(earlier), wanted="it after that one")
    source.forget(_replaced(data, path))
    source.overrides[path] = origin
    return _with(data, path, value)


def _default_kind(field: str) -> str:
    default = Spec.model_fields[field].get_default(call_default_factory=True, validated_data={})
    return str(getattr(default, TAGS[field]))


def _replaced(data: Any, path: KeyPath) -> KeyPath:
    """What setting `path` replaces: itself, or a value above it that is no mapping."""
    for depth, part in enumerate(path):
        if not isinstance(data, dict):
            return path[:depth]
        data = data.get(part)
    return path


def _with(data: Any, path: KeyPath, value: Any) -> dict[str, Any]:
    inner = dict(data) if isinstance(data, dict) else {}
    inner[str(path[0])] = value if len(path) == 1 else _with(inner.get(str(path[0])), path[1:], value)
    return inner


def _problem(details: ErrorDetails, data: dict[str, Any], source: Source) -> SpecError:
    kind = details["type"]
    path = _without_tags(details["loc"], data, kind)
    found = _written(details["input"])
    context = details.get("ctx", {})
    if kind == "extra_forbidden":
        message, wanted = unknown_key(path, data)
        return source.problem(path, message, wanted=wanted)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds, tag = list(kinds_at(dotted(path))), TAGS[dotted(path)]
        given = details["input"].get(tag) if isinstance(details["input"], dict) else None
        close = nearest(given, kinds)
        hint = f", perhaps {close}" if close else ""
        return source.problem(
            (*path, tag),
            f"no such {'kind' if tag == 'kind' else dotted(path)}{hint}" if given is not None else "missing",
            found=_written(given) if given is not None else None,
            wanted=f"one of {', '.join(kinds)}",
        )
    if kind == "missing":
        return source.problem(path, "missing", wanted=what_belongs(path, data))
    if kind == "literal_error":
        return source.problem(path, "no such choice", found=found, wanted=str(context["expected"]))
    if kind == "value_error":
        return source.problem(path, str(context["error"]), found=found)
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        found = found or ("a list" if isinstance(details["input"], list) else None)
        return source.problem(path, "not a mapping", found=found, wanted=usual(path))
    if kind == "too_short":
        least = f"at least {context['min_length']}"
        return source.problem(path, "has too few items", found=str(context["actual_length"]), wanted=least)
    message = details["msg"][0].lower() + details["msg"][1:]
    found = found or ("a mapping" if isinstance(details["input"], dict) else "a list")
    return source.problem(path, message.replace("input should be", "must be"), found=found)


def _without_tags(location: tuple[str | int, ...], data: Any, kind: str) -> KeyPath:
    """pydantic puts the alternatives it chose into the path; the file has no such levels."""
    path: list[str | int] = []
    for part in location:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            data = data[part]
            path.append(part)
    return (*path, location[-1]) if kind == "missing" else tuple(path)


def _written(value: Any) -> str | None:
    """The value as YAML would show it, if it is short."""
    if isinstance(value, (dict, list)):
        return None
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
