"""Passes of mixtures, latent, sparse, compressed and gated delta layers, composed of operators."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.catalog import FORMATS, GPUS, MODELS, Gpu, Model, Stored, resolve_engine
from servetwin.catalog.layers import Experts, GroupedAttention
from servetwin.catalog.parallel import Ranks
from servetwin.catalog.stages import Stage
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.timing import Evidence, TimingModel, timing_model
from servetwin.timing.composed import Composed, lacking
from servetwin.timing.mixers import alike
from servetwin.timing.operators import basis, experts, operator_curve
from servetwin.timing.operators.fitted import kinds
from servetwin.timing.operators.routing import fullest_rank
from servetwin.timing.sends import SEND_S

BF16 = FORMATS["bf16"]
SPARSE = ("qwen3-235b-a22b", "deepseek-v3", "deepseek-v3.2", "deepseek-v4-pro", "qwen3.5-397b-a17b", "gpt-oss-120b")


def composed(model: str, gpu: str, stored: Stored | None = None, **ranks: int) -> Composed:
    found = MODELS[model]
    return Composed(found, GPUS[gpu], Ranks(**ranks), stored or found.stored, BF16)


def least_prompt_s(model: Model, gpu: Gpu, stored: Stored, tokens: int) -> float:
    """Of the products alone, at the peak of each part's format."""
    return sum(
        2 * tokens * count * matrix.active_elements / gpu.flops(stored.of(matrix.part).arithmetic)
        for count, matrix in model.layer_matrices()
    )


@pytest.mark.parametrize("gpu", sorted(GPUS))
@pytest.mark.parametrize("model", SPARSE)
@pytest.mark.parametrize("tokens", [8192, 32768])
def test_long_prompts_are_never_faster_than_the_peak(model: str, gpu: str, tokens: int) -> None:
    pass_ = composed(model, gpu)
    total = pass_.tokens_s(tokens) + pass_.prompt_s(tokens, tokens**2) + pass_.head_s(1)
    least = least_prompt_s(pass_.model, pass_.gpu, pass_.stored, tokens)
    assert least < total < 40 * least


@pytest.mark.parametrize("model", SPARSE)
def test_a_pass_is_never_faster_than_reading_what_it_needs(model: str) -> None:
    pass_ = composed(model, "b200", tensor=8)
    weights = pass_.model.token_weight_bytes(pass_.stored) / 8
    cache = 64 * pass_.model.read_bytes(8192, BF16) / 8
    least = (weights + cache) / GPUS["b200"].memory_bytes_per_s
    assert least < pass_.tokens_s(64) + pass_.decode_s(64, 64 * 8192) + pass_.head_s(64)


