"""What was driven through the real scheduler: options, step time, requests.

The format is the recorder's: `NAME.scenario.json`, its requests inline or in a file of lines.
Options that the recorder knows but that are not modelled are refused, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import InputError
from ..reference import Affine, Linear, Request, StepTime
from .fields import REQUIRED, Fields, parse_json, parse_lines, read_text

Config = TypeVar("Config")

PS_PER_MS = 10**9
FINEST_TICKS_PER_MS = PS_PER_MS * 10**3
"""A replay's clock may tick faster than a picosecond, to hold the step time exactly."""

RECORDED_DECIMALS = 6
"""Of milliseconds."""

OUTPUT_TOKEN_BASE = 2_000_000
OUTPUT_TOKENS_APART = 4096
SEEDED_TOKEN_BASE = 10_000_000
SEEDED_TOKENS_APART = 100_000
HASH_TOKEN_BASE = 16
"""The recorder's token ids: see `ScenarioRequest.prompt` and `ScenarioRequest.outputs`."""


@dataclass(frozen=True)
class ScenarioRequest:
    """One request. Its prompt is `tokens`, else spelled from `hash_ids`, else seeded."""

    id: str
    n_in: int
    n_out: int
    """Tokens the model really generates."""
    max_output_tokens: int
    arrival: int | None = None
    """In ticks of the scenario; None if it arrives at a step."""
    step: int | None = None
    priority: int = 0
    tokens: tuple[int, ...] | None = None
    hash_ids: tuple[int, ...] | None = None
    token_seed: int = 0

    def prompt(self, hash_block_tokens: int) -> list[int]:
        """Token ids: as given; or one repeated token a hash id; or, seeded, all different."""
        if self.tokens is not None:
            return list(self.tokens)
        if self.hash_ids is not None:
            spelled = [HASH_TOKEN_BASE + hash_id for hash_id in self.hash_ids for _ in range(hash_block_tokens)]
            return spelled[: self.n_in]
        first = SEEDED_TOKEN_BASE + SEEDED_TOKENS_APART * self.token_seed
        return list(range(first, first + self.n_in))

    def outputs(self, index: int) -> Sequence[int]:
        """Token ids that no other request generates."""
        first = OUTPUT_TOKEN_BASE + OUTPUT_TOKENS_APART * index
        return range(first, first + self.n_out)


@dataclass(frozen=True)
class Scenario(Generic[Config]):
    """A replay's whole input for one engine. Times are whole ticks; engines may take a tick for a picosecond."""

    name: str
    config: Config
    step_time: StepTime
    requests: tuple[ScenarioRequest, ...]
    hash_block_tokens: int = 512
    ticks_per_ms: int = PS_PER_MS
    block_ids: bool = False
    """Whether block ids are recorded."""
    max_passes: int | None = None

    def milliseconds(self, ticks: int | None) -> float | None:
        """A time as the recorder writes it."""
        return None if ticks is None else round(ticks / self.ticks_per_ms, RECORDED_DECIMALS)

    def name_of(self, index: int) -> str:
        return self.requests[index].id

    def names(self, indices: Iterable[int]) -> list[str]:
        return [self.requests[index].id for index in indices]

    def id_ranks(self) -> list[int]:
        """The rank of each request's id among all, as strings."""
        ranked = {name: rank for rank, name in enumerate(sorted(r.id for r in self.requests))}
        return [ranked[request.id] for request in self.requests]

    def reference_requests(self) -> list[Request]:
        return [
            Request(
                index=index,
                prompt=request.prompt(self.hash_block_tokens),
                outputs=request.outputs(index),
                max_output_tokens=request.max_output_tokens,
                arrival_ps=request.arrival,
                step=request.step,
                priority=request.priority,
                id_rank=rank,
            )
            for index, (request, rank) in enumerate(zip(self.requests, self.id_ranks(), strict=True))
        ]


