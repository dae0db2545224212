"""The comparison with whole runs that others measured, on a sample of our own."""

from __future__ import annotations

import csv
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from servetwin.accuracy.silicon import compare as comparing
from servetwin.accuracy.silicon import peer
from servetwin.accuracy.silicon.compare import Compared, arithmetic_share, compare
from servetwin.accuracy.silicon.errors import errors_of
from servetwin.accuracy.silicon.ours import predict
from servetwin.accuracy.silicon.peer import Prediction
from servetwin.accuracy.silicon.ranking import choices
from servetwin.accuracy.silicon.rows import FALLING, Deployment, Measured, read_sample
from servetwin.accuracy.silicon.spec import NotSimulatedError, Protocol, checkpoint, polling_passes, spec_of
from servetwin.accuracy.silicon.split import architecture, kind
from servetwin.accuracy.silicon.terms import BOUNDS, EAGER_LAYER_US, UNFITTED, Fitted, Response, Terms, fit
from servetwin.accuracy.timings import data_folder
from servetwin.errors import InputError, MissingDataError
from servetwin.report.predicted import drawing
from servetwin.report.silicon import ranking_table, silicon_table
from servetwin.spec import make_spec

ROW: dict[str, Any] = {
    "id": "a",
    "silicon_data_source": "ours; silicon_concurrency=4",
    "backend": "vllm",
    "backend_version": "0.19.0",
    "model_path": "meta-llama/Llama-3.1-8B-Instruct",
    "system": "h100_sxm",
    "mode": "agg",
    "isl": 256,
    "osl": 64,
    "gemm_quant_mode": "",
    "moe_quant_mode": "",
    "batch_size": 4.0,
    "tp_size": 1.0,
    "pp_size": 1.0,
    "attention_dp_size": 1.0,
    "moe_tp_size": 1.0,
    "moe_ep_size": 1.0,
    "silicon_ttft_ms": 30.0,
    "silicon_tpot_ms": 8.0,
}
ONE = Deployment("vllm", "meta-llama/Llama-3.1-8B-Instruct", "h100", "", "", 256, 64, 4, 1, 1, 1, "inferencex")


def sample(folder: Path, *rows: dict[str, Any]) -> Path:
    with (folder / "silicon_sample.csv").open("w", newline="") as opened:
        writer = csv.DictWriter(opened, ROW)
        writer.writeheader()
        writer.writerows(ROW | row for row in rows)
    return folder


def users(count: int) -> dict[str, Any]:
    return {"silicon_data_source": f"ours; silicon_concurrency={count}", "batch_size": float(count)}


def test_repeated_measurements_are_one_deployment(tmp_path: Path) -> None:
    read = read_sample(sample(tmp_path, {}, {"silicon_tpot_ms": 9.0}, users(8) | {"silicon_tpot_ms": 9.0}))
    assert [(one.deployment.concurrency, one.tpot_ms, one.rows) for one in read.measured] == [(4, 8.5, 2), (8, 9.0, 1)]
    assert not read.rejected


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        ([{"mode": "disagg"}], "prefill and decode apart"),
        ([{}, {"silicon_tpot_ms": 11.0}], "repeated measurements differ"),
        ([{"tp_size": 16.0, "moe_tp_size": 16.0}], "more than 8 GPUs"),
        ([{"tp_size": 2.0, "moe_tp_size": 4.0}], "ranks of experts"),
        ([{"silicon_data_source": "ours"}], "no number of users"),
        ([{"silicon_tpot_ms": 0.0}], "no positive times"),
        ([{"pp_size": 2.0}], "pipeline"),
        ([users(4) | {"silicon_tpot_ms": 20.0}, users(8)], FALLING),
        (
            [
                {
                    "backend": "trtllm",
                    "model_path": "deepseek-ai/DeepSeek-R1",
                    "backend_version": "1.2.0rc6.post3",
                    "silicon_data_source": "source_file=2026-04-06.csv; silicon_concurrency=4",
                }
            ],
            "multi-token prediction",
        ),
    ],
)
def test_what_is_not_compared_has_a_cause(tmp_path: Path, rows: list[dict[str, Any]], cause: str) -> None:
    read = read_sample(sample(tmp_path, *rows))
    assert not read.measured
    [(found, count)] = read.rejected.items()
    assert found.startswith(cause)
    assert count == len(rows) == read.rows


