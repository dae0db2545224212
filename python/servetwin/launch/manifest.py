"""The engine's container in a Kubernetes manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from .words import COMMANDS, IMAGES, Command, find_command, release_of, statements

PRODUCTS = {"H200": "h200", "H100": "h100", "A100": "a100-80g", "4090": "rtx4090"}
"""Parts of what nodes are labelled with (nvidia.com/gpu.product), and the catalog's names."""

SHELLS = ("sh", "bash", "ash", "zsh")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says of one engine."""

    command: Command
    replicas: int
    gpu: str | None


def read_manifest(file: Path, container: str | None) -> Manifest:
    """The container that runs an engine; `container` names it where several do. Raises InputError."""
    try:
        documents = list(yaml.safe_load_all(file.read_bytes()))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        raise InputError(f"not YAML: {str(error).splitlines()[0]}", file=str(file), line=line) from None
    found = [(document, one) for document in documents for one in _containers(document) if _runs_engine(one)]
    names = [str(one.get("name")) for _, one in found]
    if container is not None:
        found = [(document, one) for document, one in found if one.get("name") == container]
    if len(found) != 1:
        message = f"{len(found)} containers run an engine" if found else "no container runs an engine"
        wanted = f"--container, one of {', '.join(names)}" if names else "one that starts vLLM, SGLang or TensorRT-LLM"
        raise InputError(message, file=str(file), found=container, wanted=wanted)
    document, one = found[0]
    replicas = document.get("spec", {}).get("replicas", 1)
    return Manifest(_command(one), replicas if isinstance(replicas, int) else 1, _gpu(document))


def _containers(node: Any) -> Iterator[dict[str, Any]]:
    """All mappings that look like a container, at any depth: kinds of workloads differ in where they keep them."""
    if isinstance(node, dict):
        if "image" in node and ("args" in node or "command" in node):
            yield node
        for value in node.values():
            yield from _containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from _containers(value)


def _runs_engine(container: dict[str, Any]) -> bool:
    text = " ".join(_words(container))
    image = str(container.get("image", "")).lower()
    return any(command[-1] in text for _, command in COMMANDS) or any(part in image for part in IMAGES)


def _words(container: dict[str, Any]) -> list[str]:
    words = [str(word) for key in ("command", "args") for word in container.get(key) or []]
    values = {str(one.get("name")): str(one["value"]) for one in container.get("env") or [] if "value" in one}

    def value(match: re.Match[str]) -> str:
        return values.get(match[1] or match[2] or match[3], match[0])

    return [re.sub(r"\$\((\w+)\)|\$\{(\w+)\}|\$(\w+)", value, word) for word in words]


def _command(container: dict[str, Any]) -> Command:
    words = _words(container)
    if words and words[0].rsplit("/", 1)[-1] in SHELLS:
        words = statements(words[-1])
    command = find_command(words)
    image = str(container.get("image", "")).lower()
    engine = command.engine or next((IMAGES[part] for part in IMAGES if part in image), None)
    return Command(engine, command.arguments, command.variables, release_of(image))


def _gpu(document: Any) -> str | None:
    text = yaml.safe_dump(document)
    labels = re.findall(r"gpu[.-](?:product|type|name|accelerator)[\s\S]{0,200}", text)
    return next((name for label in labels for part, name in PRODUCTS.items() if part in label.upper()), None)
