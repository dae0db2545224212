"""AIConfigurator's operators as the four curves of a pass.

Its own composition of mixed passes is not used, for what it leaves out: in models with latent attention the context
of decodes, of a chunk its place in the prompt (the mean of the whole prompt's attention stands for it), of a batch its
unequal prompts. Here a pass is the sum of its operators, each asked for the pass's own sizes:

- what the tokens share: of a pass that could be decodes alone, its operators of decoding, else those of prompts;
- attention of decodes, by rows and their mean context; of a prompt, by its tokens and its own past.

Where it times modules whole (latent, sparse, compressed attention), the module of as many decodes without context
stands for the products that all tokens share; `decode` and `prompt` are what a module takes beyond that.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from ...catalog import ResolvedEngine
from ...catalog.layers import CompressedAttention, Experts, LatentAttention
from ...catalog.parallel import Ranks, ranks
from ...errors import SpecError
from ...spec import Spec
from ...spec.timing import AiconfiguratorTiming
from ..base import Evidence
from ..mixers import alike
from .names import CACHES, EXPERTS, PRODUCTS, models, system

PACKAGES = ("aiconfigurator_core", "aisimulate_core")
"""Its core under both of its names."""

DECODES = 512
"""Tokens up to which a pass could be decodes alone: the largest CUDA graph of vLLM's."""

MODULE_ROWS = 256
"""Decodes of a module without context that are asked for; more are taken to cost in proportion."""

Operator = tuple[str, float, float, str]
"""Name, milliseconds, energy, and whether it was measured (`silicon`)."""


@dataclass(frozen=True)
class Aiconfigurator:
    """Implements `Curves` on a compiled engine of AIConfigurator's."""

    handle: Any = field(repr=False)
    deployment: str
    """All that the engine was compiled for."""
    model: str
    gpu: str
    backend: str
    version: str
    modules: bool
    """Whether its attention comes with the products around it."""

    @property
    def evidence(self) -> Evidence:
        return Evidence.FITTED

    @property
    def assumptions(self) -> dict[str, float | str]:
        return {
            "model": self.model,
            "gpu": self.gpu,
            "operators": f"{self.version}, kernels of {self.backend}",
            "measured_share": round(self.measured_share, 3),
        }

    @cached_property
    def measured_share(self) -> float:
        """Of the time of a usual pass, that of operators which were timed, not derived."""
        found = [*self._prompt_operators(1, 2048, 0), *self._decode_operators(64, 2048)]
        return sum(ms for _, ms, _, source in found if source == "silicon") / sum(ms for _, ms, _, _ in found)

    def tokens_s(self, tokens: int) -> float:
        operators = self._decode_operators(tokens, 1) if tokens <= DECODES else self._prompt_operators(1, tokens, 0)
        return _seconds(one for one in operators if not _attends(one) and not _heads(one)) + self._shared_s(tokens)

    def decode_s(self, rows: int, context: int) -> float:
        each = max(round(context / rows), 1)
        whole = _seconds(one for one in self._decode_operators(rows, each) if _attends(one))
        return max(whole - self._shared_s(rows), 0.0)

    def prompt_s(self, tokens: int, work: int) -> float:
        some = alike(tokens, work)
        operators = self._prompt_operators(some.rows, some.tokens, some.past)
        whole = some.times * _seconds(one for one in operators if _attends(one))
        return max(whole - self._shared_s(tokens), 0.0)

    def head_s(self, sequences: int) -> float:
        return _seconds(one for one in self._decode_operators(sequences, 1) if _heads(one))

    def distance(self, prefill: int, work: int, rows: int, context: int) -> float:
        """AIConfigurator does not say how far it extrapolates."""
        return 0.0

    @property
    def spread(self) -> float:
        """Unknown: AIConfigurator gives none."""
        return 0.0

    def _shared_s(self, tokens: int) -> float:
        """Products inside modules."""
        if not self.modules:
            return 0.0
        rows = min(tokens, MODULE_ROWS)
        decodes = _seconds(one for one in self._decode_operators(rows, 1) if _attends(one)) * tokens / rows
        prompt = _seconds(one for one in self._prompt_operators(1, tokens, 0) if _attends(one))
        return min(decodes, prompt)

    def _decode_operators(self, rows: int, context: int) -> Sequence[Operator]:
        return _operators(self.handle, "static_gen", rows, context, 0)

    def _prompt_operators(self, rows: int, tokens: int, past: int) -> Sequence[Operator]:
        return _operators(self.handle, "static_ctx", rows, past + tokens, past)


@cache
def _operators(handle: Any, mode: str, rows: int, length: int, past: int) -> Sequence[Operator]:
    """`length` includes what is cached."""
    prompts, decodes = handle.run_static_per_op(batch_size=rows, isl=length, osl=2, prefix=past, mode=mode)
    return tuple(prompts if mode == "static_ctx" else decodes)