def load_scenario(path: Path, name: str, read_config: Callable[[Fields], Config]) -> Scenario[Config]:
    """Reads a scenario, its options by `read_config`. Raises InputError."""
    file = str(path)
    fields = Fields(parse_json(read_text(path), file, exact=True), file)
    fields.text("name", name)
    fields.text("note", "")
    fields.flag("out_times", False)
    ticks_per_ms, step_time = read_step_time(Fields(fields.take("step_time", {}), file, "step_time."))
    hash_block_tokens = fields.integer("hash_block_tokens", 512, least=1)
    raw = fields.take("requests")
    if isinstance(raw, str):
        listed = path.parent / raw
        raw, file_of_requests = parse_lines(read_text(listed), str(listed)), str(listed)
    else:
        file_of_requests = file
    if not isinstance(raw, list) or not raw:
        fields.refuse("requests", raw, "a list of requests, or the name of a file with some")
    requests = tuple(
        read_request(
            Fields(one, file_of_requests, f"requests[{index}]."),
            index,
            ticks_per_ms,
            hash_block_tokens,
        )
        for index, one in enumerate(raw)
    )
    refuse_duplicates(requests, file_of_requests)
    scenario = Scenario(
        name=name,
        config=read_config(Fields(fields.take("config", {}), file, "config.")),
        step_time=step_time,
        requests=requests,
        hash_block_tokens=hash_block_tokens,
        ticks_per_ms=ticks_per_ms,
        block_ids=fields.flag("block_ids", False),
        max_passes=fields.integer("max_steps", 2_000_000, least=1),
    )
    fields.finish()
    return scenario


def read_step_time(fields: Fields) -> tuple[int, Affine]:
    """ms = a + b * prefill tokens + c * decode rows + d * context, exactly, in whole ticks."""
    coefficients = [
        fields.number("a", Decimal("5.0")),
        fields.number("b", Decimal("0.05")),
        fields.number("c", Decimal("0.1")),
        fields.number("d", Decimal("0.0005")),
    ]
    fields.finish()
    ticks_per_ms = PS_PER_MS
    while any(c * ticks_per_ms % 1 for c in coefficients) and ticks_per_ms < FINEST_TICKS_PER_MS:
        ticks_per_ms *= 10
    a, b, c, d = (round(coefficient * ticks_per_ms) for coefficient in coefficients)
    term = Linear(base_ps=a, prefill_token_ps=b, decode_row_ps=c, context_ps=d)
    return ticks_per_ms, Affine(host=Linear(), terms=(term,))


def read_request(fields: Fields, index: int, ticks_per_ms: int, hash_block_tokens: int) -> ScenarioRequest:
    tokens = fields.integers("tokens")
    hash_ids = fields.integers("hash_ids")
    n_in = fields.integer("in", len(tokens) if tokens else REQUIRED, least=1)
    if tokens is not None and n_in != len(tokens):
        fields.refuse("in", n_in, f"{len(tokens)}, the number of tokens")
    if hash_ids is not None and n_in > len(hash_ids) * hash_block_tokens:
        fields.refuse("hash_ids", f"{len(hash_ids)} ids", f"enough to cover {n_in} tokens")
    n_out = fields.integer("out")
    # The recorder documents them, but has its model generate its own all the same.
    out_tokens = fields.integers("out_tokens")
    if out_tokens is not None and len(out_tokens) != n_out:
        fields.refuse("out_tokens", f"{len(out_tokens)} tokens", f"{n_out}, as `out` says")
    at_step = "step" in fields
    name = fields.take("id", index)
    priority = fields.take("prio", 0)
    if not isinstance(priority, int):
        fields.refuse("prio", priority, "an integer")
    request = ScenarioRequest(
        id=str(name),
        n_in=n_in,
        n_out=n_out,
        max_output_tokens=n_out,
        arrival=None if at_step else round(fields.number("t") * ticks_per_ms),
        step=fields.integer("step") if at_step else None,
        priority=priority,
        tokens=tokens,
        hash_ids=hash_ids,
        token_seed=fields.integer("tok_seed", 0),
    )
    fields.finish()
    return request


def refuse_duplicates(requests: Sequence[ScenarioRequest], file: str) -> None:
    seen: set[str] = set()
    for index, request in enumerate(requests):
        if request.id in seen:
            raise InputError(
                "names a second request",
                file=file,
                field=f"requests[{index}].id",
                found=repr(request.id),
            )
        seen.add(request.id)
