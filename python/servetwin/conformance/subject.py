"""What has to be known of an engine to compare with its recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .fields import Fields
from .scenario import Scenario

Config = TypeVar("Config")
Run = TypeVar("Run")
Record = dict[str, Any]


@dataclass(frozen=True)
class Rendered:
    """A replay in the shape of a recording: the recorder's keys, milliseconds, request ids."""

    steps: list[Record]
    requests: list[Record]
    totals: Record
    decided: list[int]
    """When each step was decided, in ticks of the scenario."""
    unordered: frozenset[str] = frozenset()
    """Lists of a step whose order is accidental in the engine."""


@dataclass(frozen=True)
class Subject(Generic[Config, Run]):
    """An engine: how its recordings are written, and who can replay them."""

    name: str
    versions: tuple[str, ...]
    """Whose rules are known."""
    read_config: Callable[[Fields, str], Config]
    """Reads the recorder's options, by the rules of a version."""
    take_effective: Callable[[Fields, Config], None]
    """Takes what the recorder adds to the options it repeats, and refuses what contradicts."""
    refuse_unrecorded: Callable[[Scenario[Config], str], None]
    """Refuses what the format allows, but this engine's recorder does not follow."""
    step_keys: frozenset[str]
    request_keys: frozenset[str]
    totals_keys: frozenset[str]
    replayers: Mapping[str, Callable[[Scenario[Config]], Run]]
    """By implementation: each replays a scenario on one worker and returns every record."""
    render: Callable[[Scenario[Config], Run], Rendered]


def keys(names: str) -> frozenset[str]:
    """Names of keys, separated by blanks."""
    return frozenset(names.split())
