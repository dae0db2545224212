"use strict";
// Queue, batch and cache of each replica: lines for a few, heat maps and one chosen replica for many.

const MOST_LINES = 4;
const over = view.replicas;
const usable = view.blocks;
const cacheUse = usable ? over.used_blocks.map((row) => row.map((value) => (value === null ? null : value / usable))) : over.used_blocks;
const MEASURES = {
  waiting: { title: "Queue", caption: "Requests waiting", rows: over.waiting, show: rateShow, exact: plain },
  running: { title: "Batch", caption: "Requests running", rows: over.running, show: rateShow, exact: plain },
  used_blocks: usable
    ? { title: "KV cache use", caption: `Share of the ${whole(usable)} blocks that running requests hold`, rows: cacheUse, show: shareTick, exact: percent, most: 1 }
    : { title: "KV cache use", caption: "Blocks held by running requests", rows: cacheUse, show: rateShow, exact: whole },
};
const moments = Array.from({ length: over.count }, (_, n) => n * over.width_s);

function replicaSection() {
  const note = over.count ? `Means in bins of ${span(over.width_s)}, sampled every ${span(view.provenance.spec.metrics?.series_interval ?? 1)} or more seldom.` : "No time series was recorded.";
  const tables = [prefillTable(), replicaTable(), ...handoverCards(), ...rankCards()].filter(Boolean);
  const content = [];
  const parts = [];
  if (over.count && over.replicas.length <= MOST_LINES) {
    const grid = h("div", { class: "grid" });
    for (const [measure, about] of Object.entries(MEASURES)) parts.push(fewReplicas(measure, about));
    parts.forEach((part, n) => { if (n === 2) part.element.classList.add("wide"); });
    grid.append(...parts.map((part) => part.element));
    content.push(grid);
  } else if (over.count) {
    for (const [measure, about] of Object.entries(MEASURES)) parts.push(manyReplicas(measure, about));
    content.push(h("div", { class: "grid" }, parts.flatMap((part) => part.elements)));
  }
  content.push(...tables);
  const element = section("replicas", [over.replicas.length === 1 ? "Replica" : "Replicas"], note, content);
  parts.forEach((part) => part.mount());
  return element;
}

const onlyReplica = () => (group.kind === "replica" ? Number(group.label.split(" ").at(-1)) : null);

function replicaChart(host, measure, about, series, height) {
  return chart(host, {
    label: `${about.title} of each replica over time`, x: timeAxis(bins.length_s), link: "time", shades: outside,
    y: { kind: "linear", title: measure, show: about.show, exact: about.exact, most: about.most },
    heading: (_, x) => `${moment(x, over.width_s)} – ${moment(x + over.width_s, over.width_s)}`, series, height,
  });
}

function fewReplicas(measure, about) {
  const series = () => over.replicas.map((name, row) => ({
    name: over.replicas.length === 1 ? about.caption : `replica ${name}`, color: COLORS[row % COLORS.length], x: moments, y: about.rows[row], step: true, width: 1.3,
    faint: onlyReplica() !== null && onlyReplica() !== name,
  }));
  const part = figure(about.title, about.caption, [], (host) => {
    const made = replicaChart(host, measure, about, series());
    followers.push(() => made.update({ series: series() }));
    return made;
  });
  part.element.dataset.chart = `replicas-${measure}`;
  return part;
}

const chosenReplica = { row: 0, followers: [] };

function chooseReplica(row) {
  chosenReplica.row = row;
  chosenReplica.followers.forEach((follow) => follow());
}

/** Over the replicas, at each time: how many are at or below a share of the way from the least to the most. */
function across(rows, share) {
  return moments.map((_, n) => {
    const values = rows.map((row) => row[n]).filter((value) => value !== null).sort((a, b) => a - b);
    if (!values.length) return null;
    const at = (values.length - 1) * share;
    const below = Math.floor(at);
    return values[below] + (at - below) * ((values[below + 1] ?? values[below]) - values[below]);
  });
}

