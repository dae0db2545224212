"""A page's parts put together, and written."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..._core import __version__
from ...result.result import Result
from ..pools import total_replicas
from .view import view

HERE = Path(__file__).parent

COMMON = tuple(HERE / name for name in ("dom.js", "scales.js", "charts.js", "bars.js", "parts.js"))
REPORT = (*COMMON, *(HERE / name for name in ("report.js", "replicas.js", "topology.js", "slowest.js", "about.js")))


def report_page(result: Result) -> str:
    """The report of one result, as HTML that needs nothing else. The same for the same result."""
    spec, workload = result.provenance["spec"], result.provenance["workload"]
    replicas = total_replicas(result.provenance)
    title = f"{spec.get('model', 'servetwin')}, {replicas} replicas, {workload['requests']:,} requests"
    return page(title, REPORT, {"view": view(result)})


def page(title: str, scripts: Sequence[Path], data: dict[str, Any], styles: Sequence[Path] = ()) -> str:
    """Scripts in this order; `styles` come after the one that all pages have."""
    filled = {
        "version": __version__,
        "title": html.escape(title),
        "style": "\n".join(map(_text, (HERE / "style.css", *styles))),
        "script": "\n".join(map(_text, scripts)),
        "data": embedded(data),
    }
    # In one go: what was put in is not looked through again.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: filled[mark[1]], _text(HERE / "template.html"))


def embedded(data: Any) -> str:
    """JSON that ends no element it stands in, whatever names a trace has."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")
