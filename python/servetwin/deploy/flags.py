"""A pool's options as its engine's flags: the launch tables read the other way round."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..launch.table import Table, find_table
from ..spec import Spec
from ..spec.base import SpecModel
from ..spec.engine import TITLES
from ..spec.engine.speculation import Speculation

UNWRITTEN = ("name", "version", "ignore_eos", "speculation")
"""Of an engine's options, those that say what it is, or what no flag tells."""


@dataclass(frozen=True)
class Flag:
    """As the engine's own table spells it, without dashes."""

    name: str
    value: Any
    """True and False of a switch."""
    field: str
    """Of the spec."""


def table_of(spec: Spec) -> Table:
    return find_table(spec.engine.name, spec.engine.version)


def engine_flags(spec: Spec, draft_model: str | None) -> list[Flag]:
    """What the spec says outright, in the order of its fields; the rest stays at the engine's defaults.

    Args:
        spec: as one pool sees it.
        draft_model: the weights that draft, which EAGLE needs and no spec tells.

    Raises InputError where this version of the engine has no flag for an option, or drafts come from nowhere.
    """
    table = table_of(spec)
    names = {flag.what: name for name, flag in table.flags.items() if flag.status == "modelled"}
    found = [*_parallel(spec, names), *_engine(spec, table, names)]
    drafting = spec.engine.drafting
    if drafting is None or drafting.head != "eagle":
        if draft_model is not None:
            raise InputError("never read: nothing drafts with weights of its own", field="--draft-model")
        return found
    if draft_model is None:
        raise InputError(
            "missing: the head that drafts, which no spec tells", field="--draft-model", wanted="its name or path"
        )
    return _with_drafts(found, spec.engine.name, draft_model, table)


def checked(table: Table, name: str) -> str:
    """A flag that no option of a spec becomes. Raises InputError if this version of the engine does not have it."""
    if table.find(name, exactly=True) is None:
        raise InputError(f"no such flag of {TITLES[table.engine]} {table.version}", field=f"--{name}")
    return name


def words(flags: list[Flag]) -> list[str]:
    """As they stand in a command line."""
    found: list[str] = []
    for flag in flags:
        if isinstance(flag.value, bool):
            found.append(f"--{'' if flag.value else 'no-'}{flag.name}")
        elif isinstance(flag.value, Mapping):
            found += [f"--{flag.name}", json.dumps(flag.value)]
        elif isinstance(flag.value, list):
            found += [f"--{flag.name}", *map(str, flag.value)]
        else:
            found += [f"--{flag.name}", str(flag.value)]
    return found


def _parallel(spec: Spec, names: Mapping[str, str]) -> Iterator[Flag]:
    """vLLM has a switch for experts shared among all ranks; SGLang's tp-size counts those of all data ranks."""
    parallel, engine = spec.parallel, spec.engine.name
    attention = engine == "sglang" and getattr(spec.engine, "enable_dp_attention", False)
    sizes: dict[str, Any] = {
        "tensor": parallel.tensor * parallel.data if attention else parallel.tensor,
        "pipeline": parallel.pipeline,
        "data": parallel.data,
        "expert": parallel.expert > 1 if engine == "vllm" else parallel.expert,
    }
    for name, size in sizes.items():
        field = f"parallel.{name}"
        if size is False or (size == 1 and size is not True):
            continue
        if field not in names:
            raise InputError(f"{TITLES[engine]} has no flag for it", field=field, found=str(size))
        yield Flag(names[field], size, field)


def _engine(spec: Spec, table: Table, names: Mapping[str, str]) -> Iterator[Flag]:
    for name, value in _given(spec.engine):
        field = f"engine.{name}"
        # Options of decode replicas alone are no part of the tables' model, but flags of the same name.
        flag = names.get(field) or table.find(name, exactly=True)
        if flag is not None:
            yield Flag(flag, _written(name, value), field)
        else:
            raise InputError(f"{TITLES[table.engine]} {table.version} has no flag for it", field=field)


def _given(options: SpecModel, above: str = "") -> Iterator[tuple[str, Any]]:
    """Options that were set to a value, by dotted name; of vLLM's JSON, whole."""
    for name in type(options).model_fields:
        value = getattr(options, name)
        if name not in options.model_fields_set or name in UNWRITTEN or value is None:
            continue
        if isinstance(value, SpecModel) and name != "speculative":
            yield from ((f"{above}{name}.{inner}", one) for inner, one in _given(value) if inner not in DRAFTING)
        else:
            yield f"{above}{name}", value


DRAFTING = tuple(Speculation.model_fields)
"""What speculation yields and costs, which engines find out by themselves."""


def _written(name: str, value: Any) -> Any:
    if name == "cudagraph_mode":
        return {"cudagraph_mode": value}
    if isinstance(value, SpecModel):  # vLLM's speculation
        kept = value.model_dump(exclude_unset=True, exclude_none=True)
        return {key: one for key, one in kept.items() if key not in DRAFTING}
    return value


def _with_drafts(flags: list[Flag], engine: str, model: str, table: Table) -> list[Flag]:
    if engine == "vllm":
        return [
            Flag(flag.name, {**flag.value, "model": model}, flag.field) if flag.field == "engine.speculative" else flag
            for flag in flags
        ]
    name = {"sglang": "speculative-draft-model-path", "trtllm": "speculative-config.speculative-model"}[engine]
    return [*flags, Flag(checked(table, name), model, "--draft-model")]
