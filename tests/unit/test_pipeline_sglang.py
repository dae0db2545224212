"""SGLang's micro-batches on worlds small enough to follow by hand; times are in milliseconds.

In each of two stages a pass takes 10, 1 a prompt token and 2 a row that decodes.
"""

from __future__ import annotations

from typing import Any

import pytest

from servetwin import _core
from servetwin.catalog import resolve_engine
from servetwin.errors import SpecError
from servetwin.explain.changes import changes
from servetwin.result.columns import REASONS, STATUSES
from servetwin.spec import make_spec

from ..small import LEAPS, SGLANG, gaps, numbers, times
from .test_pipeline import simulate

STAGED = SGLANG | {"disable_overlap_schedule": True}


def staged(*rows: tuple[int, int, int], leap: bool, **options: Any) -> _core.Run:
    """Rows of arrival in ms, prompt, output."""
    return simulate(*rows, leap=leap, engine=STAGED, **options)


@LEAPS
def test_an_empty_turn_takes_no_time(leap: bool) -> None:
    run = staged((0, 5, 3), leap=leap)
    # A prompt of 15 in each stage, decodes of 12.
    assert times(run, "first_token") == [30]
    assert times(run, "last_token") == [30 + 24 + 24]


@LEAPS
def test_parts_of_a_prompt_follow_each_other(leap: bool) -> None:
    run = staged((0, 40, 1), leap=leap, chunked_prefill_size=20)
    # 0 to 30 and 30 to 60 in the first stage, 30 to 60 and 60 to 90 in the second.
    assert times(run, "first_token") == [90]


@LEAPS
def test_a_prompt_decodes_in_the_micro_batch_of_its_last_part(leap: bool) -> None:
    run = staged((0, 5, 4), (0, 20, 3), leap=leap, chunked_prefill_size=20)
    # Pass 0: the first prompt and 15 tokens of the second, 0-30 and 30-60. Pass 1: its last 5, 30-45 and 60-75.
    # Then each decodes in every other pass: 60-72 and 75-87, 75-87 and 87-99, 87-99 and 99-111, ...
    assert times(run, "first_token") == [60, 75]
    assert times(run, "last_token") == [60 + 27 + 24 + 24, 75 + 24 + 24]
    assert gaps(run) == [24, 24, 24, 24, 27]


@LEAPS
@pytest.mark.parametrize("limit", [{"pp_max_micro_batch_size": 1}, {"max_running_requests": 2}], ids=["own", "share"])
def test_a_micro_batch_has_its_own_limit(leap: bool, limit: dict[str, int]) -> None:
    run = staged((0, 10, 3), (0, 10, 3), (0, 10, 3), leap=leap, **limit)
    # A prompt each: 0-20 and 20-40, 20-40 and 40-60. The first decodes 40-52 and 60-72, 72-84 and 84-96; the second
    # 60-72 and 72-84, 84-96 and 96-108. The third takes the place of the first: 96-116 and 116-136, then alone.
    assert times(run, "scheduled") == [0, 0, 96]
    assert times(run, "first_token") == [40, 60, 136]
    assert times(run, "last_token") == [96, 108, 136 + 24 + 24]


@LEAPS
def test_who_comes_while_the_loop_waits_joins_the_same_micro_batch(leap: bool) -> None:
    run = staged((0, 5, 3), (10, 20, 1), leap=leap)
    # The other is empty, but the loop waits for the first token until 30. Then a prompt comes first, 30-60 and 60-90.
    assert times(run, "scheduled") == [0, 30]
    assert times(run, "first_token")[1] == 90
    assert times(run, "last_token")[0] == 90 + 24 + 24
    assert gaps(run) == [24, 84]


@LEAPS
def test_data_ranks_apart_have_stages_of_their_own(leap: bool) -> None:
    rows = [(0, 5, 4), (0, 20, 3)]
    run = staged(*rows, leap=leap, ranks=2)
    alone = [staged(row, leap=leap) for row in rows]
    assert numbers(run, "rank") == [0, 1]
    for column in ("first_token", "last_token"):
        assert times(run, column) == [times(one, column)[0] for one in alone]


@LEAPS
def test_a_row_that_finds_no_room_beside_other_micro_batches_is_aborted(leap: bool) -> None:
    run = staged((0, 8, 12), (0, 8, 6), leap=leap, max_total_tokens=24, pp_max_micro_batch_size=1)
    # Each micro-batch sees room for its own: 8 + 12 of 24, 8 + 6 of the 16 that are left. Prompts until 36 and 54, then
    # decodes in turn, the first's until 66, 90, 114 and 138, the second's until 78, 102, 126 and 150. At 138 all 24
    # slots are taken, and the only row of its micro-batch goes. The other has its last token at 150 + 24.
    assert [STATUSES[status] for status in numbers(run, "status")] == ["rejected", "completed"]
    assert REASONS[numbers(run, "reason")[0]] == "no room for its next token, even alone"
    assert numbers(run, "output_tokens") == [5, 6]
    assert times(run, "end") == [138, 174]


DRAFTS = {
    "speculative_algorithm": "NGRAM",
    "speculative_num_draft_tokens": 4,
    "speculation": {"acceptance": 0.5},
}


@pytest.mark.parametrize(
    ("engine", "model", "wanted"),
    [
        ({"enable_hierarchical_cache": True}, "llama-3.1-8b", "HiCache together with pipeline parallelism is not yet"),
        (DRAFTS, "llama-3.1-8b", "pipeline stages together with speculative decoding are not yet modelled"),
        ({}, "gpt-oss-20b", "stages of gpt-oss-20b, whose layers do not all keep every token, are not yet modelled"),
    ],
    ids=["hicache", "drafts", "windows"],
)
def test_what_does_not_go_together_is_refused_by_name(engine: dict[str, Any], model: str, wanted: str) -> None:
    named = {"name": "sglang"} | engine
    with pytest.raises(SpecError, match=wanted):
        resolve_engine(make_spec({"model": model, "gpu": "h100", "parallel": {"pipeline": 2}, "engine": named}))


def test_a_limit_on_micro_batches_needs_some() -> None:
    with pytest.raises(SpecError, match="there is one stage"):
        make_spec({"model": "llama-3.1-8b", "gpu": "h100", "engine": {"name": "sglang", "pp_max_micro_batch_size": 4}})


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, "max_running_requests"), ({"pp_max_micro_batch_size": 32}, "pp_max_micro_batch_size")],
    ids=["share", "own"],
)
def test_an_explanation_tries_the_limit_that_binds(options: dict[str, int], limit: str) -> None:
    named = {"name": "sglang"} | options
    spec = make_spec({"model": "llama-3.1-8b", "gpu": "h100", "parallel": {"pipeline": 2}, "engine": named})
    tried = [change.path for change in changes(spec, {}) if change.path.endswith(("requests", "micro_batch_size"))]
    assert tried == [f"engine.{limit}"] * 2
