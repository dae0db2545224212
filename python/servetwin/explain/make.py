"""From a deployment and its workload to what explains its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..describe import resolve
from ..errors import InputError
from ..replication import check_counts, processors, replicate
from ..result.intervals import Interval
from ..result.result import Result
from ..simulation import simulate
from ..spec import Spec
from ..workload import open_workload
from .binding import Binding, Link, bindings, link
from .changes import changes
from .effects import Changed, chosen, compared, figure, tried
from .parts import Split, splits
from .passes import DecodePass, decode_pass

if TYPE_CHECKING:
    from .._core import Trace

MOST = 3
"""Changes that help, and that hurt."""


CONFIDENCE = 0.9
"""Of intervals, unless another is given."""


@dataclass(frozen=True)
class Explanation:
    """Why a deployment does what it does under a workload.

    Attributes:
        result: the run that is explained.
        splits: where the time of requests goes.
        bindings: what binds, by pool; `link` for hand-overs.
        passes: what the mean decode pass is made of, by pool that decodes.
        intervals: by metric, what `confidence` of the replications hold: how far a figure of `result` may be off.
        decides: the metric by which changes are ranked.
        helps, hurts: single changes, the strongest first.
        tried: how many were simulated; `confidence` of their intervals over `replications`.
    """

    result: Result
    splits: Sequence[Split]
    bindings: Sequence[Binding]
    link: Link | None
    passes: Sequence[DecodePass]
    intervals: Mapping[str, Interval]
    decides: str
    helps: Sequence[Changed]
    hurts: Sequence[Changed]
    tried: int
    replications: int
    confidence: float

    def as_json(self) -> dict[str, Any]:
        return {
            "splits": [asdict(one) for one in self.splits],
            "bindings": [asdict(one) for one in self.bindings],
            "link": None if self.link is None else asdict(self.link),
            "passes": [asdict(one) for one in self.passes],
            "intervals": {name: [one.low, one.high] for name, one in self.intervals.items()},
            "decides": self.decides,
            "value": self.result.summary[self.decides],
            "helps": [_told(one) for one in self.helps],
            "hurts": [_told(one) for one in self.hurts],
            "tried": self.tried,
            "replications": self.replications,
            "confidence": self.confidence,
        }


def _told(changed: Changed) -> dict[str, Any]:
    change = changed.change
    return {
        "field": change.path,
        "before": change.before,
        "after": change.after,
        "lossy": change.lossy,
        "gpus": changed.gpus,
        "figure": None if changed.figure is None else asdict(changed.figure),
        "effects": {name: asdict(effect) for name, effect in changed.effects.items()},
        "trouble": changed.trouble,
    }


def explain(
    spec: Spec,
    trace: Trace | None = None,
    *,
    axes: Mapping[str, list[Any]] | None = None,
    replications: int = 20,
    confidence: float = CONFIDENCE,
    workers: int | None = None,
) -> Explanation:
    """Runs the deployment, and what an engineer would try instead.

    Args:
        spec: without a search.
        trace: in place of the spec's workload.
        axes: values by dotted path, as a study's: their neighbours are tried as well.
        replications: of the original and of each change that is shown; see `replicate`.

    Raises:
        SpecError, InputError: as `simulate` and `replicate` do.
        InputError: no request was served, so there is nothing to explain.
    """
    check_counts(replications, confidence)
    trace = open_workload(spec) if trace is None else trace
    deployment = resolve(spec)
    result = simulate(spec, trace, deployment=deployment)
    decides = figure(spec, result.summary)
    if decides not in result.summary:
        raise InputError("nothing to explain: no request was served with a token", field="explain")
    bound = bindings(result, deployment)
    todo = changes(spec, axes or {})
    effects = tried(spec, trace, todo, decides, result.summary, workers or processors())
    base = replicate(spec, trace, replications=replications, confidence=confidence)
    shown = compared(base, trace, chosen(effects, MOST), decides, replications=replications, confidence=confidence)
    better = [one for one in shown if one.figure is not None and one.figure.value < 0]
    worse = [one for one in shown if one not in better]
    return Explanation(
        result=result,
        splits=splits(result),
        bindings=bound,
        link=link(result),
        passes=_passes(result, deployment, bound),
        intervals={} if base.replications is None else base.replications.intervals,
        decides=decides,
        helps=better,
        hurts=worse[::-1],
        tried=len(todo),
        replications=replications,
        confidence=confidence,
    )


def _passes(result: Result, deployment: Any, bound: Sequence[Binding]) -> list[DecodePass]:
    """At the mean batch, each request in the middle of its output."""
    summary = result.summary
    completed = summary["completed"] or 1
    each = (summary["input_tokens"] + summary["output_tokens"] / 2) / completed
    running = {one.role: one.running for one in bound}
    pools = [pool for pool in deployment.pools if pool.role != "prefill"]
    made = [decode_pass(pool, running.get(pool.role, 0.0), each) for pool in pools]
    return [one for one in made if one is not None]
