"""KServe: an LLMInferenceService of serving.kserve.io/v1alpha2 (kserve/kserve, docs/samples/llmisvc)."""

from __future__ import annotations

import shlex
from typing import Any

from ..errors import InputError
from ..spec.engine import TITLES
from ..spec.router import LlmDRouter
from .flags import words
from .kubernetes import documents, environment, resources, secret, side_channel
from .process import Plan, Process
from .router import endpoint_picker


def manifest(plan: Plan, image: str | None) -> dict[str, str]:
    """One file. Raises InputError for an engine or a hand-over that it has no runtime for."""
    if plan.engine == "trtllm" or (plan.disaggregated and plan.engine != "vllm"):
        raise InputError(
            "not written for this engine" + (" in pools" if plan.engine != "trtllm" else ""),
            field="--to kserve",
            found=TITLES[plan.engine],
        )
    last = plan.processes[-1]
    spec: dict[str, Any] = {} if plan.engine == "vllm" else {"runtime": "kserve-llm-sglang"}
    weights = plan.model if "://" in plan.model else f"hf://{plan.model}"
    spec |= {"model": {"uri": weights, "name": plan.model}, "replicas": last.replicas, **_parallelism(last)}
    spec |= {"router": {"scheduler": _scheduler(plan), "route": {}, "gateway": {}}}
    spec |= {"template": _template(last, image)}
    if plan.disaggregated:
        first = plan.processes[0]
        prefill = {"replicas": first.replicas, **_parallelism(first), "template": _template(first, image)}
        spec["prefill"] = prefill
    service = {
        "apiVersion": "serving.kserve.io/v1alpha2",
        "kind": "LLMInferenceService",
        "metadata": {"name": plan.name},
        "spec": spec,
    }
    return {"kserve.yaml": documents(service, head="kubectl apply -f kserve.yaml")}


def _parallelism(process: Process) -> dict[str, Any]:
    """As the service is told; the engine is told by its flags."""
    sizes = process.spec.parallel
    found = {"tensor": sizes.tensor, "pipeline": sizes.pipeline, "data": sizes.data}
    given = {name: size for name, size in found.items() if size > 1}
    return {"parallelism": given} if given else {}


def _scheduler(plan: Plan) -> dict[str, Any]:
    router = plan.processes[0].spec.router
    if isinstance(router, LlmDRouter):
        return {"config": {"inline": endpoint_picker(router, disaggregated=plan.disaggregated)}}
    plan.notes.append(f"router: {router.kind} is not KServe's; its default scheduler is left")
    return {}


def _template(process: Process, image: str | None) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main"}
    if image is not None:
        container["image"] = image
    arguments = words([*process.flags, *process.handover])
    container |= {"envFrom": secret(), "resources": resources(process)}
    if process.engine == "vllm":
        # Its runtime for vLLM starts a shell, which takes further flags from this variable.
        container["env"] = [*side_channel(process), *environment({"VLLM_ADDITIONAL_ARGS": shlex.join(arguments)})]
    else:
        container["args"] = arguments
    return {"containers": [container]}
