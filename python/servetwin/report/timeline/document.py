"""The trace, in the JSON of Chrome's Trace Event Format, which Perfetto and chrome://tracing open.

What is used of it: M (names), C (counters), X (slices with a duration),
i (instants), s and f (arrows). Times are microseconds with three decimals, the nanoseconds that viewers keep.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..._core import __version__
from ...errors import InputError
from ...result.result import Result
from ...units import PS_PER_S
from ..page.view import blocks
from .lanes import lanes
from .window import Window, end_ps, requests, series

NOT_SERVED = 0
"""The process that stands for no replica: what was turned away."""

QUEUE = 1_000_000
"""Where the numbers of the lanes of the queue begin: below those of the batch, whatever their number."""

Event = dict[str, Any]


def timeline(result: Result, window: Window) -> Iterator[str]:
    """The file, in parts.

    Raises InputError before the first of them if the result cannot be read, or the window is after its end.
    """
    import pyarrow.compute as pc

    last_ps = end_ps(result)
    if window.bounds_ps[0] > last_ps:
        end = f"at most {last_ps / PS_PER_S:,.3f} s, where the run ends"
        raise InputError("nothing is left", file="--from", found=f"{window.from_s:,g}", wanted=end)
    rows = requests(result, window, last_ps)
    points = series(result, window)
    if window.limit is not None:
        # Counters of a time in which none of these requests was there would only hide them.
        points = points.filter(pc.less_equal(points["time_ps"], max((row["until_ps"] for row in rows), default=0)))
    head = {
        "displayTimeUnit": "ms",
        "otherData": {"servetwin": __version__, "spec_sha256": result.provenance.get("spec_sha256", "")},
    }
    yield json.dumps(head, separators=(",", ":"))[:-1] + ',"traceEvents":[\n'
    separator = ""
    for events in _parts(rows, points, blocks(result)):
        if events:
            yield separator + json.dumps(events, ensure_ascii=False, separators=(",", ":"))[1:-1]
            separator = ",\n"
    yield "\n]}\n"


def _parts(rows: list[Event], points: Any, usable: int | None) -> Iterator[list[Event]]:
    by_replica: dict[int, list[Event]] = {}
    for row in rows:
        for stay in _stays(row):
            by_replica.setdefault(stay["replica"], []).append(stay)
    observed = set(points["replica"].unique().to_pylist())
    for replica in sorted(observed | by_replica.keys()):
        pid = replica + 1
        yield [_name("process", pid, f"replica {replica}"), _sort("process", pid, replica)]
        yield _served(pid, by_replica.get(replica, []))
    yield _counters(points, usable)
    turned_away = [row for row in rows if row["replica"] is None and row.get("prefill_replica") is None]
    if turned_away:
        yield [_name("process", NOT_SERVED, "not served"), _sort("process", NOT_SERVED, 1 << 20)]
        yield [
            {"ph": "i", "s": "t", "name": row["reason"] or row["status"], "cat": "request", "pid": NOT_SERVED, "tid": 0}
            | {"ts": us(row["arrival_ps"]), "args": _arguments(row)}
            for row in turned_away
        ]


def _stays(row: Event) -> Iterator[Event]:
    """The request on each replica it was on: where its prompt was computed, and where it decodes."""
    if row.get("prefill_replica") is None:
        if row["replica"] is not None:
            yield row
        return
    computed_ps = row["prefilled_ps"]
    never = {"first_token_ps": None, "last_token_ps": None}
    until_ps = row["until_ps"] if computed_ps is None else computed_ps
    yield row | never | {"replica": row["prefill_replica"], "until_ps": until_ps, "arrow": f"{row['row']} prompt"}
    if row["replica"] is not None and row["decode_routed_ps"] <= row["until_ps"]:
        yield row | {"routed_ps": row["decode_routed_ps"], "scheduled_ps": row["transfer_end_ps"]}


@dataclass(frozen=True)
class Stay:
    """A request on a replica: it waits from `queued_ps` until `begun_ps`, and is in the batch until `until_ps`."""

    row: Event
    queued_ps: int
    begun_ps: int | None
    until_ps: int

    @classmethod
    def of(cls, row: Event) -> Stay:
        arrived = row["arrival_ps"] if row["routed_ps"] is None else row["routed_ps"]
        return cls(row, arrived, row["scheduled_ps"], row["until_ps"])

    @property
    def waits_until_ps(self) -> int:
        return self.until_ps if self.begun_ps is None else self.begun_ps


def _served(pid: int, rows: list[Event]) -> list[Event]:
    """The requests of one replica: on lanes of the batch, and on those of the queue while they wait."""
    stays = [Stay.of(row) for row in rows]
    waits = sorted((stay for stay in stays if stay.waits_until_ps > stay.queued_ps), key=lambda stay: stay.queued_ps)
    begun = [(stay.begun_ps, stay) for stay in stays if stay.begun_ps is not None]
    runs = sorted(begun, key=lambda pair: pair[0])
    wait_lanes = lanes((stay.queued_ps, stay.waits_until_ps) for stay in waits)
    run_lanes = lanes((begun_ps, stay.until_ps) for begun_ps, stay in runs)
    events: list[Event] = []
    for title, first, used in (("batch", 1, run_lanes), ("queue", QUEUE, wait_lanes)):
        for lane in range(max(used, default=-1) + 1):
            tid = first + lane
            events += [_name("thread", pid, f"{title} {lane + 1}", tid), _sort("thread", pid, tid, tid)]
    arrows: dict[int, Event] = {}
    for stay, lane in zip(waits, wait_lanes, strict=True):
        place = {"pid": pid, "tid": QUEUE + lane}
        events.append(_slice(place, "queued", stay.queued_ps, stay.waits_until_ps, {"request": _label(stay.row)}))
        if stay.begun_ps is not None:
            arrow = {"name": "admitted", "cat": "request", "id": stay.row.get("arrow", stay.row["row"])}
            events.append({"ph": "s", **arrow, **place, "ts": us(stay.queued_ps)})
            arrows[stay.row["row"]] = arrow
    for (begun_ps, stay), lane in zip(runs, run_lanes, strict=True):
        place = {"pid": pid, "tid": 1 + lane}
        events += _run(stay, begun_ps, place)
        if stay.row["row"] in arrows:
            events.append({"ph": "f", "bp": "e", **arrows[stay.row["row"]], **place, "ts": us(begun_ps)})
    return events


def _run(stay: Stay, begun_ps: int, place: Event) -> Iterator[Event]:
    """The request in the batch, and within it its prefill and its decode."""
    row = stay.row
    first_ps, last_ps = row["first_token_ps"], row["last_token_ps"]
    yield _slice(place, _label(row), begun_ps, stay.until_ps, _arguments(row))
    handed = row.get("prefill_replica") not in (None, row["replica"])
    name = "last token of the prompt" if handed else "prefill"
    yield _slice(place, name, begun_ps, stay.until_ps if first_ps is None else first_ps)
    if first_ps is not None:
        # An unfinished request goes on after the last token that is known of.
        decoded_ps = stay.until_ps if last_ps is None or row["end_ps"] is None else last_ps
        if decoded_ps > first_ps:
            yield _slice(place, "decode", first_ps, decoded_ps)


def _counters(points: Any, usable: int | None) -> list[Event]:
    events = []
    for point in points.to_pylist():
        place = {"ph": "C", "pid": point["replica"] + 1, "ts": us(point["time_ps"])}
        used = point["used_blocks"]
        use = {"blocks": used} if usable is None else {"%": round(100 * used / usable, 2)}
        events += [
            {**place, "name": "running", "args": {"requests": point["running"]}},
            {**place, "name": "waiting", "args": {"requests": point["waiting"]}},
            {**place, "name": "KV cache use", "args": use},
        ]
    return events


def _slice(place: Event, name: str, start_ps: int, end_ps: int, arguments: Event | None = None) -> Event:
    event = {"ph": "X", "name": name, "cat": "request", **place, "ts": us(start_ps)}
    # The difference of what is written, so that slices that meet still do, and children stay within.
    event["dur"] = (nanoseconds(end_ps) - nanoseconds(start_ps)) / 1000
    if arguments:
        event["args"] = arguments
    return event


def _arguments(row: Event) -> Event:
    shown = ("row", "status", "input_tokens", "cached_tokens", "output_tokens", "preemptions")
    optional = ("class", "route_reason", "reason")
    return {name: row[name] for name in shown} | {name: row[name] for name in optional if row.get(name)}


def _label(row: Event) -> str:
    name = row.get("request_id")
    return f"row {row['row']}" if name is None else str(name)


def _name(what: str, pid: int, name: str, tid: int = 0) -> Event:
    return {"ph": "M", "name": f"{what}_name", "pid": pid, "tid": tid, "args": {"name": name}}


def _sort(what: str, pid: int, index: int, tid: int = 0) -> Event:
    return {"ph": "M", "name": f"{what}_sort_index", "pid": pid, "tid": tid, "args": {"sort_index": index}}


def nanoseconds(time_ps: int) -> int:
    """To the nearest; never later for what is earlier."""
    return (time_ps + 500) // 1000


def us(time_ps: int) -> float:
    return nanoseconds(time_ps) / 1000
