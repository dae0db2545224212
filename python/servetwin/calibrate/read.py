"""Which format a measurement has, by what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..workload.source import Source
from .formats.aiperf import read_aiperf
from .formats.bench import is_bench, read_bench
from .formats.guidellm import read_guidellm
from .formats.own import read_own
from .formats.servingsim import read_servingsim
from .formats.sweep import read_sweep
from .measured import Measurement

KNOWN = (
    "AIPerf's profile_export.jsonl, guidellm's JSON, the JSON of vLLM's bench serve or SGLang's bench_serving, "
    "a folder or requests.jsonl of LLMServingSim, a folder that simulate --out wrote, or a sweep as CSV or JSON"
)


def read_measurements(path: Path) -> list[Measurement]:
    """What is in a file or folder. Raises InputError with file, line and field."""
    if path.is_dir():
        if (path / "result.json").is_file():
            return read_own(path)
        if (path / "requests.jsonl").is_file():
            return read_servingsim(path)
        raise InputError("is no folder of measurements", file=str(path), wanted=KNOWN)
    source = Source(path)
    head = source.head.lstrip()
    if head[:1] == b"[":
        return read_sweep(source)
    if head[:1] != b"{":
        if b"," in head.partition(b"\n")[0]:
            return read_sweep(source)
        raise source.problem("is no measurement that is known", wanted=KNOWN)
    row = _first(source)
    if {"metadata", "metrics"} <= row.keys():
        return read_aiperf(source)
    if "benchmarks" in row:
        return read_guidellm(source)
    if {"first_token_ts", "last_token_ts"} <= row.keys():
        return read_servingsim(path)
    if is_bench(row):
        return read_bench(source)
    raise source.problem("is no measurement that is known", found=", ".join(row), wanted=KNOWN)


def _first(source: Source) -> dict[str, Any]:
    """The object of the first line, or of the whole file."""
    for text in (source.data.lstrip().partition(b"\n")[0], source.data):
        try:
            row = json.loads(text)
        except ValueError:
            continue
        return row if isinstance(row, dict) else {}
    raise source.problem("malformed JSON", wanted=KNOWN)