function manyReplicas(measure, about) {
  const map = figure(about.title, `${about.caption}. Press a replica to choose it`, [], (host) => {
    const made = heat(host, { label: `${about.title} of every replica over time`, rows: about.rows, names: over.replicas, width_s: over.width_s,
      show: about.exact, pick: chooseReplica });
    chosenReplica.followers.push(() => made.choose(chosenReplica.row));
    return made;
  });
  const [low, middle, high] = [0.05, 0.5, 0.95].map((share) => across(about.rows, share));
  const series = () => [
    { name: "p5–p95 of replicas", upper: "p95 of replicas", color: COLORS[7], x: moments, y: high, low, opacity: 0.22, block: true },
    { name: "median replica", color: COLORS[7], x: moments, y: middle, dash: "4 3", width: 1.2 },
    { name: `replica ${over.replicas[chosenReplica.row]}`, color: COLORS[0], x: moments, y: about.rows[chosenReplica.row], width: 1.8, step: true },
  ];
  const line = figure(about.title, "The chosen replica among all", [], (host) => {
    const made = replicaChart(host, measure, about, series(), heatHeight(about.rows.length) + 8);
    chosenReplica.followers.push(() => made.update({ series: series() }));
    return made;
  });
  map.element.dataset.chart = `heat-${measure}`;
  line.element.dataset.chart = `replicas-${measure}`;
  return { elements: [map.element, line.element], mount() { map.mount(); line.mount(); } };
}

const ofCount = (key, title) => ({ key, title, number: true, show: (row) => whole(row[key]) });
const ofLatency = (key, title) => ({ key, title, number: true, show: (row) => plain(row[key]) });
const ofReuse = { key: "reuse", title: "reuse", number: true, value: (row) => row.cached_tokens / Math.max(row.input_tokens, 1), show: (row) => percent(row.cached_tokens / Math.max(row.input_tokens, 1)) };
const ofReplica = { key: "replica", title: "replica", number: false, value: (row) => row.replica, show: (row) => (over.replicas.length > MOST_LINES ? h("button", { type: "button", class: "link" }, String(row.replica)) : String(row.replica)) };

function eachReplica(title, caption, name, columns, rows) {
  const pick = over.replicas.length > MOST_LINES ? (row) => chooseReplica(over.replicas.indexOf(row.replica)) : null;
  const table = sortable([ofReplica, ...columns], rows, { sorted: "replica", descending: false, label: title, pick });
  const element = card(title, caption, copyMenu(table.data), table.element);
  element.dataset.table = name;
  return element;
}

function replicaTable() {
  const rows = view.replica_totals;
  const pools = Boolean(view.provenance.pools);
  if (rows.length < 2 && !pools) return null;
  return eachReplica(pools ? "Each decode replica" : "Each replica", pools ? "All requests that it decodes; latencies in milliseconds" : "All its requests; latencies in milliseconds", "replicas", [
    ofCount("requests", "requests"), ofCount("completed", "completed"), ofLatency("ttft_ms.p50", "TTFT p50"), ofLatency("ttft_ms.p95", "p95"),
    ofLatency("tpot_ms.p50", "TPOT p50"), ofLatency("tpot_ms.p95", "p95"), ofLatency("e2e_ms.p95", "E2E p95"),
    ofCount("input_tokens", "input tokens"), ofCount("output_tokens", "output tokens"), ofReuse, ofCount("preemptions", "preemptions"),
  ], rows);
}

function prefillTable() {
  const rows = view.prefill_totals;
  if (!rows.length) return null;
  return eachReplica("Each prefill replica", "All prompts that it is sent; the queue, and from the end of a prompt to its arrival elsewhere, in milliseconds", "prefills", [
    ofCount("requests", "requests"), ofCount("computed", "computed"), ofCount("handed_over", "handed over"),
    ofLatency("queue_ms.p50", "queue p50"), ofLatency("queue_ms.p95", "p95"), ofLatency("handover_ms.p50", "hand-over p50"), ofLatency("handover_ms.p95", "p95"),
    ofCount("input_tokens", "input tokens"), ofCount("transferred_tokens", "transferred tokens"), ofReuse,
  ], rows);
}
