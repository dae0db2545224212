"""Operators by fitted curves, and passes composed of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servetwin.accuracy.operators import operator_errors
from servetwin.accuracy.timings import SYSTEMS, data_folder, timings
from servetwin.catalog import FORMATS, GPUS, MODELS, resolve_engine
from servetwin.errors import InputError
from servetwin.reference import Features, step_time
from servetwin.spec import make_spec
from servetwin.timing import Evidence, Lowered, lower, pass_limits, timing_model
from servetwin.timing.curves_model import CurvesModel
from servetwin.timing.operators import (
    Curve,
    Load,
    all_reduce,
    basis,
    decode_attention,
    gemm,
    operator_curve,
    prefill_attention,
)

BF16 = FORMATS["bf16"]
WITH_BASIS = sorted(name for name in GPUS if basis(name) is not None)
SYSTEM = {gpu: system for system, gpu in SYSTEMS.items()}


def curve_of(operator: str, kind: str, gpu: str) -> Curve:
    curve = operator_curve(operator, kind, basis(gpu) or "")
    assert curve is not None
    return curve


# The first look reads the coefficients.
@settings(deadline=None)
@given(
    gpu=st.sampled_from(WITH_BASIS),
    kind=st.sampled_from(["bf16", "fp8"]),
    m=st.integers(1, 100_000),
    n=st.integers(16, 200_000),
    k=st.integers(16, 100_000),
)
def test_no_product_is_faster_than_the_peak(gpu: str, kind: str, m: int, n: int, k: int) -> None:
    curve = operator_curve("gemm", kind, basis(gpu) or "")
    if curve is not None:
        load = gemm(GPUS[gpu], FORMATS[kind], m, n, k)
        assert load.roofline_s <= curve.seconds(load) < 1e6


# The first look reads the coefficients.
@settings(deadline=None)
@given(
    gpu=st.sampled_from(WITH_BASIS),
    rows=st.integers(1, 2048),
    tokens=st.integers(1, 1_000_000),
    kv_heads=st.sampled_from([1, 2, 4, 8]),
    group=st.sampled_from([1, 2, 4, 8, 16]),
    dim=st.sampled_from([64, 128, 256]),
)
def test_no_attention_is_faster_than_the_peak(
    gpu: str, rows: int, tokens: int, kv_heads: int, group: int, dim: int
) -> None:
    for operator, load in (
        ("prefill_attention", prefill_attention(GPUS[gpu], rows, tokens, kv_heads * group, kv_heads, dim, BF16)),
        ("decode_attention", decode_attention(GPUS[gpu], rows, tokens, kv_heads * group, kv_heads, dim, BF16)),
    ):
        assert load.roofline_s <= curve_of(operator, "bf16", gpu).seconds(load)


def test_a_curve_goes_on_as_at_its_edge() -> None:
    curve = curve_of("all_reduce", "2", "h100")
    outside = all_reduce(GPUS["h100"], 2, 2**40)
    assert outside.roofline_s <= curve.seconds(outside) < 3 * outside.roofline_s


def composed(options: dict[str, Any]) -> tuple[CurvesModel, Lowered]:
    spec = make_spec(options)
    engine = resolve_engine(spec)
    model = timing_model(spec, engine)
    assert isinstance(model, CurvesModel)
    return model, lower(spec, model, pass_limits(engine))


def seconds(lowered: Lowered, p: int, w: int, d: int, c: int, n: int) -> float:
    features = Features(p, w, c if p else 0, d, 0, c, n, c, n)
    return step_time(lowered.description).picoseconds(features) / 1e12


NO_HOST = {"kind": "analytic", "host_ms": 0, "eager_layer_us": 0, "piecewise_layer_us": 0}
SIZES = {"max_model_len": 32768, "num_gpu_blocks": 9000, "max_num_batched_tokens": 32768, "max_num_seqs": 256}


@pytest.mark.parametrize("name", sorted(GPUS))
@pytest.mark.parametrize("tokens", [8192, 32768])
def test_long_prompts_are_never_faster_than_the_peak(name: str, tokens: int) -> None:
    model, gpu = MODELS["llama-3.1-8b"], GPUS[name]
    spec = make_spec(
        {"model": "llama-3.1-8b", "gpu": name, "engine": SIZES, "timing": {"kind": "analytic", "host_ms": 0}}
    )
    engine = resolve_engine(spec)
    lowered = lower(spec, timing_model(spec, engine), pass_limits(engine))
    flops = 2 * tokens * (model.active_parameters - model.head.elements) + 2 * 32 * 4096 * tokens**2
    least = flops / gpu.bf16_flops
    assert least < seconds(lowered, tokens, tokens**2, 0, tokens, 1) < 5 * least


@pytest.mark.parametrize("gpu", WITH_BASIS)
def test_the_lowered_pass_is_the_sum_of_its_operators(gpu: str) -> None:
    composed_model, lowered = composed({"model": "llama-3.1-8b", "gpu": gpu, "engine": SIZES, "timing": NO_HOST})
    model = composed_model.curves
    assert lowered.error_share < 0.25
    for rows, context in ((1, 1024), (32, 1024), (64, 4096), (256, 2048)):
        head = curve_of("gemm", "bf16", gpu).seconds(gemm(GPUS[gpu], BF16, rows, 128256, 4096))
        exact = model.tokens_s(rows) + model.decode_s(rows, rows * context) + head
        assert seconds(lowered, 0, 0, rows, rows * context, rows) == pytest.approx(exact, rel=0.08)
    for tokens in (1024, 8192):
        exact = model.tokens_s(tokens) + model.prompt_s(tokens, tokens**2)
        assert seconds(lowered, tokens, tokens**2, 0, tokens, 1) == pytest.approx(exact, rel=0.08)


def test_evidence_says_whose_operators_they_are() -> None:
    options = {"model": "llama-3.1-8b", "engine": SIZES}
    assert composed({**options, "gpu": "h100"})[0].evidence is Evidence.FITTED
    relative = composed({**options, "gpu": "h100-pcie"})[0]
    assert (relative.evidence, relative.assumptions["operators_of"]) == (Evidence.TRANSFERRED, "h100")
    for more in ({"gpu": "mi300x"}, {"gpu": "h100", "timing": {"kind": "analytic", "memory_efficiency": 0.9}}):
        spec = make_spec({**options, **more})
        assert timing_model(spec, resolve_engine(spec)).evidence is Evidence.ANALYTIC


def test_ranks_share_the_work_and_pay_for_it() -> None:
    options = {"model": "llama-3.1-70b", "gpu": "h200", "engine": SIZES}
    two, eight = (composed({**options, "parallel": {"tensor": ranks}})[0].curves.tokens_s(2048) for ranks in (2, 8))
    assert two / 4 < eight < two


def table(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """As aiconfigurator-core lays them out."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    file = folder / "data" / "h100_sxm" / "gemm" / "vllm" / "0.24.0" / "gemm_perf.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    return data_folder(folder)


