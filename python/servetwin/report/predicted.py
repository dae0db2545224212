"""A drawing of predicted beside measured times: SVG, a panel a time and a predictor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from html import escape
from math import floor, log10

from ..accuracy.silicon.compare import Compared
from ..accuracy.silicon.errors import PREDICTIONS, errors
from ..accuracy.silicon.peer import Prediction

SIDE, LEFT, TOP, GAP = 360, 56, 40, 76
COLOURS = {"vllm": "#3266ad", "sglang": "#c2571a", "trtllm": "#3f8f3f"}
"""By engine."""

TIMES: dict[str, tuple[str, Callable[[Prediction], float], Callable[[Compared], float]]] = {
    "TPOT": ("time per output token", lambda one: one.tpot_ms, lambda one: one.measured.tpot_ms),
    "TTFT": ("time to first token", lambda one: one.ttft_ms, lambda one: one.measured.ttft_ms),
}
SHOWN = {"other architectures": "servetwin", "AIConfigurator": "AIConfigurator"}


def drawing(compared: Sequence[Compared]) -> str:
    """Of the deployments that both predict, or of all if AIConfigurator is not beside. An SVG document."""
    both = [one for one in compared if one.theirs is not None]
    names = list(SHOWN) if both else ["other architectures"]
    shown = both or list(compared)
    width = LEFT + len(names) * (SIDE + GAP)
    height = TOP + len(TIMES) * (SIDE + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" fill="#333">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for row, time in enumerate(TIMES):
        for column, name in enumerate(names):
            left, top = LEFT + column * (SIDE + GAP), TOP + row * (SIDE + GAP)
            parts += [f'<g transform="translate({left} {top})">', *_panel(shown, time, name), "</g>"]
    return "\n".join([*parts, *_legend(height), "</svg>", ""])


def _panel(shown: Sequence[Compared], time: str, name: str) -> list[str]:
    title, of, measured = TIMES[time]
    predicted = PREDICTIONS[name]
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in shown:
        found = predicted(one)
        if found is not None:
            points[one.measured.deployment.engine].append((measured(one), of(found)))
    values = [value for pairs in points.values() for pair in pairs for value in pair]
    low, high = floor(log10(min(values))), -floor(-log10(max(values)))

    def at(value: float) -> float:
        return (log10(value) - low) / (high - low) * SIDE

    found_errors = errors(shown, predicted)
    assert found_errors is not None
    median = found_errors.tpot_median if time == "TPOT" else found_errors.ttft_median
    mean = found_errors.tpot_mean if time == "TPOT" else found_errors.ttft_mean
    parts = [
        f'<text x="0" y="-10" font-weight="bold">{escape(SHOWN[name])}: {title}, '
        f"median error {median:.1%}, mean {mean:.1%}</text>",
        f'<rect width="{SIDE}" height="{SIDE}" fill="none" stroke="#999"/>',
    ]
    for power in range(low, high + 1):
        place, label = at(10.0**power), f"{10.0**power:,g}"
        parts += [
            f'<path d="M{place:.0f} 0v{SIDE}M0 {SIDE - place:.0f}h{SIDE}" stroke="#eee"/>',
            f'<text x="{place:.0f}" y="{SIDE + 16}" text-anchor="middle">{label}</text>',
            f'<text x="-6" y="{SIDE - place + 4:.0f}" text-anchor="end">{label}</text>',
        ]
    parts += [
        f'<path d="M0 {SIDE}L{SIDE} 0" stroke="#999"/>',
        f'<text x="{SIDE / 2:.0f}" y="{SIDE + 34}" text-anchor="middle">measured (ms)</text>',
        f'<text transform="translate(-42 {SIDE / 2:.0f}) rotate(-90)" text-anchor="middle">predicted (ms)</text>',
    ]
    for engine, pairs in sorted(points.items()):
        dots = "".join(f"M{at(x):.0f} {SIDE - at(y):.0f}h0" for x, y in pairs)
        parts.append(
            f'<path d="{dots}" stroke="{COLOURS[engine]}" stroke-width="4" stroke-linecap="round" '
            'stroke-opacity="0.5" fill="none"/>'
        )
    return parts


def _legend(height: int) -> list[str]:
    parts = []
    for index, (engine, colour) in enumerate(COLOURS.items()):
        x = LEFT + 90 * index
        parts.append(f'<circle cx="{x}" cy="{height - 14}" r="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 8}" y="{height - 10}">{engine}</text>')
    return parts
