"""A spec out of a launch line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..catalog import find_model, resolve_engine
from ..errors import InputError, SpecError
from ..spec import make_spec
from ..spec.engine import TITLES
from .arguments import Arguments, read_arguments
from .manifest import read_manifest
from .table import ENGINES, Table, find_table, modelled_release
from .values import is_off, spec_value
from .words import Command, find_command, statements


@dataclass(frozen=True)
class Imported:
    """A spec, and what is to be said of the flags that did not go into it."""

    spec: dict[str, Any]
    notes: list[str]


def import_line(
    command: Command,
    *,
    engine: str | None = None,
    version: str | None = None,
    gpu: str | None = None,
    replicas: int | None = None,
    model_config: str | None = None,
    acceptance: float | None = None,
    allow_unsupported: bool = False,
    directory: Path | None = None,
) -> Imported:
    """The spec that a launch command amounts to, checked as any spec.

    Args:
        engine: needed where the command does not tell; an error where it tells otherwise.
        version: of the engine; the newest that is modelled if not given.
        gpu: which no launch line tells.
        model_config: a config.json in place of the model's name.
        acceptance: the chance of each draft, which speculation needs and no launch line tells.
        allow_unsupported: leaves out, and notes, what is refused otherwise.
        directory: where the paths in the line start.

    Raises InputError for unknown and refused flags, all of them at once, and for what the engine would refuse.
    """
    name = _engine(command, engine)
    table = find_table(name, version or modelled_release(name, command.release))
    given = read_arguments(table, command.arguments, directory)
    _refuse_unknown(table, given)
    notes = _unsupported(table, given, allow_unsupported)
    spec = _spec(table, given, model_config)
    if gpu is not None:
        spec["gpu"] = gpu
    if replicas is not None:
        spec["replicas"] = replicas
    _speculation(spec, acceptance)
    _ranks(spec)
    notes += _without_effect(table, given, command)
    if version is None and command.release is not None and modelled_release(name, command.release) is None:
        notes.append(f"version: the rules of {command.release} are not modelled; those of {table.version} are taken")
    if gpu is None:
        notes.append("gpu: no launch line tells; give --gpu here, or a line such as `gpu: h100` in the spec")
    _check(spec, table, given)
    return Imported(_in_order(spec), notes)


def import_file(file: Path, *, container: str | None, **given: Any) -> Imported:
    """As `import_line`, of a Kubernetes manifest or, by its suffix, a shell script. Raises InputError."""
    try:
        return _import_file(file, container, given)
    except InputError as error:
        error.file = error.file or str(file)
        raise


def _import_file(file: Path, container: str | None, given: dict[str, Any]) -> Imported:
    if file.suffix == ".sh":
        if container is not None:
            raise InputError("never read: a script has no containers", field="--container")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", file=str(file)) from None
        return import_line(find_command(statements(text)), directory=file.parent, **given)
    found = read_manifest(file, container)
    if given.get("replicas") is None and found.replicas != 1:
        given["replicas"] = found.replicas
    given["gpu"] = given.get("gpu") or found.gpu
    return import_line(found.command, directory=file.parent, **given)


def _engine(command: Command, engine: str | None) -> str:
    name = engine or command.engine
    if name is None:
        raise InputError("bare flags do not tell the engine", field="--engine", wanted=f"one of {', '.join(ENGINES)}")
    if command.engine not in (None, name):
        raise InputError(f"the line starts {TITLES[command.engine]}", field="--engine", found=name)
    return name


def _refuse_unknown(table: Table, given: Arguments) -> None:
    if given.unknown:
        close = table.nearest(given.unknown[0].lstrip("-"))
        raise InputError(
            f"no such flag of {TITLES[table.engine]} {table.version}",
            field=", ".join(given.unknown),
            wanted=f"perhaps --{close}" if close else None,
        )


def _unsupported(table: Table, given: Arguments, allowed: bool) -> list[str]:
    """What is refused, or, if that is allowed, a note for each."""
    bad = []
    for name, value in given.values.items():
        flag = table.flags[name]
        if (flag.status == "refused" and not is_off(value)) or (
            flag.status == "neutral" and _text(value) not in flag.values
        ):
            why = flag.what if flag.status == "refused" else f"{_text(value)} is not yet modelled; it {flag.what}"
            bad.append(f"{given.written[name]}: {why}")
    if bad and not allowed:
        raise InputError(
            "; ".join(bad), field="unsupported", wanted="the line without, or --allow-unsupported to leave them out"
        )
    return [f"unsupported, left out: {one}" for one in bad]


def _text(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _spec(table: Table, given: Arguments, model_config: str | None) -> dict[str, Any]:
    spec: dict[str, Any] = {"engine": {"name": table.engine, "version": table.version}}
    for name, value in given.values.items():
        flag = table.flags[name]
        if flag.status != "modelled":
            continue
        made = spec_value(table.engine, table.version, name, flag.what, value)
        if made is not None:
            inner = spec
            *path, last = flag.what.split(".")
            for key in path:
                inner = inner.setdefault(key, {})
            inner[last] = made
    if model_config is not None:
        spec["model"] = model_config
    if "model" not in spec:
        raise InputError(f"no model in the line of {TITLES[table.engine]}", field="line", wanted="its name")
    return spec


def _ranks(spec: dict[str, Any]) -> None:
    """vLLM says only whether experts are shared among all ranks; SGLang's tp-size counts those of all data ranks."""
    parallel, engine = spec.get("parallel", {}), spec["engine"]
    tensor, data = parallel.get("tensor", 1), parallel.get("data", 1)
    if engine["name"] == "vllm" and "expert" in parallel:
        parallel["expert"] = tensor * data if parallel["expert"] else 1
    if engine["name"] == "sglang" and engine.get("enable_dp_attention") and data > 1:
        if tensor % data:
            raise InputError(
                "SGLang refuses data ranks that cannot be given the same number of its tensor ranks",
                field="--dp-size",
                found=f"{data} of {tensor}",
                wanted="a divisor of --tp-size",
            )
        parallel["tensor"] = tensor // data


