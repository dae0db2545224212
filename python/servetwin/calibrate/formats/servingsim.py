"""A run of LLMServingSim's benchmark of vLLM: a folder with `requests.jsonl` and `meta.json`, or the first alone.

Times are seconds, taken inside the engine: `arrival_time` on the wall's clock, all others on a monotonic one. The two
are aligned by the request that the engine took up fastest. The prompts' token ids are in the dataset that `meta.json`
names, if it lies beside the folder: shared beginnings are then known.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...workload.jsonrows import Row, json_lines
from ...workload.source import Source
from ..measured import Measurement, Request, usable

BLOCK_TOKENS = 16
FIELDS = ("arrival_time", "queued_ts", "first_token_ts", "last_token_ts")
POWER = 12


def read_servingsim(path: Path) -> list[Measurement]:
    """Raises InputError."""
    folder = path if path.is_dir() else path.parent
    source = Source(folder / "requests.jsonl" if path.is_dir() else path)
    rows = list(json_lines(source))
    if not rows:
        raise source.problem("has no rows; a request a row")
    times = [{name: row.units(name, POWER) for name in FIELDS} for row in rows]
    behind = min(one["queued_ts"] - one["arrival_time"] for one in times)
    requests: list[Request | str] = []
    for row, one in zip(rows, times, strict=True):
        sent = one["arrival_time"] + behind
        requests.append(
            Request(
                at=f"line {row.line}",
                sent_ps=sent,
                input_tokens=row.whole("input_toks", 1),
                output_tokens=row.whole("output_toks"),
                ttft_ps=one["first_token_ts"] - sent,
                latency_ps=one["last_token_ts"] - sent,
            )
        )
    measurement = usable(source, "servingsim", requests, name=str(path), front_end=False)
    meta = folder / "meta.json"
    if meta.is_file() and not measurement.left_out:
        by_line = {request.at: number for number, request in enumerate(requests) if isinstance(request, Request)}
        order = [by_line[request.at] for request in measurement.requests]
        contents = _contents(folder, read_meta(meta), rows)
        measurement.blocks = None if contents is None else [contents[number] for number in order]
    return [measurement]


def read_meta(file: Path) -> dict[str, Any]:
    """Raises InputError."""
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", file=str(file)) from None
    if not isinstance(meta, dict):
        raise InputError("is no object", file=str(file))
    return meta


def _contents(folder: Path, meta: dict[str, Any], rows: list[Row]) -> list[list[int]] | None:
    """Ids of each prompt's blocks, where the dataset is at hand and of the same prompts."""
    name = Path(str(meta.get("dataset_path", ""))).name
    found = [place / f"{name}{end}" for place in (folder, folder.parent) for end in ("", ".gz")]
    file = next((one for one in found if name and one.is_file()), None)
    if file is None:
        return None
    prompts = list(json_lines(Source(file)))[: len(rows)]
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    contents = []
    for row, prompt in zip(rows, prompts, strict=False):
        tokens = prompt.ids("input_tok_ids")
        if len(tokens) != row.get("input_toks"):
            raise prompt.fail(
                "input_tok_ids",
                f"another prompt than {row.source.name} has on line {row.line}",
                f"{len(tokens)} tokens",
                str(row.get("input_toks")),
            )
        before, ids = -1, []
        for start in range(0, len(tokens), BLOCK_TOKENS):
            before = known.setdefault((before, tuple(tokens[start : start + BLOCK_TOKENS])), len(known))
            ids.append(before)
        contents.append(ids)
    return contents if len(contents) == len(rows) else None