def _attends(operator: Operator) -> bool:
    """Whether it depends on the context, or is the rule of a gated delta layer."""
    endings = ("attention", "mla_block", "gdn_conv1d", "gdn_scan", "gdn_recurrence")
    return operator[0].endswith(endings)


def _heads(operator: Operator) -> bool:
    return operator[0].endswith("logits_gemm")


def _seconds(operators: Iterable[Operator]) -> float:
    return sum(ms for _, ms, _, _ in operators) * 1e-3


def aiconfigurator(spec: Spec, engine: ResolvedEngine, options: AiconfiguratorTiming) -> Aiconfigurator:
    """Raises SpecError where it is not installed, or knows nothing of the GPU, the model or their formats."""
    if engine.model is None or engine.gpu is None:
        field = "model" if engine.model is None else "gpu"
        raise spec.source.problem((field,), "missing: timing of kind aiconfigurator computes from model and gpu")
    package = _package(spec)
    gpu = system(engine.gpu.name)
    if gpu is None:
        raise spec.source.problem(
            ("gpu",), "AIConfigurator has no timings of it", found=engine.gpu.name, wanted="timing of kind analytic"
        )
    known = models(Path(package.__path__[0]) / "model_configs")
    name = known.get(engine.model.name) or _folder(spec)
    if name is None:
        raise spec.source.problem(
            ("model",),
            "AIConfigurator does not know it by name",
            found=engine.model.name,
            wanted="the folder of its config.json, or timing of kind analytic",
        )
    handle = _compiled(spec, engine, package, name, gpu, options.backend_version)
    mixers = [layer.mixer for layer in engine.model.stack]
    return Aiconfigurator(
        handle,
        f"{engine.model!r} {ranks(spec, engine.model)} {engine.stored} {engine.kv}",
        name,
        gpu,
        f"{spec.engine.name} {options.backend_version}",
        f"{package.__name__} {_version(package.__name__)}",
        any(isinstance(mixer, LatentAttention | CompressedAttention) for mixer in mixers),
    )


def _compiled(spec: Spec, engine: ResolvedEngine, package: Any, name: str, gpu: str, version: str) -> Any:
    module = importlib.import_module(f"{package.__name__}.sdk")
    try:
        handle = module.EngineHandle.compile(
            name, gpu, spec.engine.name, backend_version=version, **_options(spec, engine, ranks(spec, engine.model))
        )
        # What it has no timings of it says only when it is asked.
        for mode in ("static_ctx", "static_gen"):
            _operators(handle, mode, 1, 512, 0)
    except Exception as error:
        raise spec.source.problem(
            ("timing",),
            f"AIConfigurator cannot price this: {' '.join(str(error).split())}",
            found=f"{name} on {gpu}, {spec.engine.name} {version}",
            wanted="another format, GPU or parallelism, or timing of kind analytic",
        ) from error
    return handle


def _options(spec: Spec, engine: ResolvedEngine, shared: Ranks) -> dict[str, Any]:
    assert engine.model is not None
    modes = {
        "gemm_quant_mode": _format(spec, PRODUCTS, engine.stored.attention.name),
        "kvcache_quant_mode": CACHES[engine.kv.name],
        "fmha_quant_mode": "bfloat16",
    }
    sizes = {"tp_size": shared.tensor, "pp_size": 1, "attention_dp_size": shared.data}
    if any(isinstance(layer.mlp, Experts) for layer in engine.model.stack):
        modes["moe_quant_mode"] = _format(spec, EXPERTS, engine.stored.experts.name)
        sizes |= {"moe_tp_size": shared.expert_slices, "moe_ep_size": shared.expert}
    return {**modes, **sizes}


def _format(spec: Spec, names: dict[str, str], stored: str) -> str:
    if stored not in names:
        raise spec.source.problem(
            ("timing",), "AIConfigurator has no such format", found=stored, wanted=f"one of {', '.join(names)}"
        )
    return names[stored]


def _folder(spec: Spec) -> str | None:
    """Of a config.json that the spec names."""
    if spec.model is None:
        return None
    path = spec.source.path(("model",), spec.model)
    folder = path if path.is_dir() else path.parent
    return str(folder) if (folder / "config.json").is_file() else None


def _package(spec: Spec) -> Any:
    for name in PACKAGES:
        try:
            package = importlib.import_module(name)
        except ImportError:
            continue
        # It warns of tables that no operator here looks at; whoever sets up logging still hears of them.
        logging.getLogger(name).addHandler(logging.NullHandler())
        return package
    raise _not_installed(spec)


def _not_installed(spec: Spec) -> SpecError:
    return spec.source.problem(
        ("timing",),
        "AIConfigurator's core is not installed",
        found="aiconfigurator",
        wanted="`pip install 'servetwin[aiconfigurator]'` (80 MB), or timing of kind analytic",
    )


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package.replace("_", "-"))
    except PackageNotFoundError:
        return "of unknown version"
