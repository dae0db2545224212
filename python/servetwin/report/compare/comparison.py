"""What differs between results: what was asked, what came out, and how each request fared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...result.result import Result
from ...result.store import load
from ..page.rows import Rows
from .metrics import METRICS, Row
from .paired import Pairs, pair

MOST_RESULTS = 8
"""As many as there are colours that can be told apart."""


@dataclass(frozen=True)
class Difference:
    """A field of the spec, or another input, that is not the same in all results; None where it is not set."""

    field: str
    values: list[Any]


@dataclass(frozen=True)
class Comparison:
    """Results beside each other. The first is what the others are measured against."""

    names: list[str]
    results: list[Result]

    @classmethod
    def load(cls, folders: Sequence[Path]) -> Comparison:
        """Raises InputError if one is not a result, or there are fewer than two or too many."""
        if len(folders) < 2:
            raise InputError("one result has nothing to be compared with", wanted="two folders or more")
        if len(folders) > MOST_RESULTS:
            raise InputError(f"{len(folders)} results are too many for one table", wanted=f"at most {MOST_RESULTS}")
        return cls(names(folders), [load(folder) for folder in folders])

    @cached_property
    def same_trace(self) -> bool:
        return len({result.provenance["workload"].get("sha256") for result in self.results}) == 1

    @cached_property
    def differences(self) -> list[Difference]:
        """Of the specs, field by field, and of what else went in."""
        inputs = [_inputs(result) for result in self.results]
        fields = dict.fromkeys(field for one in inputs for field in one)
        rows = (Difference(field, [one.get(field) for one in inputs]) for field in fields)
        return [row for row in rows if any(value != row.values[0] for value in row.values)]

    @cached_property
    def rows(self) -> list[Row]:
        """The metrics that any of the results has."""
        replications = [result.replications for result in self.results]
        rows = (
            Row(metric, [result.summary.get(metric.key) for result in self.results], replications) for metric in METRICS
        )
        return [row for row in rows if any(value is not None for value in row.values)]

    @cached_property
    def paired(self) -> list[list[Pairs]]:
        """Of each result but the first; empty if the traces differ."""
        if not self.same_trace:
            return []
        first, *others = (Rows.of(result) for result in self.results)
        return [pair(first, other) for other in others]

    def warnings(self) -> list[str]:
        """What keeps the results from being comparable at face value."""
        found = []
        if not self.same_trace:
            counts = ", ".join(
                f"{name} has {result.provenance['workload']['requests']:,}"
                for name, result in zip(self.names, self.results, strict=True)
            )
            found.append(
                f"the results are of different traces, so differences need not come from what is compared ({counts} "
                "requests)"
            )
        known = [result.replications for result in self.results if result.replications is not None]
        if known and (len(known) < len(self.results) or len({(one.count, one.confidence) for one in known}) > 1):
            found.append("not equally many replications: differences have no intervals")
        elif known and self.same_trace and len({tuple(one.seeds) for one in known}) > 1:
            found.append("the seeds differ: what replications have in common does not drop out of differences")
        for name, result in zip(self.names, self.results, strict=True):
            if result.status == "stalled":
                found.append(f"{name} stalled: its figures are of the requests that completed before")
            elif not result.completed:
                found.append(f"nothing completed in {name}")
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "results": self.names,
            "same_trace": self.same_trace,
            "warnings": self.warnings(),
            "spec_differences": [vars(difference) for difference in self.differences],
            "metrics": [row.as_json() for row in self.rows],
            "paired": [[pairs.as_json() for pairs in one] for one in self.paired],
        }


def names(folders: Sequence[Path]) -> list[str]:
    """The last part of each path, or all of it where others have the same."""
    last = [folder.resolve().name for folder in folders]
    return [name if last.count(name) == 1 and name else str(folder) for name, folder in zip(last, folders, strict=True)]


def _inputs(result: Result) -> dict[str, Any]:
    known = result.provenance
    return {
        **_flat(known["spec"], ""),
        "(servetwin)": known["servetwin"],
        "(timing evidence)": known["timing"]["evidence"],
    }


def _flat(value: Any, path: str) -> dict[str, Any]:
    """A nested mapping by dotted paths."""
    if not isinstance(value, dict):
        return {path: value}
    return {
        field: leaf
        for name, inner in value.items()
        for field, leaf in _flat(inner, f"{path}.{name}" if path else str(name)).items()
    }
