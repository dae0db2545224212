"""AIConfigurator's operators as curves of a pass; against the real one where it is installed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from servetwin.catalog import resolve_engine
from servetwin.errors import SpecError
from servetwin.spec import make_spec
from servetwin.timing import stage_models, timing_model
from servetwin.timing.aiconfigurator import Aiconfigurator
from servetwin.timing.aiconfigurator import curves as adapter
from servetwin.timing.curves_model import CurvesModel
from servetwin.timing.sends import SEND_S

SIZES = {"max_model_len": 32768, "num_gpu_blocks": 9000, "max_num_batched_tokens": 8192, "max_num_seqs": 256}
LLAMA: dict[str, Any] = {
    "model": "llama-3.1-8b",
    "gpu": "h200",
    "engine": SIZES,
    "timing": {"kind": "aiconfigurator"},
}


class Handle:
    """As a compiled engine answers: products cost 1 ms and 1 µs a token; attention 1 ns for a pair of tokens."""

    asked: list[tuple[str, int, int, int]]

    def __init__(self, whole: bool) -> None:
        self.whole = whole
        self.asked = []

    def run_static_per_op(self, batch_size: int, isl: int, osl: int, prefix: int, mode: str) -> Any:
        self.asked.append((mode, batch_size, isl, prefix))
        decode = mode == "static_gen"
        tokens = batch_size if decode else batch_size * (isl - prefix)
        pairs = batch_size * (isl if decode else (isl**2 - prefix**2) / 2)
        name = "mla_block" if self.whole else "attention"
        inside = (0.5 + tokens * 1e-3) if self.whole else 0.0
        found = [
            (f"{'generation' if decode else 'context'}_{one}", ms, 0.0, "silicon")
            for one, ms in (
                ("ffn_gemm", 1 + tokens * 1e-3),
                ("attn_norm", 0.25),
                (name, inside + pairs * 1e-6),
                ("logits_gemm", 0.125),
            )
        ]
        return ([], found) if decode else (found, [])


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """Stands in for the package; what engines were compiled with."""
    compiled: list[dict[str, Any]] = []

    class EngineHandle:
        @staticmethod
        def compile(model: str, system: str, backend: str, **options: Any) -> Handle:
            compiled.append({"model": model, "system": system, "backend": backend, **options})
            if options["gemm_quant_mode"] == "nvfp4":
                raise RuntimeError("GEMM perf data missing\nfor quant 'nvfp4'")
            return Handle(whole="DeepSeek" in model)

    package, sdk = ModuleType("aiconfigurator_core"), ModuleType("aiconfigurator_core.sdk")
    (tmp_path / "model_configs").mkdir()
    for name in ("meta-llama--Meta-Llama-3.1-8B", "deepseek-ai--DeepSeek-V3", "Qwen--Qwen3-235B-A22B"):
        (tmp_path / "model_configs" / f"{name}_config.json").write_text("{}")
    package.__path__ = [str(tmp_path)]
    sdk.EngineHandle = EngineHandle  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "aiconfigurator_core", package)
    monkeypatch.setitem(sys.modules, "aiconfigurator_core.sdk", sdk)
    return compiled


def curves(options: dict[str, Any]) -> Aiconfigurator:
    spec = make_spec(options)
    found = timing_model(spec, resolve_engine(spec))
    assert isinstance(found, CurvesModel)
    assert isinstance(found.curves, Aiconfigurator)
    return found.curves


def test_the_package_gets_its_own_names(fake: list[dict[str, Any]]) -> None:
    engine = {**SIZES, "kv_cache_dtype": "fp8"}
    curves({**LLAMA, "model": "qwen3-235b-a22b", "engine": engine, "parallel": {"tensor": 4}})
    (options,) = fake
    assert options == {
        "model": "Qwen/Qwen3-235B-A22B",
        "system": "h200_sxm",
        "backend": "vllm",
        "backend_version": "current",
        "gemm_quant_mode": "bfloat16",
        "moe_quant_mode": "bfloat16",
        "kvcache_quant_mode": "fp8",
        "fmha_quant_mode": "bfloat16",
        "tp_size": 4,
        "pp_size": 1,
        "attention_dp_size": 1,
        "moe_tp_size": 4,
        "moe_ep_size": 1,
    }


@pytest.mark.usefixtures("fake")
def test_stages_have_their_shares_of_the_layers() -> None:
    whole = curves(LLAMA)
    spec = make_spec({**LLAMA, "parallel": {"pipeline": 3}})
    models = stage_models(spec, resolve_engine(spec))
    stages = [models.kinds[kind] for kind in models.stages]
    for model, layers in zip(stages, (11, 11, 10), strict=True):
        assert isinstance(model, CurvesModel)
        assert model.layers == layers
    sent = SEND_S + 4 * 100 * 4096 / 450e9
    assert sum(model.curves.tokens_s(100) for model in stages) == pytest.approx(whole.tokens_s(100) + 2 * sent)
    assert sum(model.curves.decode_s(8, 8000) for model in stages) == pytest.approx(whole.decode_s(8, 8000))
    assert sum(model.curves.prompt_s(90, 8100) for model in stages) == pytest.approx(whole.prompt_s(90, 8100))
    assert [model.curves.head_s(8) for model in stages] == [0, 0, whole.head_s(8)]


def test_a_pass_is_the_sum_of_its_operators(fake: list[dict[str, Any]]) -> None:
    found = curves(LLAMA)
    # Products and norms of 64 tokens; attention of 64 requests with 1,000 tokens; the head.
    assert found.tokens_s(64) == pytest.approx((1 + 64e-3 + 0.25) * 1e-3)
    assert found.decode_s(64, 64 * 1000) == pytest.approx(64e3 * 1e-9)
    assert found.head_s(64) == pytest.approx(0.125e-3)
    # Beyond what decodes alone could fill, operators of prompts.
    found.tokens_s(4096)
    assert found.handle.asked[-1] == ("static_ctx", 1, 4096, 0)


def test_a_chunk_is_priced_where_it_is_in_its_prompt(fake: list[dict[str, Any]]) -> None:
    found = curves(LLAMA)
    new, past = 2048, 30720
    assert found.prompt_s(new, new * (2 * past + new)) == pytest.approx(new * (past + new / 2) * 1e-9)
    assert ("static_ctx", 1, past + new, past) in found.handle.asked


def test_unequal_prompts_are_not_averaged(fake: list[dict[str, Any]]) -> None:
    found = curves(LLAMA)
    # One of 7,000 tokens and seven of 100, against eight of their mean.
    assert found.prompt_s(7700, 7000**2 + 7 * 100**2) == pytest.approx((7000**2 + 7 * 100**2) / 2 * 1e-9, rel=1e-3)
    assert found.prompt_s(7700, 8 * 962**2) < 0.16 * found.prompt_s(7700, 7000**2)


def test_whole_modules_count_their_products_once(fake: list[dict[str, Any]]) -> None:
    """And the context of decodes counts in passes that hold prompts too, as any sum of the curves does."""
    found = curves({**LLAMA, "model": "deepseek-v3", "parallel": {"tensor": 8}, "gpu": "b200"})
    shared = 0.5 + 64e-3
    assert found.tokens_s(64) == pytest.approx((1 + 64e-3 + 0.25 + shared) * 1e-3, rel=1e-3)
    assert found.decode_s(64, 64 * 16000) == pytest.approx(64 * 16000e-9, rel=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gpu": "mi300x"}, "no timings of it"),
        ({"model": "llama-3.1-70b", "parallel": {"tensor": 2}}, "does not know it by name"),
    ],
)
def test_what_it_does_not_know_is_refused(fake: list[dict[str, Any]], options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        curves({**LLAMA, **options})


def test_what_it_says_itself_is_passed_on(fake: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(adapter.PRODUCTS, "bf16", "nvfp4")
    with pytest.raises(SpecError, match="cannot price this: GEMM perf data missing for quant 'nvfp4'"):
        curves(LLAMA)


def test_where_it_is_not_installed_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PACKAGES", ("no_such_package_of_anyones",))
    with pytest.raises(SpecError, match="is not installed") as caught:
        curves(LLAMA)
    assert "pip install" in (caught.value.wanted or "")


def test_the_real_one_agrees_with_its_own_sums() -> None:
    pytest.importorskip("aiconfigurator_core", reason="AIConfigurator's core is not installed")
    found = curves(LLAMA)
    for rows, context in ((1, 1024), (64, 4096), (256, 1024)):
        total = found.tokens_s(rows) + found.decode_s(rows, rows * context) + found.head_s(rows)
        assert total * 1e3 == pytest.approx(found.handle.predict_decode_latency(rows, context, 2), rel=0.02)
    prompt = found.tokens_s(2048) + found.prompt_s(2048, 2048**2) + found.head_s(1)
    assert prompt * 1e3 == pytest.approx(found.handle.predict_prefill_latency(1, 2048, 0), rel=0.02)
