"""What the real scheduler decided, as it was recorded: `NAME.oracle.json`, or `.json.gz`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..reference.config import RULES
from .fields import Fields, parse_json, read_text
from .scenario import Scenario, load_scenario, read_config, read_step_time

STEP_KEYS = frozenset(
    {
        "t",
        "dt",
        "ts",
        "s",
        "free",
        "free_end",
        "run",
        "wait",
        "new",
        "res",
        "pre",
        "fin",
        "blk",
        "acc",
        "stuck",
        "waiting",
    }
)
REQUEST_KEYS = frozenset(
    {
        "id",
        "arrival",
        "first_sched",
        "ttft",
        "finish",
        "n_in",
        "n_out",
        "cached",
        "cached_resume",
        "preempt",
        "steps",
        "out_times",
    }
)
TOTALS_KEYS = frozenset({"steps", "end", "preemptions", "cached", "n_in", "n_out", "finished", "wall_s"})


@dataclass(frozen=True)
class Recording:
    """The recorder's records as they are in the file, and the scenario they answer."""

    scenario: Scenario
    totals: dict[str, Any]
    requests: list[dict[str, Any]]
    steps: list[dict[str, Any]]


def load_recording(scenario_path: Path, oracle_path: Path, name: str) -> Recording:
    """Reads both files of a scenario.

    Raises InputError if one is damaged, if they do not belong together, or if they hold what
    could not be replayed or compared.
    """
    file = str(oracle_path)
    fields = Fields(parse_json(read_text(oracle_path), file), file)
    fields.text("name", name)
    scenario = load_scenario(scenario_path, name, read_version(fields))
    refuse_other_options(scenario, fields, file)
    recording = Recording(
        scenario=scenario,
        totals=known_object(fields.take("totals"), TOTALS_KEYS, file, "totals"),
        requests=known_objects(fields.take("requests"), REQUEST_KEYS, file, "requests"),
        steps=known_objects(fields.take("steps"), STEP_KEYS, file, "steps"),
    )
    fields.finish()
    return recording


def read_version(fields: Fields) -> str:
    engine = fields.text("engine")
    name, _, rest = engine.partition(" ")
    version = ".".join(rest.partition(" ")[0].split(".")[:2])
    if name != "vllm" or version not in RULES:
        fields.refuse("engine", engine, f"vllm, version {' or '.join(RULES)}")
    return version


def refuse_other_options(scenario: Scenario, fields: Fields, file: str) -> None:
    """The recorder copies its options, defaults included, into what it writes."""
    config = Fields(fields.take("config"), file, "config.")
    if read_config(config, scenario.config.version) != scenario.config:
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
