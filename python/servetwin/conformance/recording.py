"""What the real scheduler decided, as it was recorded: `NAME.oracle.json`, or `.json.gz`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from ..errors import InputError
from .fields import Fields, parse_json, read_text
from .scenario import Scenario, load_scenario, read_step_time
from .subject import Config, Run, Subject


@dataclass(frozen=True)
class Recording(Generic[Config]):
    """The recorder's records as they are in the file, and the scenario they answer."""

    scenario: Scenario[Config]
    totals: dict[str, Any]
    requests: list[dict[str, Any]]
    steps: list[dict[str, Any]]


def load_recording(
    scenario_path: Path, oracle_path: Path, name: str, subject: Subject[Config, Run]
) -> Recording[Config]:
    """Reads both files of a scenario.

    Raises InputError if one is damaged, if they do not belong together, or if they hold what
    could not be replayed or compared.
    """
    file = str(oracle_path)
    fields = Fields(parse_json(read_text(oracle_path), file), file)
    fields.text("name", name)
    version = read_version(fields, subject)
    scenario = load_scenario(scenario_path, name, lambda options: subject.read_config(options, version))
    subject.refuse_unrecorded(scenario, str(scenario_path))
    refuse_other_options(scenario, version, subject, fields, file)
    recording = Recording(
        scenario=scenario,
        totals=known_object(fields.take("totals"), subject.totals_keys, file, "totals"),
        requests=known_objects(fields.take("requests"), subject.request_keys, file, "requests"),
        steps=known_objects(fields.take("steps"), subject.step_keys, file, "steps"),
    )
    fields.finish()
    return recording


def read_version(fields: Fields, subject: Subject[Config, Run]) -> str:
    """The one of the subject's versions that the recorded one is, or is a patch of."""
    engine = fields.text("engine")
    name, recorded = [*engine.split(" "), "", ""][:2]
    known = (one for one in subject.versions if f"{recorded}.".startswith(f"{one}."))
    version = next(known, None) if name == subject.name else None
    if version is None:
        fields.refuse("engine", engine, f"{subject.name}, version {' or '.join(subject.versions)}")
    return version


def refuse_other_options(
    scenario: Scenario[Config], version: str, subject: Subject[Config, Run], fields: Fields, file: str
) -> None:
    """The recorder copies its options, defaults included, into what it writes."""
    config = Fields(fields.take("config"), file, "config.")
    subject.take_effective(config, scenario.config)
    if subject.read_config(config, version) != scenario.config:
        raise InputError("was recorded under other options", file=file, field="config")
    _, step_time = read_step_time(Fields(fields.take("step_time"), file, "step_time."))
    if step_time != scenario.step_time:
        raise InputError("was recorded under other options", file=file, field="step_time")


def known_objects(raw: object, keys: frozenset[str], file: str, field: str) -> list[dict[str, Any]]:
    if not isinstance(raw, list):
        raise InputError("cannot be used", file=file, field=field, wanted="a list")
    return [known_object(one, keys, file, f"{field}[{index}]") for index, one in enumerate(raw)]


def known_object(raw: object, keys: frozenset[str], file: str, field: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise InputError("cannot be used", file=file, field=field, wanted="an object")
    unknown = sorted(raw.keys() - keys)
    if unknown:
        raise InputError("is not a known key", file=file, field=f"{field}.{unknown[0]}")
    return raw
