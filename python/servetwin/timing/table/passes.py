"""One file of timings of whole passes, as tables.

    prefill_tokens, prefill_past_tokens, decode_rows, decode_context_tokens, time_us (or _ns, _ms, _s)

New tokens of one prompt and those before them; requests that decode, and the context of each. The times are the
GPU's: what the host adds comes on top. A pass with both that was not timed takes as long as the prompt and the decodes
one after the other, less the smallest decode: the weights are read once.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from ..tables import DecodeGrid, Line, Measured, MixedGrid, PassTables, PromptGrid
from .grid import check_rising, interpolated
from .read import Row, Timings, read_timings

COLUMNS = ("prefill_tokens", "prefill_past_tokens", "decode_rows", "decode_context_tokens")


def read_passes(file: Path) -> PassTables:
    """Raises InputError: no decodes, no prompts, times that fall."""
    timings = read_timings(file, COLUMNS)
    decodes: dict[int, dict[int, Row]] = defaultdict(dict)
    prompts: dict[int, dict[int, Row]] = defaultdict(dict)
    both: dict[tuple[int, int, int, int], int] = {}
    for row in sorted(timings.rows, key=lambda row: row.at):
        tokens, past, rows, context = row.at
        if (not tokens and (past or not rows)) or (not rows and context) or (rows and not context):
            raise timings.problem(
                "is no pass: tokens of nobody, or nobody's tokens", row, found=", ".join(map(str, row.at))
            )
        if not tokens:
            decodes[rows][context] = row
        elif not rows:
            prompts[tokens][2 * past + tokens] = row
        else:
            both[tokens, 2 * past + tokens, rows, context] = row.ps
    _check(timings, decodes, prompts)
    decode = _decode(decodes)
    prompt = _prompt(prompts)
    nothing = Line((1,), (0,), (0,))
    measured = Measured(
        decode.rows[-1] + prompt.tokens[-1],
        decode.rows,
        tuple(max(found) for found in decodes.values()),
        prompt.tokens,
        tuple(max(found) for found in prompts.values()),
    )
    return PassTables(nothing, nothing, decode, prompt, _mixed(decode, prompt, both), measured=measured)


def _check(timings: Timings, decodes: dict[int, dict[int, Row]], prompts: dict[int, dict[int, Row]]) -> None:
    for kind, found in (("only decodes", decodes), ("only computes a prompt", prompts)):
        if not found:
            raise timings.problem(f"has no pass that {kind}", wanted="some of each")
    for by_context in decodes.values():
        check_rising(timings, list(by_context.values()), "decode_context_tokens", list(by_context))
    for tokens, by_reach in prompts.items():
        pasts = [(reach - tokens) // 2 for reach in by_reach]
        check_rising(timings, list(by_reach.values()), "prefill_past_tokens", pasts)
        if tokens not in by_reach:
            raise timings.problem(f"has no prompt of {tokens:,} tokens without a past", wanted=f"{tokens},0,0,0")
    first = [by_reach[tokens] for tokens, by_reach in prompts.items()]
    check_rising(timings, first, "prefill_tokens", list(prompts))


def _decode(decodes: dict[int, dict[int, Row]]) -> DecodeGrid:
    contexts = sorted({1, *(context for found in decodes.values() for context in found)})
    times = [{context: row.ps for context, row in found.items()} for found in decodes.values()]
    return DecodeGrid(
        tuple(decodes),
        tuple(contexts),
        tuple(tuple(interpolated(one, context) for context in contexts) for one in times),
    )


def _prompt(prompts: dict[int, dict[int, Row]]) -> PromptGrid:
    rows = [sorted((reach, row.ps) for reach, row in found.items()) for found in prompts.values()]
    for tokens, row in zip(prompts, rows, strict=True):
        if tokens > 1:
            row.insert(0, (1, row[0][1]))  # several prompts take what one does that is as long
    return PromptGrid(
        tuple(prompts),
        tuple(tuple(reach for reach, _ in row) for row in rows),
        tuple(tuple(ps for _, ps in row) for row in rows),
    )


def _mixed(decode: DecodeGrid, prompt: PromptGrid, both: dict[tuple[int, int, int, int], int]) -> MixedGrid:
    least = min(min(row) for row in decode.ps)

    def at(i: int, j: int, r: int, k: int) -> int:
        place = (prompt.tokens[i], prompt.reach[i][j], decode.rows[r], decode.contexts[k])
        apart = prompt.ps[i][j] + decode.ps[r][k] - least
        return both.get(place, max(apart, prompt.ps[i][j], decode.ps[r][k]))

    batches, contexts = range(len(decode.rows)), range(len(decode.contexts))
    return MixedGrid(
        prompt.tokens,
        prompt.reach,
        decode.rows,
        tuple(decode.contexts for _ in prompt.tokens),
        tuple(
            tuple(at(i, j, r, k) for j in range(len(reach)) for r in batches for k in contexts)
            for i, reach in enumerate(prompt.reach)
        ),
    )
