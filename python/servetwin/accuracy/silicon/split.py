"""The fixed split of the sample: by architecture, and by GPU."""

from __future__ import annotations

from ...catalog.checkpoints import CHECKPOINTS
from ...catalog.layers import LatentAttention
from ...catalog.named import MODELS, model_name
from .rows import Deployment

ARCHITECTURES = {"deepseek-r1": "deepseek-v3"}
"""Names of one architecture."""


def architecture(one: Deployment) -> str:
    """The same for all formats of a model, and for models that differ in their weights alone."""
    name = model_name(one.checkpoint)
    base = max((model for model in MODELS if name == model or name.startswith(f"{model}-")), key=len, default=name)
    return ARCHITECTURES.get(base, base)


def kind(checkpoint: str) -> str:
    """Of the kernels of a layer: `dense`, `mixture` or `latent`."""
    model = CHECKPOINTS.get(checkpoint) or MODELS[checkpoint]
    if isinstance(model.mixer, LatentAttention):
        return "latent"
    return "mixture" if model.has_experts else "dense"
