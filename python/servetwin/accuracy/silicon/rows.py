"""The sample's rows: deployments, and the times to first token and per output token that were measured of them."""

from __future__ import annotations

import csv
import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

from ...errors import InputError
from ...timing.aiconfigurator import SYSTEMS

FILE = "silicon_sample.csv"

AGREEMENT = 1.25
"""Repeated measurements of one deployment that differ by more than this factor differ in something not recorded."""

FALLING = "of one engine and its lengths, TPOT falls by more than a fifth when users are added"

MACHINE_GPUS = 8
"""Of one machine; the sample's rows of aggregated serving were measured on one."""


SAME = {"deepseek-ai/DeepSeek-V3": "deepseek-ai/DeepSeek-R1"}
"""Checkpoints of one architecture that the sample calls by either name: some of its rows are there under both."""

DRAFTED_IMAGE, DRAFTED_SINCE = "1.2.0rc6.post3", "2026-01-14"
"""InferenceX ran DeepSeek with multi-token prediction on TensorRT-LLM in this image, and from this day in the one
before it, in whose other runs it is half as fast. The sample has those runs only in copies of whole files, and does not
say which they are."""


@dataclass(frozen=True)
class Deployment:
    """What the sample says of one: an engine of one replica, and its load."""

    engine: str
    checkpoint: str
    gpu: str
    products: str
    experts: str
    """Formats of the matrices, in the sample's words; empty where nothing is said."""
    input_tokens: int
    output_tokens: int
    concurrency: int
    tensor: int
    data: int
    expert: int
    benchmark: str
    """Whose protocol: `inferencex`, or `aiperf`."""


@dataclass(frozen=True)
class Measured:
    """One deployment; times are the medians over its repeated measurements."""

    deployment: Deployment
    ttft_ms: float
    tpot_ms: float
    rows: int
    version: str
    """Of the engine; empty where nothing is said."""


@dataclass(frozen=True)
class Sample:
    measured: list[Measured]
    rejected: Counter[str]
    """Rows by cause."""
    rows: int


class _RejectedError(Exception):
    """The cause is its text."""


def read_sample(folder: Path) -> Sample:
    """`folder`: the systems of aiconfigurator-core. Raises InputError for a file that is not as expected."""
    file = folder / FILE
    rejected: Counter[str] = Counter()
    groups: dict[Deployment, list[Measured]] = defaultdict(list)
    rows = 0
    for line, row in _rows(file):
        rows += 1
        try:
            one = _measured(row)
        except _RejectedError as cause:
            rejected[str(cause)] += 1
        except (KeyError, ValueError) as error:
            raise InputError(f"not a row of the sample: {error}", file=str(file), line=line) from None
        else:
            groups[one.deployment].append(one)
    measured = []
    for group in groups.values():
        if _apart([one.ttft_ms for one in group]) or _apart([one.tpot_ms for one in group]):
            rejected["repeated measurements differ by more than a quarter: something differs that is not recorded"] += (
                len(group)
            )
        else:
            measured.append(_merged(group))
    contradicted = _contradicted(measured)
    rejected[FALLING] += sum(one.rows for one in measured if one.deployment in contradicted)
    return Sample([one for one in measured if one.deployment not in contradicted], +rejected, rows)


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            yield from enumerate(csv.DictReader(opened), start=2)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None


def _apart(values: list[float]) -> bool:
    return max(values) > AGREEMENT * min(values)


def _contradicted(measured: list[Measured]) -> set[Deployment]:
    """Those of whose engine and lengths TPOT falls by more than the agreement when users are added."""
    curves: dict[Deployment, list[Measured]] = defaultdict(list)
    for one in measured:
        curves[replace(one.deployment, concurrency=0)].append(one)
    found: set[Deployment] = set()
    for curve in curves.values():
        for few, many in itertools.combinations(sorted(curve, key=lambda one: one.deployment.concurrency), 2):
            if few.tpot_ms > AGREEMENT * many.tpot_ms:
                found |= {one.deployment for one in curve}
    return found


def _merged(group: list[Measured]) -> Measured:
    return replace(
        group[-1],
        ttft_ms=statistics.median(one.ttft_ms for one in group),
        tpot_ms=statistics.median(one.tpot_ms for one in group),
        rows=len(group),
    )


def _measured(row: Mapping[str, str]) -> Measured:
    if row["mode"] != "agg":
        raise _RejectedError("prefill and decode apart: not compared here")
    if _drafted(row):
        raise _RejectedError("multi-token prediction, with an acceptance that is not recorded")
    tensor, data, expert = _ranks(row)
    found = re.search(r"silicon_concurrency=(\d+)", row["silicon_data_source"])
    if found is None:
        raise _RejectedError("no number of users is recorded")
    batch = round(float(row["batch_size"]))
    # Without attention data ranks a batch below the concurrency means several replicas.
    concurrency = int(found[1]) if data > 1 else batch
    ttft_ms, tpot_ms = float(row["silicon_ttft_ms"]), float(row["silicon_tpot_ms"])
    if not (ttft_ms > 0 and tpot_ms > 0):
        raise _RejectedError("no positive times")
    deployment = Deployment(
        row["backend"],
        SAME.get(row["model_path"], row["model_path"]),
        SYSTEMS[row["system"]],
        row["gemm_quant_mode"],
        row["moe_quant_mode"],
        int(row["isl"]),
        int(row["osl"]),
        concurrency,
        tensor,
        data,
        expert,
        "aiperf" if "gap-analysis" in row["silicon_data_source"] else "inferencex",
    )
    return Measured(deployment, ttft_ms, tpot_ms, 1, row["backend_version"])


def _drafted(row: Mapping[str, str]) -> bool:
    """Whether it is one of the runs of DeepSeek with drafts."""
    source, image = row["silicon_data_source"], row["backend_version"]
    if row["backend"] != "trtllm" or "DeepSeek" not in row["model_path"] or not source.startswith("source_file=2026"):
        return False
    day = re.search(r"measured=([0-9-]{10})", source)
    since = day is not None and day[1] >= DRAFTED_SINCE
    return image == DRAFTED_IMAGE or (image == "1.1.0rc2.post2" and since)


def _ranks(row: Mapping[str, str]) -> tuple[int, int, int]:
    """Tensor ranks, attention data ranks, and ranks that share whole experts."""
    tensor, data, sliced, expert = (
        round(float(row[name] or 0)) or 1 for name in ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    )
    if round(float(row["pp_size"])) != 1:
        raise _RejectedError("pipeline stages")
    if tensor * data == expert * sliced == isqrt(expert * sliced) ** 2 and expert == sliced > 1 and tensor * data > 4:
        # The benchmark's `tp 8, ep 8` (same GPUs) became 64 ranks of 8 slices of 8.
        tensor, data, sliced = (expert, 1, 1) if data == 1 else (1, expert, 1)
    elif tensor == data > 1 and expert == tensor * data:
        # And its data ranks of one GPU each, as many as it has GPUs, became as many times as many.
        tensor, expert = 1, data
    if tensor * data > MACHINE_GPUS:
        raise _RejectedError(
            f"more than {MACHINE_GPUS} GPUs as one engine: totals of several engines, by the machines named"
        )
    if expert > 1 and tensor * data != expert * sliced:
        raise _RejectedError("ranks of experts that are not those of attention")
    if sliced > 1 and expert == 1 and sliced != tensor * data:
        raise _RejectedError("ranks of experts that are not those of attention")
    return tensor, data, expert
