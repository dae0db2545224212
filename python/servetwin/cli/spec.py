"""`servetwin spec`: check a spec, or print the schema of all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Check a spec, or print the schema of specs.")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The spec, a YAML file.", readable=False, show_default=False)],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Set a field, such as replicas=4.", metavar="PATH=VALUE")
    ] = None,
) -> None:
    """Check a spec, with every default resolved, and whether it fits the GPU; the workload is not opened.

    Exit codes: 0 right, 2 wrong, with file, line and field.
    """
    from ..describe import resolve
    from ..spec import load_spec

    spec = load_spec(file, set_ or ())
    deployment = resolve(spec)
    engine = deployment.engine
    memory = "as given" if engine.memory is None else engine.memory.arithmetic()
    lines = {
        "engine": f"{spec.engine.name} {spec.engine.version}, rules {engine.rules}",
        "replicas": f"{spec.replicas:,}, with {spec.parallel.tensor} GPU{'s' * (spec.parallel.tensor > 1)} each",
        "limits": f"{engine.rows:,} sequences and {engine.pass_tokens:,} tokens a pass, "
        f"{engine.request_tokens:,} tokens a request",
        "kv cache": f"{engine.kv_cache}, {memory}",
        "timing": f"{spec.timing.kind}, {deployment.timing.evidence.value}",
    }
    typer.echo(f"{file}: right")
    for label, text in lines.items():
        typer.echo(f"  {label:<9} {text}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    import json

    from ..spec.schema import schema as spec_schema

    typer.echo(json.dumps(spec_schema(), indent=2))