@pytest.mark.parametrize(("factor", "error"), [(1.0, 0.0), (1.25, 0.2)])
def test_errors_are_those_of_the_timings(tmp_path: Path, factor: float, error: float) -> None:
    curve = curve_of("gemm", "bf16", "h100")
    rows = []
    for m in (1, 16, 256, 4096):
        for n in (512, 1024, 4096, 8192, 14336):
            for k in (512, 2048, 4096, 7168, 12288):
                ms = curve.seconds(gemm(GPUS["h100"], BF16, m, n, k)) * 1e3 * factor
                rows.append({"gemm_dtype": "bfloat16", "m": m, "n": n, "k": k, "latency": ms})
    (found,) = operator_errors(table(tmp_path, rows))
    assert (found.operator, found.kind, found.gpu) == ("gemm", "bf16", "h100")
    assert 0 < found.shapes < len(rows) / 2
    assert found.median == pytest.approx(error, abs=1e-6)
    # By the H200's curve it is another figure.
    assert found.sibling == "h200"


def test_timings_faster_than_the_peak_and_of_small_matrices_are_left_out(tmp_path: Path) -> None:
    row = {"gemm_dtype": "bfloat16", "m": 1, "n": 4096, "k": 4096, "latency": 1.0}
    rows = [row, row | {"latency": 1e-6}, row | {"n": 64}, row | {"gemm_dtype": "int4_wo"}]
    assert len(list(timings(table(tmp_path, rows), "gemm", "h100_sxm"))) == 1


def test_timings_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder `data`"):
        data_folder(tmp_path)


def test_timings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    folder = table(tmp_path, [{"gemm_dtype": "bfloat16", "m": 1, "n": 4096, "latency": 1.0}])
    with pytest.raises(InputError, match="no column") as caught:
        list(timings(folder, "gemm", "h100_sxm"))
    assert caught.value.field == "k"
    file = folder / "h100_sxm" / "gemm" / "vllm" / "0.24.0" / "gemm_perf.parquet"
    file.write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not Parquet") as caught:
        list(timings(folder, "gemm", "h100_sxm"))
    assert caught.value.file == str(file)


def test_a_fifth_of_the_shapes_is_kept_from_the_fit(tmp_path: Path) -> None:
    rows = [
        {"gemm_dtype": "bfloat16", "m": 8, "n": 256 + 32 * i, "k": 256 + 64 * j, "latency": 1.0}
        for i in range(40)
        for j in range(40)
    ]
    found = list(timings(table(tmp_path, rows), "gemm", "h100_sxm"))
    assert sum(one.held_out for one in found) / len(found) == pytest.approx(0.2, abs=0.05)


def test_the_fit_holds_on_the_real_timings() -> None:
    pytest.importorskip("aiconfigurator_core", reason="the timings are not installed")
    curve = curve_of("gemm", "bf16", "h200")
    errors = sorted(
        abs(curve.seconds(one.load) / one.seconds - 1)
        for one in timings(data_folder(None), "gemm", SYSTEM["h200"])
        if one.held_out and one.kind == "bf16"
    )
    assert errors[len(errors) // 2] <= 0.08


def test_a_load_is_bound_by_the_slower_of_its_two() -> None:
    assert Load(2.0, 1.0, (0.0,)).roofline_s == 2.0
