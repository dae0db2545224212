"use strict";
// The slowest requests, each with its timeline.

const PHASES = { queued: "Queued", prefill: "Prefill", ...(view.provenance.pools ? { handover: "Hand-over" } : {}), decode: "Decode" };
const nameOf = (request) => (request.request_id === undefined || request.request_id === null ? `row ${request.row}` : request.request_id);

/** From its arrival: when it waited, was prefilled, was handed over, and gave tokens. In seconds. */
function phases(request) {
  const end = request.last_token_s ?? request.end_s;
  const first = request.first_token_s ?? end;
  const queued = [request.arrival_s, request.scheduled_s];
  if (!known(request.prefilled_s)) return { queued, prefill: [request.scheduled_s, first], decode: [first, end] };
  return { queued, prefill: [request.scheduled_s, request.prefilled_s], handover: [request.prefilled_s, first], decode: [first, end] };
}

function track(request, whole_s) {
  const from = request.arrival_s;
  const parts = Object.entries(phases(request)).map(([name, [start, end]]) =>
    h("i", { class: name, style: `left:${((start - from) / whole_s) * 100}%;width:${(Math.max(end - start, 0) / whole_s) * 100}%` }));
  const said = Object.entries(phases(request)).map(([name, [start, end]]) => `${PHASES[name].toLowerCase()} ${span(end - start)}`).join(", ");
  return h("div", { class: "track", role: "img", "aria-label": said, title: said }, parts);
}

function slowestSection() {
  let rank = "e2e_ms";
  const rows = () => (group.slowest[rank] || []).map((row) => view.requests[row]);
  const longest = () => Math.max(...rows().map((request) => request.e2e_ms / 1000), 1e-9);
  const detail = h("div", { class: "request", "aria-live": "polite" });
  const columns = () => {
    const some = rows();
    const counted = (key, title) => ({ key, title, number: true, show: (row) => whole(row[key]) });
    const latency = (key, title) => ({ key, title, number: true, show: (row) => plain(row[key]) });
    return [
      { key: "row", title: "request", value: (row) => nameOf(row), show: (row) => h("button", { type: "button", class: "link" }, nameOf(row)) },
      { key: "timeline", title: "timeline", unsorted: true, show: (row) => track(row, longest()) },
      latency("e2e_ms", "E2E ms"), latency("ttft_ms", "TTFT ms"), latency("tpot_ms", "TPOT ms"), latency("queue_ms", "queue ms"),
      counted("input_tokens", "input"), counted("cached_tokens", "cached"), counted("output_tokens", "output"),
      ...(some.some((row) => row.preemptions) ? [counted("preemptions", "preempted")] : []),
      { key: "arrival_s", title: "arrival", number: true, show: (row) => moment(row.arrival_s, 1) },
      { key: "replica", title: "replica", number: true },
      ...(view.classes.length ? [{ key: "class", title: "class" }] : []),
    ];
  };
  const place = h("div");
  let table = null;
  const draw = () => {
    table = sortable(columns(), rows(), { sorted: rank, descending: true, picked: rows()[0], label: "Slowest requests", pick: (row) => detail.replaceChildren(...about(row)) });
    place.replaceChildren(rows().length ? table.element : h("p", { class: "note" }, "No request completed here."));
    detail.replaceChildren(...(rows().length ? about(rows()[0]) : []));
  };
  const choice = segments("Slowest by", { e2e_ms: "by E2E", ttft_ms: "by TTFT", tpot_ms: "by TPOT" }, rank, (key) => { rank = key; draw(); });
  draw();
  followers.push(draw);
  const element = card("One by one", "Press a request to see all that is known of it", [choice, copyMenu(() => table.data())],
    detail, h("div", { class: "phases" }, Object.entries(PHASES).map(([name, title]) => h("span", {}, h("i", { class: name }), title))), place);
  element.dataset.table = "slowest";
  return section("slowest", ["Slowest requests", "Slowest"], null, element);
}

/** One request: its timeline, and every time and count of it. */
function about(request) {
  const entries = [
    ...(known(request.prefill_replica) ? [["prefilled by replica", request.prefill_replica], ["decoded by", request.replica]] : [["replica", request.replica]]), ...(request.class ? [["class", request.class]] : []),
    ["arrival", `after ${span(request.arrival_s)}`], ["queued", ms(request.queue_ms)],
    ["prefill", known(request.first_token_s) ? ms(((request.prefilled_s ?? request.first_token_s) - request.scheduled_s) * 1000) : "–"],
    ...(known(request.prefilled_s) ? [["hand-over, to the first token", known(request.first_token_s) ? ms((request.first_token_s - request.prefilled_s) * 1000) : "–"]] : []),
    ["decode", known(request.first_token_s) ? ms((request.last_token_s - request.first_token_s) * 1000) : "–"],
    ["TTFT", ms(request.ttft_ms)], ["TPOT", ms(request.tpot_ms)], ["E2E", ms(request.e2e_ms)],
    ["input tokens", whole(request.input_tokens)], ["of these cached", `${whole(request.cached_tokens)} (${percent(request.cached_tokens / Math.max(request.input_tokens, 1))})`],
    ["output tokens", whole(request.output_tokens)], ["preempted", `${whole(request.preemptions)} ${request.preemptions === 1 ? "time" : "times"}`],
    ...(request.recorded_failed ? [["when recorded", "it failed"]] : []),
    ...(known(request.route_overlap_tokens) ? [["cached, by the router", `${whole(request.route_overlap_tokens)} tokens`]] : []),
    ...(request.route_reason ? [["routed because", request.route_reason]] : []),
  ];
  return [
    h("h3", {}, nameOf(request)), track(request, Math.max(request.e2e_ms / 1000, 1e-9)),
    h("dl", {}, entries.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value))))),
  ];
}
