"""AIConfigurator's own prediction for a deployment of the sample: its estimate of aggregated serving, by its own core.

What its command `estimate` does with the same arguments: a batch of each attention data rank, a budget of one prompt a
pass, the newest timings it has of the engine.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any

from ...timing.aiconfigurator.names import system
from .rows import Deployment

NAMES = {
    "meta-llama/Llama-3.1-8B-Instruct": "meta-llama/Meta-Llama-3.1-8B",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "meta-llama/Meta-Llama-3.1-8B",
    "meta-llama/Llama-3.1-70B": "meta-llama/Meta-Llama-3.1-70B",
    "nvidia/DeepSeek-R1-NVFP4": "deepseek-ai/DeepSeek-R1",
    "nvidia/Qwen3-32B-NVFP4": "Qwen/Qwen3-32B",
    "zhipuai/GLM-5": "zai-org/GLM-5",
}
"""Of checkpoints whose configuration it does not carry: the same model under the name that it does."""


@dataclass(frozen=True)
class Prediction:
    ttft_ms: float
    tpot_ms: float


def predict(one: Deployment) -> Prediction | None:
    """None where it cannot tell: it has no timings of the formats, in the sample's words or as its configuration of
    the checkpoint has them; or the model would not fit.

    Raises ImportError without aiconfigurator-core and what it imports.
    """
    found = _tried(one, own=False)
    if found is None and (one.experts != "nvfp4" or "gpt-oss" in one.checkpoint):
        # FP8 in blocks, INT4 and gpt-oss's MXFP4 have other names in the sample than in its tables.
        found = _tried(one, own=True)
    return found


def _tried(one: Deployment, *, own: bool) -> Prediction | None:
    try:
        return _predict(one, own)
    except ImportError:
        raise
    except Exception:
        # Its refusals have no class of their own: ValueError, KeyError, RuntimeError and errors of its own.
        return None


def _predict(one: Deployment, own: bool) -> Prediction | None:
    from aiconfigurator_core.sdk import models
    from aiconfigurator_core.sdk.config import RuntimeConfig
    from aiconfigurator_core.sdk.config_builders import build_model_config

    logging.getLogger("aiconfigurator_core").setLevel(logging.ERROR)
    name = NAMES.get(one.checkpoint, one.checkpoint)
    ranks = one.tensor * one.data
    config = build_model_config(
        one.tensor,
        1,
        one.data,
        ranks // one.expert,
        one.expert,
        None if own else one.products or None,
        None,
        None,
        None if own else one.experts or None,
    )
    database = _database(system(one.gpu) or "", one.engine)
    models.resolve_context_fmha_by_data(config, name, database, one.engine, is_context_role=True)
    models.resolve_nvfp4_for_system(config, system(one.gpu), name, backend_name=one.engine)
    model = models.get_model(name, config, one.engine)
    batch = max(one.concurrency // one.data, 1)
    runtime = RuntimeConfig(isl=one.input_tokens, osl=one.output_tokens, batch_size=batch, prefix=0)
    summary = _backend(one.engine).run_agg(model, database, runtime, ctx_tokens=one.input_tokens)
    found = summary.get_result_dict()
    if found is None or summary.check_oom():
        return None
    return Prediction(float(found["ttft"]), float(found["tpot"]))


@functools.cache
def _database(gpu: str, engine: str) -> Any:
    from aiconfigurator_core.sdk import perf_database

    version = perf_database.get_latest_database_version(system=gpu, backend=engine)
    return perf_database.get_database_view(gpu, engine, version, allow_missing_data=False, database_mode="SILICON")


def _backend(engine: str) -> Any:
    # A fresh one: it remembers results by batch and lengths alone, whatever the model.
    from aiconfigurator_core.sdk.backends.factory import get_backend

    return get_backend(engine)