@pytest.mark.parametrize(
    ("columns", "ranks"),
    [
        ((8, 1, 8, 1), (8, 1, 1)),
        ((8, 1, 1, 8), (8, 1, 8)),
        ((64, 1, 8, 8), (8, 1, 8)),
        ((1, 64, 8, 8), (1, 8, 8)),
        ((4, 4, 1, 16), (1, 4, 4)),
        ((2, 2, 1, 4), (1, 2, 2)),
        ((2, 0, 0, 0), (2, 1, 1)),
        ((4, 1, 2, 2), (4, 1, 2)),
    ],
)
def test_ranks_as_the_benchmark_had_them(
    tmp_path: Path, columns: tuple[int, int, int, int], ranks: tuple[int, int, int]
) -> None:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    [one] = read_sample(sample(tmp_path, dict(zip(names, columns, strict=True)))).measured
    assert (one.deployment.tensor, one.deployment.data, one.deployment.expert) == ranks


def test_a_row_that_is_none_is_named_by_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a row of the sample") as caught:
        read_sample(sample(tmp_path, {}, {"isl": "many"}))
    assert caught.value.line == 3
    with pytest.raises(InputError, match="cannot be read"):
        read_sample(tmp_path / "nowhere")
    (tmp_path / "silicon_sample.csv").write_text("id,mode\na,agg\n")
    with pytest.raises(InputError, match="no column") as caught:
        read_sample(tmp_path)
    assert caught.value.field == "silicon_data_source"


@pytest.mark.parametrize(
    ("path", "products", "experts", "name"),
    [
        ("deepseek-ai/DeepSeek-R1", "nvfp4", "nvfp4", "deepseek-r1-nvfp4"),
        ("deepseek-ai/DeepSeek-R1", "fp8", "fp8_block", "deepseek-r1"),
        ("meta-llama/Llama-3.1-70B", "fp8", "fp8", "llama-3.1-70b-fp8"),
        ("openai/gpt-oss-120b", "nvfp4", "nvfp4", "gpt-oss-120b"),
        ("moonshotai/Kimi-K2.5", "int4_wo", "int4_wo", "kimi-k2.5"),
        ("Qwen/Qwen3-32B", "fp8", "fp8", "qwen3-32b-fp8-static-pertensor"),
        ("Qwen/Qwen3-32B", "", "", "qwen3-32b"),
    ],
)
def test_the_checkpoint_that_was_served(path: str, products: str, experts: str, name: str) -> None:
    assert checkpoint(replace(ONE, checkpoint=path, products=products, experts=experts)) == name


def test_models_and_formats_that_nobody_published_are_refused() -> None:
    with pytest.raises(NotSimulatedError, match="not in the catalog"):
        checkpoint(replace(ONE, checkpoint="acme/unheard-of"))
    with pytest.raises(NotSimulatedError, match="no checkpoint"):
        checkpoint(replace(ONE, products="nvfp4", experts="nvfp4"))


def test_one_architecture_has_one_name_whatever_its_format() -> None:
    names = ("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3", "nvidia/DeepSeek-R1-NVFP4")
    assert {architecture(replace(ONE, checkpoint=name)) for name in names} == {"deepseek-v3"}
    assert architecture(replace(ONE, checkpoint="nvidia/Llama-3.1-8B-Instruct-FP8")) == architecture(ONE)
    assert [kind(name) for name in ("deepseek-r1-nvfp4", "minimax-m2.5", "llama-3.1-8b")] == [
        "latent",
        "mixture",
        "dense",
    ]


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
@pytest.mark.parametrize("benchmark", ["inferencex", "aiperf"])
def test_every_engine_and_benchmark_is_a_spec(engine: str, benchmark: str) -> None:
    spec = make_spec(spec_of(replace(ONE, engine=engine, benchmark=benchmark), Protocol()))
    assert spec.users == 4


