"""`servetwin capacity`."""

from __future__ import annotations

import typer

from ..errors import ExitCode
from .options import Settings, SpecFile, TraceFile


def capacity(
    spec: SpecFile,
    trace: TraceFile = None,
    set_: Settings = None,
) -> None:
    """The highest load that meets the service level, and latency by load.

    The load is a speedup of the workload's arrivals, or its number of users. Without a service level it is the highest
    that the deployment keeps up with. Exit codes: 0 found, 1 no load meets the level, 2 bad input.
    """
    from ..plan.curve import curve
    from ..replication import processors
    from ..report.capacity import print_curve
    from ..simulation import with_trace
    from ..spec import load_spec
    from ..workload import open_workload

    loaded = load_spec(spec, set_ or ())
    if trace is not None:
        loaded = with_trace(loaded, trace)
    around = sorted({loaded.replicas - 1, loaded.replicas + 1, 2 * loaded.replicas} - {0, loaded.replicas})
    if loaded.pools is not None:
        around = []  # which pool another replica joins is a question for `plan`
    found = curve(loaded, open_workload(loaded), replicas=around, workers=processors())
    print_curve(found, loaded.replicas)
    raise typer.Exit(int(ExitCode.DONE if found.limit is not None else ExitCode.DIFFERS))