def _speculation(spec: dict[str, Any], acceptance: float | None) -> None:
    engine = spec["engine"]
    name = {"vllm": "speculative", "sglang": "speculation", "trtllm": "speculative_config"}[engine["name"]]
    speculates = "speculative_algorithm" in engine if engine["name"] == "sglang" else name in engine
    if not speculates:
        if acceptance is not None:
            raise InputError("never read: the line does not speculate", field="--acceptance")
        return
    if acceptance is None:
        raise InputError(
            "how many drafts are accepted depends on the text, which no launch line tells",
            field="--speculative-algorithm" if engine["name"] == "sglang" else "--speculative-config",
            wanted="--acceptance, the chance of each draft, such as 0.6",
        )
    engine.setdefault(name, {})["acceptance"] = acceptance


def _without_effect(table: Table, given: Arguments, command: Command) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name in given.values:
        flag = table.flags[name]
        if flag.status == "without effect":
            reasons.setdefault(flag.what, []).append(given.written[name])
        elif flag.status == "neutral" or (flag.status == "refused" and is_off(given.values[name])):
            reasons.setdefault("as modelled anyway", []).append(given.written[name])
    if command.variables:
        reasons["environment variables are not read"] = command.variables
    return [f"without effect here: {', '.join(names)} ({why})" for why, names in reasons.items()]


def _check(spec: dict[str, Any], table: Table, given: Arguments) -> None:
    """Names the flag where the spec made of it is wrong."""
    fields = {table.flags[name].what: given.written[name] for name in given.values}
    try:
        made = make_spec(spec)
        find_model(made)
        if made.gpu is not None:
            resolve_engine(made)
    except SpecError as error:
        written = fields.get(error.field or "")
        if error.field == "model":
            written, error.wanted = written or "--model-config", f"{error.wanted} (given as --model-config)"
        raise InputError(error.message, field=written or error.field, found=error.found, wanted=error.wanted) from None


def _in_order(spec: dict[str, Any]) -> dict[str, Any]:
    order = ("model", "gpu", "parallel", "replicas", "engine")
    return {key: spec[key] for key in order if key in spec}
