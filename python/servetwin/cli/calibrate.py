"""`servetwin calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .options import Settings


def calibrate(
    measured: Annotated[
        list[Path], typer.Argument(help="Measurements, files or folders.", readable=False, show_default=False)
    ],
    spec: Annotated[
        Path,
        typer.Option("--spec", help="The deployment that was measured.", metavar="FILE", readable=False),
    ],
    out: Annotated[
        Path, typer.Option(help="The profile to write, whole or not at all.", metavar="FILE", readable=False)
    ],
    set_: Settings = None,
    fix: Annotated[
        list[str] | None, typer.Option(help="A term to leave as it is, such as host_ms.", metavar="TERM")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Fit the pass times to measurements of a deployment.

    Reads results of AIPerf, guidellm, vLLM's and SGLang's benchmarks, LLMServingSim and servetwin, and sweeps. The
    profile is used as `timing: {profile: FILE}`. Exit codes: 0 fitted, 2 bad input.
    """
    from ..calibrate import calibrate as run
    from ..report.progress import Counter
    from ..spec import load_spec
    from ..timing.profile import write_profile

    if out.is_dir():
        raise InputError("is a folder", file=str(out), wanted="the file to write, such as profile.yaml")
    if not out.absolute().parent.is_dir():
        raise InputError("its folder does not exist", file=str(out))
    loaded = load_spec(spec, set_ or ())
    with Counter("simulations", shown=not quiet) as progress:
        found = run(measured, loaded, beside=out.absolute().parent, fixed=fix or (), told=progress)
    write_profile(found.profile, out)
    if not quiet:
        from ..report.calibrate import print_calibration

        print_calibration(found, out)
