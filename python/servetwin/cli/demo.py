"""`servetwin demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError

SPEC = Path(__file__).with_name("demo.yaml")

FOLDER = Path("servetwin-demo")


def demo(
    out: Annotated[Path, typer.Option(help="A new folder, for the study and its spec.", metavar="FOLDER")] = FOLDER,
) -> None:
    """Plan a deployment for an hour of generated chat and agents: Llama 3.1 70B on up to eight H100s. Offline.

    Exit codes: 0 done, 2 the folder is there already.
    """
    from ..files import write_whole
    from ..plan.folder import create
    from ..spec import load_spec
    from .plan import carry_out

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        begun = (out / "study.sqlite").is_file()
        wanted = f"`servetwin plan --resume {out}` to go on with it, or" if begun else "a new folder:"
        raise InputError("is there already", file=str(out), wanted=f"{wanted} --out FOLDER")
    spec = out / "spec.yaml"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", file=str(out)) from None
    write_whole(spec, [SPEC.read_text(encoding="utf-8")])
    folder = create(out, load_spec(spec), None)
    typer.echo(f"{folder.spec.model} on up to 8 × H100, {len(folder.trace):,} requests in an hour of chat and agents …")
    carry_out(folder)
    typer.echo(f"Yours:   change {spec}, then servetwin plan {spec} --out another")
