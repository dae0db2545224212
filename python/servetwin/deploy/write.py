"""One spec, as the files of one target."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import InputError
from ..spec import Spec
from ..spec.engine import TITLES
from . import dynamo, kserve, llmd, rayserve, shell, verify
from .process import Plan, make_plan

MANIFESTS: dict[str, Callable[[Plan, str | None], dict[str, str]]] = {
    "dynamo": dynamo.manifest,
    "llm-d": llmd.folder,
    "kserve": kserve.manifest,
}
TARGETS = ("vllm", "sglang", "trtllm", *MANIFESTS, "ray")
"""Three of launch lines, and what runs engines on a cluster."""


@dataclass(frozen=True)
class Written:
    """What starts a deployment.

    Attributes:
        files: by name, the text.
        notes: what the files do not say and a reader has to know.
    """

    files: dict[str, str]
    notes: list[str]


def write(
    spec: Spec,
    target: str,
    *,
    name: str | None = None,
    weights: str | None = None,
    draft_model: str | None = None,
    image: str | None = None,
) -> Written:
    """The files of a deployment, and `verify.sh`.

    Args:
        target: one of TARGETS.
        name: of the deployment, fit for Kubernetes; of the model if not given.
        weights: what engines load, where the model's name does not tell.
        draft_model: the head that drafts, for EAGLE.
        image: of the container, in place of the maker's.

    Raises InputError where the target or the engine has no words for what the spec says.
    """
    if target not in TARGETS:
        raise InputError("no such target", field="--to", found=target, wanted=f"one of {', '.join(TARGETS)}")
    engine = spec.engine.name
    if target in TITLES and target != engine:
        raise InputError(
            f"the deployment runs {TITLES[engine]}", field="--to", found=target, wanted=f"{engine}, or a cluster's"
        )
    if image is not None and target not in MANIFESTS:
        raise InputError("never read: there is no container", field="--image", wanted=f"--to {', '.join(MANIFESTS)}")
    plan = make_plan(spec, name or _name(spec), weights=weights, draft_model=draft_model)
    if target in MANIFESTS:
        files = MANIFESTS[target](plan, image)
    else:
        files = rayserve.config(plan) if target == "ray" else shell.scripts(plan)
    return Written({**files, "verify.sh": verify.script(plan)}, plan.notes)


def _name(spec: Spec) -> str:
    """Of the model, in small letters, digits and dashes."""
    model = (spec.model or "model").removesuffix(".json").rsplit("/", 1)[-1]
    return re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "model"
