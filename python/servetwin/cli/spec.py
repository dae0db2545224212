"""`servetwin spec`: check a spec, print the schema of all, or make one of a launch line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError, SpecError

app = typer.Typer(no_args_is_help=True, help="Check a spec, print the schema of specs, or import one.")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The spec, a YAML file.", readable=False, show_default=False)],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Set a field, such as replicas=4.", metavar="PATH=VALUE")
    ] = None,
) -> None:
    """Check a spec, with every default resolved, and whether it fits the GPU; the workload is not opened.

    A question for `plan` need not fit as it stands. Exit codes: 0 right, 2 wrong, with file, line and field.
    """
    from ..describe import resolve
    from ..spec import load_spec

    spec = load_spec(file, set_ or ())
    try:
        deployment = resolve(spec)
    except SpecError as error:
        if spec.search is None:
            raise
        typer.echo(f"{file}: right as a question; `servetwin plan {file} --explain-space` says what can be")
        typer.echo(f"as it stands it cannot run: {error}")
        return
    typer.echo(f"{file}: right")
    for pool in deployment.pools:
        engine, seen = pool.engine, pool.spec
        memory = "as given" if engine.memory is None else engine.memory.arithmetic()
        gpus = seen.gpus // seen.replicas
        ranks = f" on each of {seen.parallel.data} data ranks" if seen.parallel.data > 1 else ""
        if spec.pools is not None:
            typer.echo(f" {pool.role}")
        _say(
            {
                "engine": f"{seen.engine.name} {seen.engine.version}, rules {engine.rules}",
                "replicas": f"{seen.replicas:,}, with {gpus} GPU{'s' * (gpus > 1)} each",
                "limits": f"{engine.rows:,} sequences and {engine.pass_tokens:,} tokens a pass, "
                f"{engine.request_tokens:,} tokens a request",
                "kv cache": f"{engine.kv_cache}{ranks}, {memory}",
                "timing": f"{seen.timing.kind}, {pool.timing.evidence.value}",
            }
        )
    if deployment.handover is not None:
        typer.echo(" handover")
        _say({"over": deployment.handover.written, "kv": f"{deployment.handover.bytes_per_token:,} bytes a token"})
    if spec.source.left_out:
        _say({"left out": f"{', '.join(spec.source.left_out)}: options of the spec's own engine"})


def _say(lines: dict[str, str]) -> None:
    for label, text in lines.items():
        typer.echo(f"  {label:<9} {text}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a spec, for editors."""
    import json

    from ..spec.schema import schema as spec_schema

    typer.echo(json.dumps(spec_schema(), indent=2))


@app.command("import")
def import_(
    line: Annotated[
        str,
        typer.Argument(
            help="The launch command, in quotes; or a Kubernetes manifest or shell script.",
            metavar="LINE|FILE",
            show_default=False,
        ),
    ],
    engine: Annotated[
        str | None, typer.Option(help="vllm, sglang or trtllm, where the line does not tell.", show_default=False)
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Of the engine; the newest by default.", show_default=False)
    ] = None,
    gpu: Annotated[str | None, typer.Option(help="Such as h100; no launch line tells.", show_default=False)] = None,
    replicas: Annotated[int | None, typer.Option(help="Copies of the engine.", min=1, show_default=False)] = None,
    model_config: Annotated[
        str | None,
        typer.Option(help="A config.json in place of the model's name.", metavar="FILE", show_default=False),
    ] = None,
    acceptance: Annotated[
        float | None, typer.Option(help="The chance of each draft, for speculation.", show_default=False)
    ] = None,
    container: Annotated[
        str | None, typer.Option(help="Of a manifest with several engines.", metavar="NAME", show_default=False)
    ] = None,
    allow_unsupported: Annotated[
        bool, typer.Option("--allow-unsupported", help="Leave out flags that are not modelled.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the spec here.", metavar="FILE", show_default=False)
    ] = None,
) -> None:
    """Make a spec of an engine's launch command, and say which flags do not matter here.

    Exit codes: 0 made, 2 an unknown or unsupported flag, or a command that the engine would refuse.
    """
    from ..launch import import_file, import_line, words
    from ..launch.write import write_spec, yaml_text

    given = {
        "engine": engine,
        "version": version,
        "gpu": gpu,
        "replicas": replicas,
        "model_config": model_config,
        "acceptance": acceptance,
        "allow_unsupported": allow_unsupported,
    }
    file = Path(line)
    if words.is_file(line):
        imported = import_file(file, container=container, **given)
    elif container is not None:
        raise InputError("never read: a line has no containers", field="--container")
    elif not line.strip():
        raise InputError("is empty", field="line", wanted=words.LAUNCHES)
    else:
        imported = import_line(words.find_command(words.split(line)), **given)  # type: ignore[arg-type]
    if out is None:
        typer.echo(yaml_text(imported), nl=False)
        return
    write_spec(imported, out)
    typer.echo(f"{out}: written")
    for note in imported.notes:
        typer.echo(f"  {note}")


@app.command()
def flags(
    engine: Annotated[str, typer.Option(help="vllm, sglang or trtllm.", show_default=False)],
    version: Annotated[
        str | None, typer.Option(help="Of the engine; the newest by default.", show_default=False)
    ] = None,
    flag: Annotated[str | None, typer.Argument(help="Only flags with this in their name.", show_default=False)] = None,
) -> None:
    """List an engine's flags: the field of a spec each becomes, or why it does not matter or is refused."""
    from ..launch import find_table

    table = find_table(engine, version)
    wanted = (flag or "").lstrip("-").replace("_", "-")
    shown = [one for one in table.flags.values() if wanted in one.name]
    if not shown:
        raise InputError("no such flag", field=flag, wanted="a part of a flag's name")
    width = max(len(one.name) for one in shown)
    for one in shown:
        typer.echo(f"--{one.name:<{width}}  {one.status:<14}  {one.what}")
