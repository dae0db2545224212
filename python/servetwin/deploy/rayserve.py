"""Ray Serve LLM: a Serve config of LLMConfigs (Ray's documentation, serve/llm/user-guides/configuration)."""

from __future__ import annotations

from typing import Any

from ..errors import InputError
from ..spec.engine import TITLES
from .kubernetes import documents
from .process import Plan, Process

ACCELERATORS = {
    "a100-40g": "A100-40G",
    "a100-80g": "A100-80G",
    "h100": "H100",
    "h200": "H200",
    "h20": "H20",
    "b200": "B200",
    "l4": "L4",
    "l40s": "L40S",
}
"""Ray's accelerator types of the catalog's GPUs (ray.util.accelerators)."""


def config(plan: Plan) -> dict[str, str]:
    """One file, for `serve run`. Raises InputError for an engine that Ray's builders do not start."""
    if plan.engine != "vllm":
        raise InputError("starts vLLM alone", field="--to ray", found=TITLES[plan.engine])
    configs = [_config(plan, process) for process in plan.processes]
    if plan.disaggregated:
        builder = "build_pd_openai_app"
        arguments: dict[str, Any] = {"prefill_config": configs[0], "decode_config": configs[1]}
    else:
        builder, arguments = "build_openai_app", {"llm_configs": configs}
    router = plan.processes[0].spec.router
    if router.kind != "power_of_two":
        plan.notes.append(f"router: {router.kind} is left out; Ray Serve takes the better of two replicas by default")
    application = {"name": plan.name, "route_prefix": "/", "import_path": f"ray.serve.llm:{builder}", "args": arguments}
    return {"serve.yaml": documents({"applications": [application]}, head="serve run serve.yaml")}


def _config(plan: Plan, process: Process) -> dict[str, Any]:
    found: dict[str, Any] = {"model_loading_config": {"model_id": plan.name, "model_source": process.model}}
    gpu = process.spec.gpu
    if gpu is not None and gpu.lower() in ACCELERATORS:
        found["accelerator_type"] = ACCELERATORS[gpu.lower()]
    keywords = {flag.name.replace("-", "_"): flag.value for flag in [*process.flags, *process.handover]}
    return {
        **found,
        "deployment_config": {"num_replicas": process.replicas},
        "engine_kwargs": keywords,
    }
