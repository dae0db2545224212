"""Runs cases, each in turn with what it is compared with, so that a machine's moods meet both alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .cases import Case, Target
from .measure import OurRun, PeerRun, medians, run_ours, run_peer
from .traces import TraceFile


@dataclass
class CaseReport:
    """All runs of a case; what is told of them is in medians."""

    case: Case
    stand_in: bool
    ours: list[OurRun] = field(default_factory=list)
    peer: list[PeerRun] = field(default_factory=list)
    baseline: list[OurRun] = field(default_factory=list)
    compared: dict[str, float] = field(default_factory=dict)
    """Ratios of medians, and what the baseline tells."""

    @property
    def verdicts(self) -> list[tuple[Target, float]]:
        """The targets that this session could tell about, each with the figure."""
        figures = {**vars(medians(self.ours)), **self.compared}
        return [(target, figures[target.figure]) for target in self.case.targets if target.figure in figures]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.case.name,
            "about": self.case.about,
            "stand_in": self.stand_in,
            "median": asdict(medians(self.ours)),
            "peer_median": asdict(medians(self.peer)) if self.peer else None,
            "compared": self.compared,
            "targets": [
                {**asdict(target), "value": value, "met": target.met(value)} for target, value in self.verdicts
            ],
            "ours": [asdict(run) for run in self.ours],
            "peer": [asdict(run) for run in self.peer],
            "baseline": [asdict(run) for run in self.baseline],
        }


def run_case(case: Case, *, repeats: int, peer: str | None, folder: Path, tell: Callable[[str], None]) -> CaseReport:
    """`folder` keeps written traces from case to case; `tell` hears what comes next. Raises BenchError."""
    trace = case.trace.provide(folder) if case.trace is not None else None
    report = CaseReport(case, stand_in=trace is not None and trace.stand_in)
    for repeat in range(1, repeats + 1):
        tell(f"{case.name}: {case.about}, {repeat} of {repeats}")
        report.ours.append(run_ours(case.spec, _path(trace)))
        if case.baseline is not None:
            report.baseline.append(run_ours(case.baseline.case.spec, _path(_provide(case.baseline.case, folder))))
        if peer is not None and case.peer is not None and trace is not None:
            report.peer.append(run_peer(peer, trace.path, case.replicas, case.peer))
    report.compared = _compare(report)
    return report


def _compare(report: CaseReport) -> dict[str, float]:
    ours, compared = medians(report.ours), {}
    if report.peer:
        peer = medians(report.peer)
        compared = {
            "simulate_ratio": peer.tool_s / ours.simulate_s,
            "process_ratio": peer.process_s / ours.process_s,
            "cpu_ratio": peer.cpu_s / ours.cpu_s,
        }
    if report.case.baseline is not None:
        compared.update(report.case.baseline.figures(ours, medians(report.baseline)))
    return compared


def _provide(case: Case, folder: Path) -> TraceFile | None:
    return case.trace.provide(folder) if case.trace is not None else None


def _path(trace: TraceFile | None) -> Path | None:
    return trace.path if trace is not None else None
