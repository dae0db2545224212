"""What the manifests share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from .process import SIDE_CHANNEL_PORT, Process

HF_SECRET = "hf-token-secret"
"""A secret with HF_TOKEN, for weights that need one."""


def documents(*parts: Mapping[str, Any], head: str = "") -> str:
    """As one YAML file, under comments."""
    texts = (yaml.dump(dict(part), Dumper=_Dumper, sort_keys=False, width=110) for part in parts)
    comments = "".join(f"# {line}\n" for line in head.splitlines())
    return comments + "---\n".join(texts)


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, the same list twice without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def resources(process: Process) -> dict[str, Any]:
    return {"limits": {"nvidia.com/gpu": str(process.gpus)}}


def environment(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def side_channel(process: Process) -> list[dict[str, Any]]:
    """How vLLM's connector is found from other pods."""
    if not (process.engine == "vllm" and process.handover):
        return []
    address = {"name": "VLLM_NIXL_SIDE_CHANNEL_HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return [address, *environment({"VLLM_NIXL_SIDE_CHANNEL_PORT": str(SIDE_CHANNEL_PORT)})]


def config_map(name: str, process: Process) -> dict[str, Any] | None:
    """TensorRT-LLM's options."""
    if process.config is None:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": _config_name(name, process)},
        "data": {process.config_file: process.config},
    }


def _config_name(name: str, process: Process) -> str:
    return f"{name}-engine" if process.role == "aggregated" else f"{name}-{process.role}-engine"


CONFIG_FOLDER = "/etc/servetwin"


def config_volume(name: str, process: Process) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a pod and its container need to read it; empty for engines that take flags."""
    if process.config is None:
        return {}, {}
    volume = {"name": "engine", "configMap": {"name": _config_name(name, process)}}
    return {"volumes": [volume]}, {"volumeMounts": [{"name": "engine", "mountPath": CONFIG_FOLDER}]}


def secret() -> list[dict[str, Any]]:
    return [{"secretRef": {"name": HF_SECRET, "optional": True}}]
