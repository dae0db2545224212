"""The deployments a study chooses among: every combination of the values that vary, but for those that cannot be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..describe import Deployment, gpu_hour, resolve
from ..errors import SpecError
from ..simulation import check_workload
from ..spec import Spec, vary
from ..spec.router import PythonRouter
from ..spec.search import Search
from . import derive

if TYPE_CHECKING:
    from .._core import Trace

ENUMERABLE = 4096
"""Combinations that are all looked at unless the search says otherwise."""

LOSSY = ("model", "engine.quantization", "engine.kv_cache_dtype", "engine.quant_config.quant_algo",
         "engine.kv_cache_config.dtype")  # fmt: skip
"""Choices that change what the model answers."""

TAGS = ("name", "kind", "method")
"""Of a mapping, what it is."""

LOSSLESS: tuple[Any, ...] = (None, "auto")
"""Values of them that do not."""


@dataclass(frozen=True)
class Candidate:
    """A deployment that can be run."""

    number: int
    """Its place among all combinations, the last path varying fastest: the same for the same spec."""
    settings: Mapping[str, Any]
    spec: Spec
    deployment: Deployment

    @property
    def gpus(self) -> int:
        return self.spec.gpus

    @cached_property
    def cost_per_hour(self) -> float | None:
        hour = gpu_hour(self.spec, self.deployment)
        return None if hour is None else self.gpus * hour.price


@dataclass(frozen=True)
class Dropped:
    """A combination that is not tried, and why."""

    number: int
    settings: Mapping[str, Any]
    reason: str
    field: str | None
    """The dotted path that the reason is about."""


class Space:
    """All combinations of `axes`, by number."""

    def __init__(self, base: Spec, search: Search, axes: Mapping[str, Sequence[Any]], trace: Trace) -> None:
        self.base = base
        self._trace = trace
        self.search = search
        self.axes = dict(axes)
        self.size = math.prod(len(values) for values in self.axes.values())
        self._known: dict[int, Candidate | Dropped] = {}

    def settings(self, number: int) -> dict[str, Any]:
        """The values of a combination, by dotted path."""
        found = {}
        for path, values in reversed(self.axes.items()):
            number, index = divmod(number, len(values))
            found[path] = values[index]
        return dict(reversed(found.items()))

    def number(self, indices: Sequence[int]) -> int:
        """The combination that takes the value with this index on each axis."""
        number = 0
        for values, index in zip(self.axes.values(), indices, strict=True):
            number = number * len(values) + index
        return number

    def look(self, number: int) -> Candidate | Dropped:
        """The deployment, checked and resolved; or why there is none."""
        known = self._known.get(number)
        if known is None:
            known = self._known[number] = self._look(number)
        return known

    def candidate(self, number: int) -> Candidate:
        """One that is known to be run."""
        candidate = self.look(number)
        assert isinstance(candidate, Candidate), "only what can be run is asked for"
        return candidate

    def all(self) -> Iterator[Candidate | Dropped]:
        return (self.look(number) for number in range(self.size))

    def _look(self, number: int) -> Candidate | Dropped:
        settings = self.settings(number)

        def dropped(reason: str, field: str | None = None) -> Dropped:
            return Dropped(number, settings, reason, field)

        reason = self._lossy(settings)
        if reason is not None:
            return dropped(*reason)
        try:
            spec = vary(self.base, settings)
            if self.search.max_gpus is not None and spec.gpus > self.search.max_gpus:
                return dropped(f"more than {self.search.max_gpus} GPUs", "search.max_gpus")
            candidate = Candidate(number, settings, spec, resolve(spec))
            check_workload(candidate.deployment, self._trace, dict.fromkeys(spec.by_pool))
        except SpecError as error:
            return dropped(error.message, error.field)
        limit, cost = self.search.max_cost_per_hour, candidate.cost_per_hour
        if limit is not None and cost is None:
            return dropped("its GPUs have no price", "search.max_cost_per_hour")
        if limit is not None and cost is not None and cost > limit:
            return dropped(f"more than {limit:g} an hour", "search.max_cost_per_hour")
        if self._is_twin(candidate):
            return dropped("one replica leaves a router nothing to choose: the same as with the first", "router")
        return candidate

    def _is_twin(self, candidate: Candidate) -> bool:
        """Whether it differs from another candidate in nothing but a router that has one replica."""
        spec, paths = candidate.spec, list(self.axes)
        if spec.all_replicas > 1 or spec.parallel.data > 1 or isinstance(spec.router, PythonRouter):
            return False
        indices = [values.index(candidate.settings[path]) for path, values in self.axes.items()]
        first = [0 if path.split(".")[0] == "router" else index for path, index in zip(paths, indices, strict=True)]
        return first != indices and isinstance(self.look(self.number(first)), Candidate)

    def _lossy(self, settings: Mapping[str, Any]) -> tuple[str, str] | None:
        """The quality guard: why the answers of this choice may be too poor."""
        if self.search.allow_lossy:
            return None
        quality = self.search.quality
        for path in LOSSY:
            value = settings.get(path)
            if path not in settings or value in LOSSLESS or (path == "model" and value == self.base.model):
                continue
            choice = f"{path}={value}"
            measured = None if quality is None else quality.measured.get(choice)
            if measured is None:
                return "changes the answers, and its quality is not known: allow_lossy, or quality.measured", path
            if quality is not None and measured < quality.floor:
                return f"its quality of {measured:g} is below the floor of {quality.floor:g}", path
        return None


def space_of(spec: Spec, trace: Trace) -> Space:
    """What a spec's search is over, for this workload. Raises SpecError."""
    search = spec.search
    if search is None:
        raise spec.source.problem(("search",), "missing", wanted="what to search over, such as `search: {max_gpus: 8}`")
    if search.objective != "frontier" and spec.slo is None:
        raise spec.source.problem(("slo",), f"missing: the objective {search.objective} needs a service level")
    if search.objective == "cheapest" and search.max_gpus is None and search.vary is None:
        raise spec.source.problem(("search", "max_gpus"), "missing", wanted="the most GPUs you have")
    axes = derive.axes(spec, search)
    if not axes:
        raise spec.source.problem(("search",), "nothing varies: the spec gives every choice itself")
    derive.check_paths(spec, axes)
    return Space(spec, search, axes, trace)


