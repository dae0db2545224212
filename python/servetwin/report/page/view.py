"""Everything a page shows of a result, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ...errors import ServetwinError
from ...result.result import Result
from ...spec import Spec, make_spec
from ..terminal import said
from . import groups, replicas, slowest
from .quantiles import CURVE
from .rows import Rows, window
from .time import Bins
from .topology import topology

MOST_STALLED = 200
"""Names of hanging requests; the page says how many more there are."""


def view(result: Result, *, detail: bool = True) -> dict[str, Any]:
    """What `page.js` draws.

    Args:
        detail: with each replica's and class's own figures and single requests; without, only those of all
            requests, for pages that hold several results.
    """
    rows = Rows.of(result)
    bins = Bins.over(rows.length_s, len(rows))
    split = groups.splits(rows) if detail else groups.splits(rows)[:1]
    shown = [group for one in split for group in groups.describe(rows, one, bins)]
    short = spec_without_defaults(result.provenance["spec"]) if detail else None
    found: dict[str, Any] = {
        "status": result.status,
        "summary": result.summary,
        "rejections": result.rejections,
        "stalled": {"count": len(result.stalled), "names": result.stalled[:MOST_STALLED]},
        "provenance": result.provenance,
        "spec_yaml": spec_yaml(result.provenance["spec"]),
        "short_spec_yaml": None if short is None else spec_yaml(short),
        "said": [[label, text] for label, text, _ in said(result)],
        "intervals": _intervals(result),
        "curve": list(CURVE),
        "bins": bins.described() | {"seconds": bins.seconds()},
        "window_s": [None if ps is None else ps / 1e12 for ps in window(result)],
        "replicas": replicas.over_time(result, rows),
        "blocks": blocks(result),
        "groups": shown,
    }
    if detail:
        ranked = slowest.ranks(rows, split)
        for group, rank in zip(shown, ranked, strict=True):
            group["slowest"] = rank
        chosen = sorted({row for rank in ranked for part in rank.values() for row in part})
        found |= {
            "requests": {entry["row"]: entry for entry in slowest.requests(rows, chosen)},
            "replica_totals": replicas.totals(rows),
            "prefill_totals": replicas.prefills(rows),
            "topology": topology(result, rows),
            "classes": rows.classes,
            "recorded_failed": rows.recorded_failed,
        }
    return found


def _intervals(result: Result) -> dict[str, Any] | None:
    known = result.replications
    if known is None:
        return None
    metrics = {name: one.as_json() for name, one in known.intervals.items() if one.low < one.high}
    return {"count": known.count, "confidence": known.confidence, "metrics": metrics}


def spec_yaml(options: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(options), sort_keys=False, allow_unicode=True, width=100))


def spec_without_defaults(written: dict[str, Any]) -> dict[str, Any] | None:
    """The spec that runs the same again: some options may not be written out where nothing reads them.

    None if this version of servetwin makes something else of it, or nothing.
    """
    try:
        spec = Spec.model_validate(written)
        short: dict[str, Any] = _kinds(written, spec.model_dump(mode="json", exclude_none=True, exclude_defaults=True))
        again = make_spec(short).model_dump(mode="json", exclude_none=True)
        if "replicas" not in written:
            again.pop("replicas", None)
    except (ValidationError, ServetwinError):
        return None
    return short if again == written else None


def _kinds(written: Any, short: Any) -> Any:
    """With the names of what is chosen, be they defaults or not: without them a mapping means something else."""
    if not isinstance(short, dict):
        return short
    kept = {name: written[name] for name in ("name", "kind") if name in written}
    return {**kept, **{name: _kinds(written[name], value) for name, value in short.items()}}


def blocks(result: Result) -> int | None:
    """The cache blocks of a replica that requests can use: vLLM's but the null block, SGLang's pages, TensorRT-LLM's.

    None for an engine whose options do not tell, and for pools that differ.
    """
    pools = result.provenance.get("pools")
    if pools is None:
        return _blocks(result.provenance["engine"])
    of_pools = {_blocks(pool["engine"]) for pool in pools.values()}
    return of_pools.pop() if len(of_pools) == 1 else None


def _blocks(engine: dict[str, Any]) -> int | None:
    if "num_gpu_blocks" in engine:
        return int(engine["num_gpu_blocks"]) - 1
    if "max_total_tokens" in engine:
        return int(engine["max_total_tokens"]) // int(engine["page_size"])
    return int(engine["num_blocks"]) if "num_blocks" in engine else None
