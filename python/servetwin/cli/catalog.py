"""`servetwin catalog`: the GPUs and models known by name, and what follows from their sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show the GPUs and models that are known.")


@app.command()
def gpus(
    show: Annotated[str | None, typer.Option(metavar="NAME", help="One GPU, with everything about it.")] = None,
) -> None:
    """List the GPUs: memory, rates, links, price.

    Exit codes: 0 done, 2 unknown name.
    """
    from ..catalog import GPUS, gpu
    from ..report.catalog import gpu_table, one_gpu
    from ..report.console import print_wide

    print_wide(gpu_table(GPUS.values()) if show is None else one_gpu(gpu(show)))


@app.command()
def models(
    show: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One model, by name or by the path of its config.json."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="With --show: of all matrices, instead of the checkpoint's.")
    ] = None,
    experts: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="With --show: of the routed experts, likewise.")
    ] = None,
    kv: Annotated[str | None, typer.Option(metavar="FORMAT", help="With --show: of the cache, bf16 or fp8.")] = None,
) -> None:
    """List the models; or show one: its layers, weights, arithmetic, and cache at 8k, 128k and 1M tokens.

    Exit codes: 0 done, 2 unknown name or format, or a config.json that cannot be read.
    """
    from ..catalog import MODELS, model
    from ..catalog.formats import cache_format, weight_format
    from ..errors import InputError
    from ..report.catalog import model_table, one_model
    from ..report.console import print_wide

    if show is None:
        given = [option for option, value in (("--weights", weights), ("--experts", experts), ("--kv", kv)) if value]
        if given:
            raise InputError(f"has no effect without --show NAME: {', '.join(given)}")
        print_wide(model_table(MODELS.values()))
        return
    found = model(show, Path(show).expanduser())
    stored = found.stored
    if weights is not None:
        stored = stored.with_weights(weight_format(weights))
    if experts is not None:
        if not found.has_experts:
            raise InputError(f"{found.name} has no experts, so it has no effect", field="--experts")
        stored = stored.with_experts(weight_format(experts))
    print_wide(one_model(found, stored, cache_format(kv) if kv is not None else stored.kv))
