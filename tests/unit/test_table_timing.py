"""Timings of one's own: exact where they were taken, explained where they make no sense."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from servetwin.describe import resolve
from servetwin.errors import InputError, SpecError
from servetwin.reference import Features, Tabulated, step_time
from servetwin.spec import make_spec
from servetwin.timing import Evidence
from servetwin.timing.table.unequal import longest_line, read_alphas
from servetwin.timing.tables import DecodeGrid, Line

PROFILES = Path(os.environ.get("SERVETWIN_DATA", "../shared/data")) / "measured/llmservingsim/profiles"
NO_HOST = {"host_ms": 0, "eager_layer_us": 0, "piecewise_layer_us": 0}
HEADER = "prefill_tokens,prefill_past_tokens,decode_rows,decode_context_tokens,time_ms\n"
PASSES = HEADER + "0,0,1,100,5\n0,0,1,1000,6\n0,0,8,100,7\n0,0,8,1000,12\n64,0,0,0,9\n512,0,0,0,30\n512,1024,0,0,40\n"


def model(path: Path, **options: Any) -> Tabulated:
    engine = {"num_gpu_blocks": 5000, "max_model_len": 8192, "max_num_batched_tokens": 2048, "max_num_seqs": 64}
    timing = {"kind": "table", "path": str(path), "host_ms": 0, **options.pop("timing", {})}
    pool = resolve(make_spec({"engine": engine, "timing": timing, **options})).first
    assert pool.timing.evidence is Evidence.INTERPOLATED
    lowered = step_time(pool.lowered.description)
    assert isinstance(lowered, Tabulated)
    return lowered


def features(new: int, past: int, rows: int, context: int) -> Features:
    prompt = past + new if new else 0
    every = rows * context + prompt
    return Features(new, new * (2 * past + new), prompt, rows, 0, every, rows + (new > 0), every, rows + (new > 0))


def passes(folder: Path, text: str = PASSES) -> Path:
    file = folder / "passes.csv"
    file.write_text(text)
    return file


def test_passes_take_what_they_took(tmp_path: Path) -> None:
    table = model(passes(tmp_path))
    ms = [table.picoseconds(features(*at)) / 1e9 for at in ((0, 0, 1, 100), (0, 0, 8, 1000), (512, 1024, 0, 0))]
    assert ms == [5, 12, 40]
    assert 0 <= 5_500_000_000 - table.picoseconds(features(0, 0, 1, 550)) < 450, "halfway in context, rounded down"
    # One after the other, less the smallest decode: the weights are read once.
    assert table.picoseconds(features(512, 0, 8, 1000)) / 1e9 == 30 + 12 - 5


def test_a_timed_pass_with_both_parts_is_that(tmp_path: Path) -> None:
    assert model(passes(tmp_path, PASSES + "512,0,8,1000,33\n")).picoseconds(features(512, 0, 8, 1000)) / 1e9 == 33


def test_parquet_says_the_same(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = list(csv.DictReader(PASSES.splitlines()))
    columns = {name: [float(row[name]) if name == "time_ms" else int(row[name]) for row in rows] for name in rows[0]}
    pq.write_table(pa.table(columns), tmp_path / "passes.parquet")
    assert model(tmp_path / "passes.parquet") == model(passes(tmp_path))


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (PASSES.replace("time_ms", "time_min"), None, "unknown unit"),
        (PASSES.replace("1,100,5", "1,100,-5"), 2, "not negative"),
        (PASSES.replace("1,100,5", "1,100,nan"), 2, "not negative"),
        (PASSES.replace("8,1000,12", "8,1000,2"), 5, "falls by 71%"),
        (PASSES.replace("decode_rows", "rows"), None, "lacks the column decode_rows"),
        (PASSES + "64,0,0,0,9\n", 9, "timed twice"),
        (PASSES + "64,0,0\n", 9, "3 values under 5 columns"),
        (PASSES.replace("64,0,0,0,9", "64.5,0,0,0,9"), 6, "whole number"),
        (PASSES.replace("512,0,0,0,30\n", ""), None, "no prompt of 512 tokens without a past"),
        (HEADER + "0,0,1,100,5\n", None, "no pass that only computes a prompt"),
        (HEADER, None, "no rows"),
        ("", None, "no rows"),
        (PASSES + "0,5,1,10,1\n", 9, "is no pass"),
    ],
)
def test_what_makes_no_sense_is_explained(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        model(passes(tmp_path, text))
    assert (caught.value.line, caught.value.file) == (line, str(tmp_path / "passes.csv"))


LAYERS = ("layernorm", "qkv_proj", "rotary_emb", "o_proj", "gate_up_proj", "act_fn", "down_proj")


def profile(folder: Path, **changes: str) -> Path:
    """A profile as LLMServingSim writes it, of two sizes each: every kernel 10 us, attention 1 us and more."""
    dense = [(layer, n) for layer in ("embedding", *LAYERS, "final_layernorm") for n in (1, 2048)]
    files = {
        "meta.yaml": "model: meta-llama/Llama-3.1-8B\ngpu: NVIDIA H100\nhardware: H100\n",
        "tp1/dense.csv": "layer,tokens,time_us\n"
        + "".join(f"{layer},{n},{10 * (1 + n // 1024)}\n" for layer, n in dense),
        "tp1/per_sequence.csv": "layer,sequences,time_us\nlm_head,1,100\nlm_head,64,100\nsampler,1,7\nsampler,64,7\n",
        "tp1/attention.csv": "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us\n"
        "0,0,1,16,1\n0,0,1,4096,5\n0,0,64,16,2\n0,0,64,4096,50\n"
        "16,0,0,0,3\n16,4096,0,0,9\n2048,0,0,0,400\n2048,4096,0,0,2000\n"
        "16,0,1,16,4\n16,0,1,4096,8\n2048,0,1,16,401\n2048,0,1,4096,404\n",
    }
    for name, text in (files | changes).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


LLAMA = {"model": "llama-3.1-8b", "gpu": "h100"}

SKEW = "pc,n_label,skew_rate_label,kv_big_label,kp_label,alpha,n_samples\n"


def test_a_pass_is_the_sum_of_its_layers(tmp_path: Path) -> None:
    table = model(profile(tmp_path), **LLAMA, timing=NO_HOST)
    # Embedding and last norm, 32 layers of seven kernels with the norm twice, attention, head and sampler.
    assert table.picoseconds(features(0, 0, 1, 16)) == (2 * 10 + 32 * (8 * 10 + 1) + 107) * 10**6
    assert table.picoseconds(features(2048, 4096, 0, 0)) == (2 * 30 + 32 * (8 * 30 + 2000) + 107) * 10**6
    # Not timed: as much more as decodes alone take.
    beside = table.picoseconds(features(16, 0, 64, 16)) - table.picoseconds(features(16, 0, 1, 16))
    assert 32 * 10**6 <= beside < 32 * 10**6 + 32 * 8 * 10**6


def test_beside_drafts_the_longest_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    skew = SKEW + "0,n<=4,a,b,c,0.5,4\n0,n<=64,a,b,c,0.5,4\n"
    timing = {"kind": "table", "path": str(profile(tmp_path, **{"tp1/skew_fit.csv": skew}))}
    engine = {"max_model_len": 2048, "num_gpu_blocks": 1000}
    drafts = {"speculative": {"method": "ngram", "num_speculative_tokens": 2, "acceptance": 0.5}}
    for more, longest, told in (
        ({}, True, "priced by their mean and the longest"),
        (drafts, False, "priced by their mean, for beside drafts skew_fit.csv is not read"),
    ):
        (pool,) = resolve(make_spec({**LLAMA, "timing": timing, "engine": engine | more})).pools
        assert (pool.lowered.description["longest"] is not None) == longest
        assert pool.timing.assumptions["unequal_contexts"] == told


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"model": "qwen3-8b"}, "timing.path", "another model"),
        ({"gpu": "a100-80g"}, "timing.path", "another GPU"),
        ({"parallel": {"tensor": 2}}, "parallel.tensor", "no timings for so many ranks"),
    ],
)
def test_timings_of_something_else_are_refused(
    tmp_path: Path, options: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        model(profile(tmp_path), **{**LLAMA, **options})
    assert caught.value.field == field


def test_a_folder_with_gaps_is_refused(tmp_path: Path) -> None:
    changed = {"tp1/per_sequence.csv": "layer,sequences,time_us\nlm_head,1,1\nsampler,1,7\nsampler,64,7\n"}
    with pytest.raises(InputError, match="no timing of lm_head at sequences 64"):
        model(profile(tmp_path, **changed), **LLAMA)
    lines = (profile(tmp_path) / "tp1/dense.csv").read_text().splitlines()
    changed = {"tp1/dense.csv": "".join(f"{line}\n" for line in lines if "down_proj" not in line)}
    with pytest.raises(InputError, match="no timings of down_proj"):
        model(profile(tmp_path, **changed), **LLAMA)
    with pytest.raises(InputError, match="names no model"):
        model(profile(tmp_path, **{"meta.yaml": "gpu: H100\n"}), **LLAMA)
    (profile(tmp_path) / "tp1/attention.csv").unlink()
    with pytest.raises(InputError, match="is missing"):
        model(tmp_path, **LLAMA)


@pytest.mark.skipif(not PROFILES.is_dir(), reason="needs LLMServingSim's profiles (SERVETWIN_DATA)")
@pytest.mark.parametrize(
    ("folder", "gpu", "name"),
    [
        ("RTX4090/meta-llama/Llama-3.1-8B", "rtx4090", "llama-3.1-8b"),
        ("RTXPRO6000/Qwen/Qwen3-32B", "rtx-pro-6000", "qwen3-32b"),
    ],
)
def test_llmservingsims_attention_is_reproduced_at_its_grid_points(folder: str, gpu: str, name: str) -> None:
    path = PROFILES / folder / "bf16"
    table = model(path, model=name, gpu=gpu, timing=NO_HOST)
    layers = {"llama-3.1-8b": 32, "qwen3-32b": 64}[name]
    with gzip.open(path / "tp1/attention.csv.gz", "rt") as file:
        for row in itertools.islice(csv.DictReader(file), 0, None, 11):
            at = features(*(int(row[axis]) for axis in ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode")))
            expected = layers * round(float(row["time_us"]) * 10**6)
            parts = table.mixed.value(at) if table.mixed and at.prefill_tokens and at.decode_rows else None
            if parts is None:
                parts = table.prompt.value(at) if at.prefill_tokens else table.decode.value(at.decode_rows, at.context)
            assert parts == expected, row


def test_unequal_contexts_are_priced_by_their_longest(tmp_path: Path) -> None:
    file = tmp_path / "skew_fit.csv"
    rows = ["0,n<=4,a,b,c,0.1,4", "0,n<=8,a,b,c,0.2,4", "0,n<=8,a,b,d,0.4,4", "512,n<=8,a,b,c,9,4", "0,n>8,a,b,c,9,4"]
    file.write_text(SKEW + "\n".join(rows))
    alphas = read_alphas(file)
    assert alphas == {4: 0.1, 8: pytest.approx(0.3)}, "of passes without prompts, the median"
    ps = tuple(tuple(rows * context * 1000 for context in (512, 4096)) for rows in (4, 8))
    line = longest_line(DecodeGrid((4, 8), (512, 4096), ps), alphas)
    assert line is not None
    # A token more of all rows takes rows · 1,000 ps; of the longest alone, alpha of that.
    assert (line.at, line.start_ps) == ((4, 8), (round(0.1 * 4000 * 2**20), round(0.3 * 8000 * 2**20)))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("pc,alpha\n0,1\n", "lacks the column n_label"),
        (SKEW + "0,many,a,b,c,0.1,4\n", r"skew_fit.csv:2: cannot be read; found many, 0.1"),
        (SKEW + "0,n<=4,a,b,c,nan,4\n", r"skew_fit.csv:2: cannot be read; found n<=4, nan"),
    ],
)
def test_wrong_skews_are_explained(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "skew_fit.csv").write_text(text)
    with pytest.raises(InputError, match=wrong):
        read_alphas(tmp_path / "skew_fit.csv")


def test_a_long_row_takes_longer_than_equal_ones() -> None:
    line = Line.through((1, 8), (0, 7 * 2**20 * 500))
    description = {
        "kind": "tabulated",
        "host": {},
        "graphs": {},
        "tokens": {"at": [1], "start_ps": [0], "slope_fps": [0]},
        "sequences": {"at": [1], "start_ps": [0], "slope_fps": [0]},
        "decode": {"rows": [1], "contexts": [1], "ps": [[1000]]},
        "prompt": {"tokens": [1], "reach": [[1]], "ps": [[0]]},
        "longest": vars(line),
    }
    table = step_time(description)
    equal, unequal = (Features(0, 0, 0, 4, 0, 400, 4, 400, 4, longest) for longest in (100, 250))
    assert table.picoseconds(equal) == 1000
    assert table.picoseconds(unequal) == 1000 + 150 * 3 * 500


@pytest.mark.skipif(not PROFILES.is_dir(), reason="LLMServingSim's profiles are not here")
def test_few_rows_are_split_and_have_no_longest() -> None:
    """FlashAttention-2 splits contexts while rows · KV heads < 0.8 · 2 · multiprocessors: 26 rows on an RTX 4090."""
    folder = PROFILES / "RTX4090/meta-llama/Llama-3.1-8B/bf16"
    table = model(folder, model="llama-3.1-8b", gpu="rtx4090", engine={"max_model_len": 8192, "num_gpu_blocks": 2588})
    assert table.longest is not None
    each_us = {rows: table.longest.value(rows) / 2**20 / 1e6 for rows in (16, 32, 64)}
    assert each_us[16] < 0.1 < 0.5 < each_us[32]
    assert each_us[64] == pytest.approx(each_us[32], rel=0.1), "the same of any more rows"