def test_polling_makes_first_tokens_later() -> None:
    one = replace(ONE, engine="sglang", checkpoint="deepseek-ai/DeepSeek-R1", experts="fp8_block", gpu="b200", tensor=8)
    assert [polling_passes(replace(one, concurrency=users)) for users in (4, 16)] == [10, 30]
    assert polling_passes(replace(one, gpu="h200")) == polling_passes(ONE) == 0
    polled, plain = predict(one), predict(replace(one, gpu="h200"))
    assert polled.ttft_ms - plain.ttft_ms > 3 * polled.tpot_ms


def response(kind: str, launched: float, measured: Terms, group: str = "one") -> Response:
    """TTFT grows with the launches by `launched` ms a microsecond; TPOT does not."""
    eager = tuple((20 + launched * value, 10.0) for value in EAGER_LAYER_US)
    blank = Response("vllm", kind, group, (1.0, 1.0), eager)
    return replace(blank, measured=blank.times(measured))


@given(
    request_ms=st.floats(5, 80),
    eager=st.floats(400, 3000),
    launched=st.lists(st.floats(0.01, 0.2), min_size=4, max_size=8, unique_by=lambda value: round(value, 2)),
)
def test_terms_that_made_the_measurements_are_found(request_ms: float, eager: float, launched: list[float]) -> None:
    true = Terms(request_ms, eager)
    rows = [response("dense", one, true) for one in launched]
    found = fit(rows).of("vllm", "dense")
    # A few rows leave room between the two terms; what they predict they hardly do.
    assert sum(abs(row.times(found)[0] / row.measured[0] - 1) for row in rows) / len(rows) < 0.15


@given(st.lists(st.tuples(st.floats(0.01, 0.2), st.floats(1, 10_000)), min_size=1, max_size=6))
def test_terms_stay_within_their_bounds(rows: list[tuple[float, float]]) -> None:
    found = fit([replace(response("dense", one, UNFITTED), measured=(ttft, 10.0)) for one, ttft in rows])
    assert BOUNDS["request_ms"][0] <= found.request_ms["vllm"] <= BOUNDS["request_ms"][1]
    assert BOUNDS["eager_layer_us"][0] <= found.eager_layer_us["dense"] <= BOUNDS["eager_layer_us"][1]


@pytest.mark.parametrize("terms", [Terms(41.0, 300.0), Terms(1.0, 650.0), Terms(21.0, 2000.0)])
def test_between_what_was_simulated_times_are_as_simulated(terms: Terms) -> None:
    one = comparing._response(Measured(ONE, 30.0, 8.0, 1, ""))
    simulated = predict(ONE, terms)
    # Users who wait longer before they arrive queue a little less: that is left out.
    assert one.times(terms) == pytest.approx((simulated.ttft_ms, simulated.tpot_ms), rel=0.06)


def test_what_is_judged_is_not_fitted() -> None:
    rows = [response("dense", 0.1, Terms(20.0, 900.0)), response("dense", 0.1, Terms(90.0, 3000.0))]
    apart = comparing._without(["here", "there"], rows)
    assert apart["here"] == fit(rows[1:])
    assert apart["there"] == fit(rows[:1])
    assert Fitted({}, {}).of("vllm", "dense") == UNFITTED


def compared(tensor: int, count: int, tpot_ms: float, predicted_ms: float, ttft_ms: float = 50.0) -> Compared:
    one = Measured(replace(ONE, tensor=tensor, concurrency=count), ttft_ms, tpot_ms, 1, "")
    found = Prediction(ttft_ms, predicted_ms)
    return Compared(one, found, found, found, None)


CURVES = st.lists(
    st.tuples(st.sampled_from([1, 2, 4, 8]), st.integers(1, 9), st.floats(1, 100), st.floats(1, 100)),
    min_size=4,
    max_size=20,
    unique_by=lambda one: one[:2],
)


