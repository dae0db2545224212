"""AIConfigurator's names of GPUs, models and formats."""

from __future__ import annotations

from pathlib import Path

from ...catalog.named import model_name

SYSTEMS = {
    "a100_sxm": "a100-80g",
    "h100_sxm": "h100",
    "h200_sxm": "h200",
    "b200_sxm": "b200",
    "b300_sxm": "b300",
    "gb200": "gb200",
    "gb300": "gb300",
    "l40s": "l40s",
    "rtx_pro_6000_server": "rtx-pro-6000",
}
"""Its names of the GPUs it has timings of, and ours."""

PRODUCTS = {
    "bf16": "bfloat16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "int8": "int8_wo",
    "int4": "int4_wo",
}
EXPERTS = {**PRODUCTS, "mxfp4": "w4a16_mxfp4"}
CACHES = {"bf16": "bfloat16", "fp8": "fp8"}


def system(gpu: str) -> str | None:
    """Its name of one of our GPUs."""
    return {ours: theirs for theirs, ours in SYSTEMS.items()}.get(gpu)


def models(configs: Path) -> dict[str, str]:
    """Its models by our names, from its folder of `maker--name_config.json`; the first of several alike."""
    found: dict[str, str] = {}
    for file in sorted(configs.glob("*--*_config.json")):
        name = file.name.removesuffix("_config.json").replace("--", "/", 1)
        found.setdefault(model_name(name), name)
    return found
