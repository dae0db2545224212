"""NVIDIA Dynamo on Kubernetes: a DynamoGraphDeployment of nvidia.com/v1beta1.

Fields as in its reference and its examples (ai-dynamo/dynamo, examples/backends/*/deploy/v1beta1).
"""

from __future__ import annotations

import json
from typing import Any

from .kubernetes import CONFIG_FOLDER, config_map, config_volume, documents, environment, resources, secret
from .process import Plan, Process
from .router import dynamo_environment

RUNTIME = "1.3.1"
"""Dynamo's release, whose images hold engines of its own choosing."""

IMAGES = {
    "vllm": f"nvcr.io/nvidia/ai-dynamo/vllm-runtime:{RUNTIME}",
    "sglang": f"nvcr.io/nvidia/ai-dynamo/sglang-runtime:{RUNTIME}",
    "trtllm": f"nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:{RUNTIME}",
}
EVENTS = {"publisher": "zmq", "topic": "kv-events", "endpoint": "tcp://*:20080", "enable_kv_cache_events": True}
TYPES = {"aggregated": "worker", "prefill": "prefill", "decode": "decode"}


def manifest(plan: Plan, image: str | None) -> dict[str, str]:
    """One file: a frontend and a worker component a pool."""
    chosen = image or IMAGES[plan.engine]
    if image is None:
        version = plan.processes[0].spec.engine.version
        plan.notes.append(
            f"image: that of Dynamo {RUNTIME}; the flags are those of {plan.engine} {version}, "
            "so give --image if it holds another"
        )
    routed = dynamo_environment(plan.processes[0].spec.router)
    if routed is None:
        plan.notes.append(f"router: {plan.processes[0].spec.router.kind} is no mode of Dynamo's; its default is left")
    handover = plan.spec.handover
    if handover is not None and handover.local_prefill_tokens is not None:
        plan.notes.append("handover.local_prefill_tokens: conditional disaggregation is set by Dynamo's policy file")
    frontend = {
        "name": "Frontend",
        "type": "frontend",
        "replicas": 1,
        "podTemplate": _pod({"image": chosen, "env": environment(routed or {})}),
    }
    listens = (routed or {}).get("DYN_ROUTER_MODE") == "kv" and (routed or {}).get(
        "DYN_ROUTER_USE_KV_EVENTS"
    ) != "false"
    workers = [_worker(plan, process, chosen, events=listens) for process in plan.processes]
    graph = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": plan.name},
        "spec": {"backendFramework": plan.engine, "components": [frontend, *workers]},
    }
    maps = [found for process in plan.processes if (found := config_map(plan.name, process)) is not None]
    return {"dynamo.yaml": documents(*maps, graph, head="kubectl apply -f dynamo.yaml")}


def _worker(plan: Plan, process: Process, image: str, *, events: bool) -> dict[str, Any]:
    name = {"vllm": "Vllm", "sglang": "Sglang", "trtllm": "Trtllm"}[process.engine]
    role = {"aggregated": "", "prefill": "Prefill", "decode": "Decode"}[process.role]
    volume, mount = config_volume(plan.name, process)
    container = {
        "image": image,
        "command": ["python3", "-m", f"dynamo.{process.engine}"],
        "args": _arguments(process, events=events),
        "envFrom": secret(),
        "resources": resources(process),
        **mount,
    }
    return {
        "name": f"{name}{role}Worker",
        "type": TYPES[process.role],
        "replicas": process.replicas,
        "podTemplate": _pod(container, **volume),
    }


def _arguments(process: Process, *, events: bool) -> list[str]:
    """Dynamo's own names of a worker's part, in place of those of the engine's own server."""
    model = {"vllm": "--model", "sglang": "--model-path", "trtllm": "--model-path"}[process.engine]
    found = process.arguments(model_flag=model, folder=f"{CONFIG_FOLDER}/")
    if process.engine != "sglang" and process.role != "aggregated":
        found += ["--disaggregation-mode", process.role]
    if process.engine == "trtllm":
        found[found.index("--config")] = "--extra-engine-args"
        return [*found, *(["--publish-events-and-metrics"] if events and process.role != "decode" else [])]
    if events and process.role != "decode":
        found += ["--kv-events-config", json.dumps(EVENTS)]
    return found


def _pod(container: dict[str, Any], **pod: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "main", **container}], **pod}}
