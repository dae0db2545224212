"""llm-d: a Kustomize folder of Deployments, and values for its router's chart.

Labels, names and the sidecar that leads requests from decode to prefill replicas as in llm-d's guides
(llm-d/llm-d, guides/pd-disaggregation, guides/recipes/modelserver/base/single-host).
"""

from __future__ import annotations

from typing import Any

import yaml

from ..errors import InputError
from ..spec.engine import TITLES
from .kubernetes import documents, resources, secret, side_channel
from .process import SIDE_CHANNEL_PORT, Plan, Process
from .router import endpoint_picker

PORT = 8000
BEHIND_SIDECAR = 8200
SIDECAR = "ghcr.io/llm-d/llm-d-routing-sidecar:v0.8.0"
CONNECTORS = {"vllm": "nixlv2", "sglang": "sglang"}
GUIDE = "llm-d.ai/guide"
PLUGINS = "servetwin.yaml"


def folder(plan: Plan, image: str | None) -> dict[str, str]:
    """kustomization.yaml, a Deployment a pool, and the router's values. Raises InputError for an engine it lacks."""
    if plan.engine not in CONNECTORS:
        raise InputError("not written for this engine", field="--to llm-d", found=TITLES[plan.engine])
    names = {"aggregated": "modelserver", "prefill": "prefill", "decode": "decode"}
    files = {
        f"{names[process.role]}.yaml": documents(_deployment(plan, process, names[process.role], image))
        for process in plan.processes
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namePrefix": f"{plan.name}-",
        "resources": sorted(files),
        "labels": [{"pairs": {GUIDE: plan.name}, "includeSelectors": True, "includeTemplates": True}],
    }
    head = "kubectl apply -k .\nthe router: llm-d's chart with router.values.yaml"
    return {"kustomization.yaml": documents(kustomization, head=head), **files, "router.values.yaml": _values(plan)}


def _deployment(plan: Plan, process: Process, name: str, image: str | None) -> dict[str, Any]:
    behind = process.role == "decode"
    port = BEHIND_SIDECAR if behind else PORT
    labels = {"llm-d.ai/inference-serving": "true"}
    if process.role != "aggregated":
        labels["llm-d.ai/role"] = process.role
    ports = [{"name": "modelserver", "containerPort": port}]
    if side_channel(process):
        ports.append({"name": "nixl", "containerPort": SIDE_CHANNEL_PORT})
    probe = {"httpGet": {"path": "/health", "port": "modelserver"}}
    container = {
        "name": "modelserver",
        "image": image or process.image,
        "command": process.command,
        "args": [
            *process.arguments(),
            "--port",
            str(port),
            *(["--host", "0.0.0.0"] if plan.engine == "sglang" else []),
        ],
        "env": side_channel(process),
        "envFrom": secret(),
        "ports": ports,
        "resources": resources(process),
        "startupProbe": {**probe, "periodSeconds": 30, "failureThreshold": 120},
        "livenessProbe": probe,
        "readinessProbe": {"httpGet": {"path": "/v1/models", "port": "modelserver"}},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
    }
    pod: dict[str, Any] = {
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}],
    }
    if behind:
        sidecar = {
            "name": "routing-proxy",
            "image": SIDECAR,
            "restartPolicy": "Always",  # which makes an init container a sidecar
            "args": [f"--port={PORT}", f"--kv-connector={CONNECTORS[plan.engine]}", "--secure-serving=false"],
            "ports": [{"name": "sidecar", "containerPort": PORT}],
        }
        pod["initContainers"] = [sidecar]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": process.replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _values(plan: Plan) -> str:
    epp: dict[str, Any] = {"replicas": 1}
    picker = endpoint_picker(plan.processes[0].spec.router, disaggregated=plan.disaggregated)
    if picker is None:
        kind = plan.processes[0].spec.router.kind
        plan.notes.append(f"router: {kind} is not llm-d's; its own defaults are left. As a spec's router it is llm_d")
    else:
        text = yaml.dump(picker, Dumper=yaml.SafeDumper, sort_keys=False)
        epp |= {"pluginsConfigFile": PLUGINS, "pluginsCustomConfig": {PLUGINS: text}}
    return documents({"router": {"epp": epp, "modelServers": {"matchLabels": {GUIDE: plan.name}}}})
