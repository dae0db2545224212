"""The traces of the cases: real ones where they are, else stand-ins of the same size."""

from __future__ import annotations

import json
import math
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BLOCK_TOKENS = 512


@dataclass(frozen=True)
class TraceFile:
    path: Path
    stand_in: bool


class TraceSource(Protocol):
    def provide(self, folder: Path) -> TraceFile:
        """Where the trace is; `folder` takes what has to be written. May be asked again for the same folder."""
        ...


@dataclass(frozen=True)
class RecordedTrace:
    """A file of the data folder. Its means make the stand-in."""

    file: str
    requests: int
    span_s: int
    input_tokens: int
    output_tokens: int

    def provide(self, folder: Path) -> TraceFile:
        found = next((place / self.file for place in _data_folders() if (place / self.file).is_file()), None)
        if found is not None:
            return TraceFile(found, stand_in=False)
        path = folder / self.file
        if not path.exists():
            self._write_stand_in(path)
        return TraceFile(path, stand_in=True)

    def _write_stand_in(self, path: Path) -> None:
        """Poisson arrivals and lognormal lengths; a third of the prompt begins an earlier session's way."""
        draw = random.Random(self.file)
        now_ms, next_block = 0.0, 0
        heads = [[] for _ in range(200)]  # type: list[list[int]]
        with path.open("w") as rows:
            for _ in range(self.requests):
                now_ms += draw.expovariate(self.requests / (self.span_s * 1e3))
                prompt = min(int(_lognormal(draw, self.input_tokens)) + 1, 120_000)
                blocks = -(-prompt // BLOCK_TOKENS)
                head = draw.choice(heads)
                missing = max(blocks // 3 - len(head), 0)
                head.extend(range(next_block, next_block + missing))
                next_block += missing
                fresh = blocks - blocks // 3
                ids = head[: blocks // 3] + list(range(next_block, next_block + fresh))
                next_block += fresh
                rows.write(_row(int(now_ms), prompt, min(int(_lognormal(draw, self.output_tokens)) + 1, 2000), ids))


@dataclass(frozen=True)
class ConstantTrace:
    """Requests of one size that share nothing, all there from the start: the list of a closed loop."""

    requests: int
    input_tokens: int
    output_tokens: int

    def provide(self, folder: Path) -> TraceFile:
        path = folder / f"constant-{self.requests}-{self.input_tokens}-{self.output_tokens}.jsonl"
        blocks = -(-self.input_tokens // BLOCK_TOKENS)
        if not path.exists():
            with path.open("w") as rows:
                for first in range(0, self.requests * blocks, blocks):
                    rows.write(_row(0, self.input_tokens, self.output_tokens, list(range(first, first + blocks))))
        return TraceFile(path, stand_in=False)


CONVERSATION = RecordedTrace("mooncake_conversation.jsonl", 12_031, 3_540, 12_035, 343)
TOOLAGENT = RecordedTrace("toolagent_like_23608.jsonl", 23_608, 3_540, 8_596, 182)


def _data_folders() -> list[Path]:
    """`SERVETWIN_DATA` alone if it is set, else `shared/data` beside this checkout, or beside the current folder."""
    given = os.environ.get("SERVETWIN_DATA")
    homes = [Path.cwd(), Path(__file__).resolve().parents[3]]
    data = [Path(given)] if given else [home.parent / "shared" / "data" for home in homes]
    return [folder / "traces" for folder in data]


def _lognormal(draw: random.Random, mean: float, sigma: float = 1.0) -> float:
    return draw.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


def _row(timestamp_ms: int, prompt: int, output: int, ids: list[int]) -> str:
    row = {"timestamp": timestamp_ms, "input_length": prompt, "output_length": output, "hash_ids": ids}
    return json.dumps(row) + "\n"