@settings(deadline=None)
@given(
    tokens=st.integers(1, 20_000),
    count=st.sampled_from([8, 64, 128, 256, 512]),
    active=st.integers(1, 8),
    ranks=st.sampled_from([1, 2, 8]),
    skew=st.sampled_from([0.0, 0.6, 1.0, 1.01, 1.2]),
)
def test_the_fullest_rank_has_at_least_its_share(tokens: int, count: int, active: int, ranks: int, skew: float) -> None:
    found = fullest_rank(tokens, count, active, ranks, skew)
    assert tokens * active / ranks <= found.rows * (1 + 1e-9)
    assert found.rows <= tokens * min(active, count // ranks) * (1 + 1e-9)
    assert found.rows / (count // ranks) <= found.largest <= tokens
    assert 1 <= found.hit <= min(count // ranks, found.rows)


@settings(deadline=None)
@given(
    gpu=st.sampled_from(sorted(name for name in GPUS if basis(name) == name)),
    tokens=st.integers(1, 30_000),
    inner=st.sampled_from([128, 768, 2048]),
    ranks=st.sampled_from([1, 4]),
)
def test_no_experts_are_faster_than_the_peak(gpu: str, tokens: int, inner: int, ranks: int) -> None:
    for kind in kinds("experts", gpu):
        curve = operator_curve("experts", kind, gpu)
        assert curve is not None
        stored = FORMATS[kind.removesuffix("_mxfp8")]
        load = experts(GPUS[gpu], stored, 4096, Experts(128, 8, inner), inner, ranks, tokens, 1.01)
        assert load.roofline_s <= curve.seconds(load) < 100


@given(tokens=st.integers(1, 100_000), past=st.integers(0, 1_000_000), prompts=st.integers(1, 64))
def test_prompts_that_stand_for_others_have_as_many_tokens_and_as_much_work(
    tokens: int, past: int, prompts: int
) -> None:
    """However a pass is made up."""
    work = tokens * (2 * past + tokens) if past else max(tokens**2 // prompts, tokens)
    found = alike(tokens, work)
    assert found.times * found.rows * found.tokens == pytest.approx(tokens)
    whole = found.times * found.rows * found.tokens * (2 * found.past + found.tokens)
    assert whole == pytest.approx(work, rel=0.3, abs=2 * tokens)


def test_windows_bound_what_a_context_costs() -> None:
    near = composed("gpt-oss-120b", "h100")
    plain = replace(near.model.stack[0], mixer=GroupedAttention(64, 8, 64, 64))
    far = replace(near, model=replace(near.model, stack=(plain, *near.model.stack[1:])))
    assert near.decode_s(64, 64 * 16384) < 0.7 * far.decode_s(64, 64 * 16384)
    assert near.decode_s(64, 64 * 64) == pytest.approx(far.decode_s(64, 64 * 64), rel=0.4)


def test_sparse_attention_reads_no_more_than_it_chose() -> None:
    dense, sparse = (composed(name, "h200", tensor=8) for name in ("deepseek-v3", "deepseek-v3.2"))
    growth = [one.decode_s(64, 64 * 65536) / one.decode_s(64, 64 * 4096) for one in (dense, sparse)]
    assert growth[0] > 3 > 2 > growth[1]


def test_experts_cost_by_the_fullest_rank() -> None:
    even, skewed = (replace(composed("qwen3-235b-a22b", "h200", tensor=8, expert=8), skew=skew) for skew in (0.6, 1.2))
    assert even.tokens_s(4096) < skewed.tokens_s(4096)


def test_data_ranks_gather_each_others_tokens() -> None:
    alone = composed("deepseek-v3.2", "h200", tensor=1, data=1)
    together = composed("deepseek-v3.2", "h200", tensor=1, data=8, expert=8)
    # An eighth of the experts, all ranks' tokens, and the exchange.
    assert together.tokens_s(32) < alone.tokens_s(32)
    assert together.tokens_s(4096) > alone.tokens_s(4096) / 2
    assert together.decode_s(32, 32 * 4096) == alone.decode_s(32, 32 * 4096)


def test_deepep_has_kernels_for_few_tokens_and_for_many() -> None:
    gathered = composed("deepseek-v3.2", "h200", tensor=1, data=8, expert=8)
    sent = replace(gathered, exchange="deepep")
    # To two thirds of the ranks, but by slower kernels; beyond 256 tokens, by others that take longer to start.
    assert sent.tokens_s(8192) == pytest.approx(gathered.tokens_s(8192), rel=0.1)
    few, many = (sent.tokens_s(tokens) - gathered.tokens_s(tokens) for tokens in (256, 257))
    assert many - few > 58 * 20e-6
    assert replace(gathered, ranks=Ranks(8)).tokens_s(64) == replace(sent, ranks=Ranks(8)).tokens_s(64)


def test_a_stage_has_its_share_of_the_layers() -> None:
    whole = composed("qwen3-235b-a22b", "h200", pipeline=4)
    layers = 0
    for is_first, is_last, count in ((True, False, 23), (False, False, 24), (False, False, 24), (False, True, 23)):
        stage = replace(whole, stage=Stage(count, is_first, is_last, sends_bytes_per_s=0.0 if is_last else 50e9))
        assert stage.decode_s(8, 8192) == pytest.approx(whole.decode_s(8, 8192) * count / 94)
        assert stage.head_s(8) == (whole.head_s(8) if is_last else 0)
        sent_s = stage.tokens_s(1000) - whole.tokens_s(1000) * count / 94
        # Of a thousand tokens, two states of 4,096 figures of 2 bytes each; 10 microseconds until the first arrives.
        assert sent_s == pytest.approx(0 if is_last else SEND_S + 2 * 2 * 1000 * 4096 / 50e9, abs=1e-9)
        layers += count
    assert layers == whole.model.layers


def test_what_was_not_measured_is_named_with_what_was() -> None:
    model = MODELS["deepseek-v3"]
    (missing,) = lacking(model, GPUS["rtx-pro-6000"], Ranks(), replace(model.stored, attention=FORMATS["nvfp4"]))
    assert missing.startswith("experts of fp8_block (measured: ")
    assert "nvfp4" in missing
    assert not lacking(model, GPUS["h200"], Ranks(8), model.stored)
    assert lacking(model, GPUS["mi300x"], Ranks(8), model.stored) == ["any operator"]


def test_what_was_not_measured_is_said_to_be_assumed() -> None:
    fitted, assumed = composed("deepseek-v3", "h200", tensor=8), composed("deepseek-v3", "mi300x", tensor=8)
    assert (fitted.evidence, assumed.evidence) == (Evidence.FITTED, Evidence.ANALYTIC)
    assert "not_measured" in assumed.assumptions
    assert "not_measured" not in fitted.assumptions
    assert fitted.spread < 0.12 < assumed.spread


def test_shapes_beyond_what_was_measured_say_how_far() -> None:
    pass_ = composed("llama-3.1-8b", "h100")
    assert pass_.distance(2048, 2048**2, 0, 0) == 0
    assert pass_.distance(0, 0, 8, 8 * 1_000_000) > 1


SIZES = {"max_model_len": 8192, "num_gpu_blocks": 9000, "max_num_batched_tokens": 8192, "max_num_seqs": 256}


def timed(options: dict[str, Any]) -> TimingModel:
    spec = make_spec({"engine": SIZES, **options})
    return timing_model(spec, resolve_engine(spec))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "deepseek-v3", "gpu": "mi300x", "parallel": {"tensor": 8}}, "MI300X 192GB: any operator"),
        ({"model": "deepseek-v3", "gpu": "rtx-pro-6000", "parallel": {"tensor": 8}}, "experts of fp8_block .measured"),
        ({"model": "llama-3.1-70b", "gpu": "h100", "parallel": {"tensor": 16}}, "do not fit into one domain of 8"),
        (
            {"model": "deepseek-v3", "gpu": "h200", "timing": {"kind": "analytic", "compute_efficiency": 0.5}},
            "does not price latent attention, mixture of experts",
        ),
        (
            {"model": "llama-3.1-8b", "gpu": "h100", "timing": {"kind": "analytic", "allow_extrapolation": True}},
            "without effect: everything was measured",
        ),
        (
            {"model": "llama-3.1-8b", "gpu": "h100", "timing": {"kind": "analytic", "expert_skew": 1.2}},
            "without effect: llama-3.1-8b has no experts",
        ),
        (
            {"model": "qwen3-30b-a3b", "gpu": "h100", "timing": {"kind": "analytic", "expert_exchange": "deepep"}},
            "without effect: no data ranks",
        ),
        (
            {
                "model": "qwen3-30b-a3b",
                "gpu": "h100",
                "parallel": {"data": 4},
                "timing": {"kind": "analytic", "expert_exchange": "deepep"},
            },
            "DeepEP brings tokens to whole experts",
        ),
        (
            {"model": "llama-3.1-8b", "gpu": "mi300x", "timing": {"kind": "analytic", "allow_extrapolation": True}},
            None,
        ),
    ],
)
def test_deployments_without_a_basis_are_refused(options: dict[str, Any], message: str | None) -> None:
    """Or run as asked, and say so."""
    if message is None:
        assert timed(options).evidence is Evidence.ANALYTIC
        return
    with pytest.raises(SpecError, match=message):
        timed(options)


def test_a_refusal_names_the_nearest_gpus_that_would_do() -> None:
    with pytest.raises(SpecError) as caught:
        timed({"model": "deepseek-v3", "gpu": "mi300x", "parallel": {"tensor": 8}})
    wanted = caught.value.wanted or ""
    assert "(h200, b200" in wanted
    assert "--allow-extrapolation" in wanted