@given(CURVES)
def test_regret_is_a_share_and_none_where_the_measurements_choose(
    rows: list[tuple[int, int, float, float]],
) -> None:
    pairs = [compared(tensor, 2**count, tpot_ms, predicted) for tensor, count, tpot_ms, predicted in rows]
    for choice in choices(pairs, lambda one: one.unfitted):
        assert 0 <= choice.regret < 1
        assert choice.chance <= 1
    perfect = choices(pairs, lambda one: Prediction(one.measured.ttft_ms, one.measured.tpot_ms))
    assert all(choice.regret == pytest.approx(0, abs=1e-9) for choice in perfect)


def test_the_regret_of_a_wrong_choice() -> None:
    # Two ranks serve as many users at the same TPOT: half the throughput per GPU; the prediction has it the other way.
    # Of the other, what is predicted ends below all levels: its last point goes on.
    rows = [compared(1, count, 10 * step, 20 * step) for step, count in enumerate((4, 8, 16), start=1)]
    rows += [compared(2, count, 10 * step, 2 * step) for step, count in enumerate((4, 8, 16), start=1)]
    found = choices(rows, lambda one: one.unfitted)
    assert found
    assert [choice.regret for choice in found] == pytest.approx([0.5] * len(found))
    assert [choice.chance for choice in found] == pytest.approx([0.25] * len(found))


def test_errors_are_relative() -> None:
    found = errors_of([(Measured(ONE, 100.0, 10.0, 1, ""), Prediction(50.0, 12.0))])
    assert (found.tpot_mean, found.ttft_mean, found.ttft_bias) == pytest.approx((0.2, 0.5, -0.5))


def test_what_needs_more_arithmetic_than_there_is(tmp_path: Path) -> None:
    slow = Measured(replace(ONE, concurrency=4), 30.0, 8.0, 1, "")
    assert arithmetic_share(slow) < 0.1
    assert arithmetic_share(replace(slow, tpot_ms=0.1, ttft_ms=1.0)) > 0.5


@pytest.fixture
def without_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(one: Deployment) -> Prediction | None:
        raise ImportError("no such core")

    monkeypatch.setattr(peer, "predict", missing)


@pytest.mark.usefixtures("without_peer")
def test_the_whole_comparison_on_a_few_rows(tmp_path: Path) -> None:
    rows = [users(count) | {"tp_size": float(tensor)} for count in (2, 4) for tensor in (1, 2)]
    rows += [{"model_path": "Qwen/Qwen3-32B"}, {"model_path": "acme/unheard-of"}, {"mode": "disagg"}]
    rows += [{"isl": 512, "silicon_tpot_ms": 0.01, "silicon_ttft_ms": 0.1}]
    comparison = compare(sample(tmp_path, *rows))
    assert len(comparison.compared) == 5
    assert comparison.refused["not in the catalog: acme/unheard-of"] == 1
    assert comparison.refused[comparing.IMPOSSIBLE] == 1
    assert sum(comparison.sample.rejected.values()) == 1
    assert comparison.peer == "not beside AIConfigurator: no such core"
    for one in comparison.compared:
        assert one.unfitted.tpot_ms == pytest.approx(one.by_architecture.tpot_ms, rel=0.05)
    console = Console(record=True, width=200)
    console.print(silicon_table(comparison))
    console.print(ranking_table(comparison))
    text = console.export_text()
    assert "other architectures" in text
    assert "not in the catalog" in text
    ElementTree.fromstring(drawing(comparison.compared))


def test_the_real_sample() -> None:
    pytest.importorskip("aiconfigurator_core", reason="aiconfigurator-core is not installed")
    try:
        read = read_sample(data_folder(None).parent)
    except MissingDataError:
        pytest.skip("aiconfigurator-core has no timings")
    assert read.rows == 5221
    assert sum(one.rows for one in read.measured) + sum(read.rejected.values()) == read.rows
