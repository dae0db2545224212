"""AIPerf's `profile_export.jsonl`: a record a request, times in nanoseconds since 1970."""

from __future__ import annotations

from ..jsonrows import ABSENT, Row, json_lines
from ..measured import Measured, table
from ..source import Source
from ..table import Options, Table, refuse_unit

FIELDS = {
    "time": "metadata.request_start_ns",
    "input": "metrics.input_sequence_length.value",
    "output": "metrics.output_sequence_length.value",
    "name": "metadata.x_request_id",
}

COUNTS = (
    "input_sequence_length",
    "output_sequence_length",
    "output_token_count",
    "reasoning_token_count",
    "error_isl",
)
"""The metrics that are read: numbers of tokens."""


def read_aiperf(source: Source, options: Options) -> Table:
    refuse_unit(source, options, "nanoseconds")
    return table("aiperf", source, FIELDS, [request(row) for row in json_lines(source)])


def request(row: Row) -> Measured:
    """One record. Raises InputError."""
    start_ps = row.units("metadata.request_start_ns", 3)
    end_ps = row.units("metadata.request_end_ns", 3)
    if end_ps < start_ps:
        raise row.fail(
            "metadata.request_end_ns", "before metadata.request_start_ns", row.get("metadata.request_end_ns")
        )
    error = row.get("error")
    failed = error is not None or row.get("metadata.was_cancelled") is True
    length = FIELDS["input"]
    if failed and row.get("metrics.error_isl") is not None:
        length = "metrics.error_isl.value"
    for name in COUNTS:
        unit = f"metrics.{name}.unit"
        if row.get(unit) not in (None, "tokens"):
            raise row.fail(unit, "not a number of tokens", row.get(unit), "tokens")
    reasoning = row.whole("metrics.reasoning_token_count.value", default=0)
    output = row.whole(FIELDS["output"], default=None)
    if output is None:
        # Without the reasoning, which is counted apart.
        visible = row.whole("metrics.output_token_count.value", default=0 if failed else None)
        if visible is None:
            raise row.fail(FIELDS["output"], "missing", wanted="the number of tokens generated")
        output = visible + reasoning
    return Measured(
        line=row.line,
        at="",
        name=row.text(FIELDS["name"], default=None),
        start_ps=start_ps,
        elapsed_ps=end_ps - start_ps,
        session=row.text("metadata.x_correlation_id", default=None),
        input_tokens=row.whole(length, 1, default=None if failed else ABSENT),
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
        failed=failed,
        kind=None,
    )