def check_some(space: Space) -> None:
    """Raises SpecError where no combination of a space that can be enumerated can be."""
    dropped = []
    if space.size <= ENUMERABLE:
        for one in space.all():
            if isinstance(one, Candidate):
                return
            dropped.append(one)
        raise empty(space, dropped)


def empty(space: Space, dropped: Sequence[Dropped]) -> SpecError:
    """Says why nothing is left of a space."""
    found = reasons(dropped)
    first = "; ".join(f"{count:,} × {reason}" for reason, count, _ in found[:3])
    one = found[0][2]
    example = f", such as {described(one.settings)}: {one.reason}" if ":" in one.reason else ""
    return space.base.source.problem(
        ("search",),
        f"none of {len(dropped):,} combinations can be: {first}{example}",
        wanted="other values; `servetwin plan --explain-space` lists all reasons",
    )


def reasons(dropped: Sequence[Dropped]) -> list[tuple[str, int, Dropped]]:
    """Why combinations were dropped, the commonest first: the reason, how often, and the first that has it."""
    examples = {_reason(one): one for one in reversed(dropped)}
    counts = Counter(_reason(one) for one in dropped)
    return [(reason, count, examples[reason]) for reason, count in counts.most_common()]


def _reason(dropped: Dropped) -> str:
    """Without the figures that differ from one to the next."""
    reason = dropped.reason.partition(":")[0]
    return reason if dropped.field is None or reason.startswith("more ") else f"{dropped.field} {reason}"


def described(settings: Mapping[str, Any]) -> str:
    """A candidate in a few words: the names of what was chosen and the values."""
    names = labels(settings)
    return ", ".join(f"{names[path]} {written(value)}" for path, value in settings.items())


def labels(paths: Iterable[str]) -> dict[str, str]:
    """Short names of dotted paths: the last part, after the pool's name, or as many as tell it from the others."""
    split = {path: path.split(".") for path in paths}
    found = {}
    for path, parts in split.items():
        if parts[0] == "pools" and len(parts) > 2:
            found[path] = f"{parts[1]} {parts[-1]}"
            continue
        others = [other for name, other in split.items() if name != path and other[0] != "pools"]
        count = 1
        while any(other[-count:] == parts[-count:] for other in others) and count < len(parts):
            count += 1
        found[path] = ".".join(parts[-count:])
    return found


def written(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(inner)}" for key, inner in value.items()) + "}"
    return "none" if value is None else str(value)


def names_of(values: Sequence[Any]) -> list[str]:
    """The values of an axis, a mapping by its name, kind or method alone where that tells it from the others."""
    tags = [
        next((str(value[tag]) for tag in TAGS if tag in value), None) if isinstance(value, Mapping) else None
        for value in values
    ]
    plain = [written(value) for value in values]
    return [
        tag if tag is not None and [*tags, *plain].count(tag) == 1 else full
        for tag, full in zip(tags, plain, strict=True)
    ]
