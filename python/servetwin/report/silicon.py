"""Whole runs beside measurements of real engines, in the terminal."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from ..accuracy.silicon.compare import Compared, Comparison
from ..accuracy.silicon.errors import (
    PREDICTIONS,
    TPOT_MEAN,
    TPOT_MEDIAN,
    TTFT_MEAN,
    Errors,
    errors,
    errors_of,
)
from ..accuracy.silicon.ranking import Choice, choices
from ..accuracy.silicon.terms import Fitted
from .console import plain_table

JUDGED = "other architectures"
"""Of the predictions, the one that counts."""


def silicon_table(comparison: Comparison) -> RenderableType:
    compared = comparison.compared
    theirs = [one for one in compared if one.theirs is not None]
    parts: list[RenderableType] = [
        _totals("where AIConfigurator predicts as well", theirs),
        _totals("all", compared),
        _groups("architecture", compared, lambda one: one.architecture),
        _groups("GPU", compared, lambda one: one.measured.deployment.gpu),
        _groups("engine", compared, lambda one: one.measured.deployment.engine),
        _terms(comparison.fitted),
        _assumed(comparison),
        _causes(comparison),
    ]
    if comparison.peer is not None:
        parts.append(Text(comparison.peer, "yellow"))
    return Group(*parts)


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _cells(found: Errors) -> list[str]:
    return [
        f"{found.deployments:,}",
        _percent(found.tpot_median),
        _percent(found.tpot_mean),
        f"{found.tpot_bias:+.1%}",
        _percent(found.ttft_median),
        _percent(found.ttft_mean),
        f"{found.ttft_bias:+.1%}",
    ]


ERRORS = ("deployments", "TPOT median", "mean", "bias", "TTFT median", "mean", "bias")


def _totals(title: str, compared: Sequence[Compared]) -> RenderableType:
    table = plain_table(f"{title}: fitted to", *ERRORS)
    for name, predicted in PREDICTIONS.items():
        found = errors(compared, predicted)
        if found is not None:
            table.add_row(name, *_cells(found), style="bold" if name == JUDGED else "")
    wanted = f"wanted: TPOT median {TPOT_MEDIAN:.0%}, mean {TPOT_MEAN:.0%}; TTFT mean {TTFT_MEAN:.0%}"
    return Group(table, Text(wanted, "dim"))


def _groups(title: str, compared: Sequence[Compared], of: Callable[[Compared], str]) -> RenderableType:
    table = plain_table(title, *ERRORS, "theirs: TPOT median", "mean", "TTFT mean")
    groups: dict[str, list[Compared]] = defaultdict(list)
    for one in compared:
        groups[of(one)].append(one)
    for name, rows in sorted(groups.items()):
        found, theirs = errors(rows, PREDICTIONS[JUDGED]), errors(rows, PREDICTIONS["AIConfigurator"])
        if found is None:
            continue
        peer = (
            ["", "", ""]
            if theirs is None
            else [_percent(theirs.tpot_median), _percent(theirs.tpot_mean), _percent(theirs.ttft_mean)]
        )
        table.add_row(name, *_cells(found), *peer, style="" if found.reached else "yellow")
    return table


def _terms(fitted: Fitted) -> RenderableType:
    requests = ", ".join(f"{engine} {value:.1f}" for engine, value in sorted(fitted.request_ms.items()))
    launches = ", ".join(f"{kind} {value:,.0f}" for kind, value in sorted(fitted.eager_layer_us.items()))
    return Text(f"Fitted to all, for reading: request_ms {requests}; eager_layer_us {launches}", "dim")


def _assumed(comparison: Comparison) -> RenderableType:
    table = plain_table("what is assumed of the benchmarks (unfitted, some of them)", *ERRORS)
    for title, pairs in comparison.assumed:
        table.add_row(title, *_cells(errors_of(pairs)))
    return table


def _causes(comparison: Comparison) -> RenderableType:
    sample = comparison.sample
    table = plain_table("rows of the sample", "")
    table.columns[0].no_wrap = False
    table.add_row("all", f"{sample.rows:,}")
    compared = sum(one.measured.rows for one in comparison.compared)
    table.add_row(f"compared, as {len(comparison.compared):,} deployments", f"{compared:,}")
    for cause, rows in (sample.rejected + comparison.refused).most_common():
        table.add_row(cause, f"{rows:,}")
    return table


def ranking_table(comparison: Comparison) -> RenderableType:
    table = plain_table(
        "chosen by, fitted to", "choices", "regret median", "mean", "p90", "best chosen", "within 3 %", "by chance"
    )
    both = [one for one in comparison.compared if one.theirs is not None]
    for title, compared in (("where AIConfigurator predicts as well", both), ("all", comparison.compared)):
        for name, predicted in PREDICTIONS.items():
            found = choices(compared, predicted)
            if found and (name != "AIConfigurator" or compared is both):
                table.add_row(f"{name} ({title})", *_regrets(found), style="bold" if name == JUDGED else "")
    note = (
        "One choice a checkpoint, GPU, lengths and limit on TPOT: the deployment (engine and ranks) with the highest "
        "predicted throughput per GPU. Regret: the share of the best measured throughput at that limit that it lacks."
    )
    return Group(table, Text(note, "dim"))


def _regrets(found: Sequence[Choice]) -> list[str]:
    regrets = sorted(one.regret for one in found)
    return [
        f"{len(found):,}",
        _percent(statistics.median(regrets)),
        _percent(statistics.mean(regrets)),
        _percent(regrets[int(0.9 * len(regrets))]),
        f"{sum(regret < 1e-9 for regret in regrets) / len(regrets):.0%}",
        f"{sum(regret <= 0.03 for regret in regrets) / len(regrets):.0%}",
        _percent(statistics.mean(one.chance for one in found)),
    ]
