"""An explanation in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..explain import Explanation
from ..explain.binding import FREE, IDLE
from ..explain.effects import Changed, Effect
from ..explain.parts import PARTS, Split
from ..plan.space import described
from .console import print_wide
from .text import idle_lines

TITLES = {
    "ttft_ms": "TTFT",
    "tpot_ms": "TPOT",
    "itl_ms": "ITL",
    "e2e_ms": "latency",
    "output_tokens_per_s_per_gpu": "output tokens/s/GPU",
    "cost_per_million_output_tokens": "cost a token",
}


def print_explanation(explanation: Explanation) -> None:
    parts: list[RenderableType] = [_times(explanation.splits), Text("What binds", "bold")]
    parts += [Text(f"  {line}") for line in _bound(explanation)]
    parts.append(Text())
    parts += _changes(explanation)
    print_wide(Group(*parts))


def _times(splits: Sequence[Split]) -> Table:
    names = [name for name in PARTS if any(name in split.parts_ms for split in splits)]
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("Where the time goes")
    for name in ("total ms", *names):
        table.add_column(name, justify="right", no_wrap=True)
    for split in splits:
        at = "mean" if split.percentile is None else f"p{split.percentile}"
        cells = [_share(split.parts_ms.get(name), split.total_ms) for name in names]
        table.add_row(f"{TITLES[split.metric]} {at}", f"{split.total_ms:,.0f}", *cells)
    return table


def _share(part_ms: float | None, total_ms: float) -> str:
    if part_ms is None:
        return ""
    return f"{part_ms:,.0f} ({part_ms / total_ms:.0%})" if total_ms else "0"


def _bound(explanation: Explanation) -> Iterator[str]:
    several = len(explanation.bindings) > 1
    for one in explanation.bindings:
        states = ", ".join(f"{share:.0%} {_state(state)}" for state, share in one.shares.items())
        yield (
            f"{f'{one.role} replicas' if several else 'replicas'}: {states}; {one.running:.1f} requests run on one, "
            f"{one.cache_used:.0%} of its cache is in use"
        )
    for made in explanation.passes:
        shares = [
            f"{part / made.total_ms:.0%} {what}"
            for part, what in (
                (made.fixed_ms, "weights, launches and host"),
                (made.context_ms, "reading the cache"),
                (made.rows_ms, "the requests' own arithmetic"),
            )
        ]
        yield f"a decode pass of {made.rows:,} requests lasts {made.total_ms:.1f} ms: {', '.join(shares)}"
    yield from (text for _, text in idle_lines(explanation.result.summary))
    if explanation.link is not None:
        yield f"hand-overs are on their way {explanation.link.busy:.0%} of the time, {explanation.link.most:,} at most"


def _state(name: str) -> str:
    return name if name in (IDLE, FREE) else f"waits: {name}"


def _changes(explanation: Explanation) -> Iterator[RenderableType]:
    name = metric_title(explanation.decides)
    yield Text(f"What would change {name}, {explanation.result.summary[explanation.decides]:,.1f} ms now", "bold")
    for changed in explanation.helps:
        yield _line(changed, name, "green")
    for changed in explanation.hurts:
        yield _line(changed, name, "red")
    if not explanation.helps:
        yield Text("  no single change helps")
    shown = len(explanation.helps) + len(explanation.hurts)
    yield Text(
        f"  {explanation.tried} single changes simulated, {shown} shown; in brackets what "
        f"{explanation.confidence:.0%} of {explanation.replications} pairs of replications hold",
        "dim",
    )


def _line(changed: Changed, name: str, style: str) -> Text:
    change = changed.change
    what = f"  {described({change.path: change.before})} → {_written(change.after)}"
    notes = [f"{changed.gpus:+d} GPU{'s' * (abs(changed.gpus) != 1)}".replace("-", "−")] if changed.gpus else []
    notes += ["changes the answers"] if change.lossy else []
    line = Text(what + (f" ({', '.join(notes)})" if notes else "") + ": ")
    if changed.figure is None:
        return line.append(changed.trouble or "", "red")
    line.append(f"{name} {_effect(changed.figure)}", style)
    for other, effect in changed.effects.items():
        if abs(effect.value) >= 0.005:
            line.append(f", {metric_title(other)} {_effect(effect)}")
    return line


def _written(value: object) -> str:
    return described({"": value}).strip()


def _effect(effect: Effect) -> str:
    return f"{_percent(effect.value)} % ({_percent(effect.low)} to {_percent(effect.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:+.0f}".replace("-", "−")


def metric_title(name: str) -> str:
    """`ttft_ms.p95` is p95 TTFT."""
    metric, _, statistic = name.partition(".")
    return f"{statistic} {TITLES.get(metric, metric)}".strip()
