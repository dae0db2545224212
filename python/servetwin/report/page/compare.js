"use strict";
// Several results on one page: the first is what the others are measured against.

const { results, views, changes } = DATA;
const longest = Math.max(...views.map((view) => view.bins.length_s));
const midsOf = (view) => view.bins.seconds.map((width, n) => n * view.bins.width_s + width / 2);
const binOf = (view) => (place, x) => `around ${moment(x, view.bins.width_s)}`;
const withSign = (value, text) => (value > 0 ? "+" : value < 0 ? "−" : "") + text;
/** A change; of what two decimals would hide, its first digit. */
function signed(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (size > 0 && size < 0.005) return withSign(value, String(Number(size.toPrecision(1))));
  return withSign(value, size > 0 && size < 1 ? decimals(size, 2) : plain(size));
}
const swatch = (n) => h("i", { style: `display:inline-block;width:10px;height:10px;border-radius:2px;margin-right:7px;background:${COLORS[n]}` });

function header() {
  const cards = views.map((view, n) => {
    const { title, facts } = describe(view);
    return h("div", { class: "tile", "data-result": results[n] },
      h("h3", {}, swatch(n), results[n]), h("p", { class: "soft" }, `${title} · ${facts.map(([strong, rest]) => `${strong} ${rest}`).join(" · ")}`), verdict(view));
  });
  document.getElementById("header").append(
    h("p", { class: "over" }, "servetwin compare"), h("h1", {}, results.length === 2 ? `${results[0]} and ${results[1]}` : `${results[0]} and ${results.length - 1} others`),
    ...DATA.warnings.map((text) => h("p", { class: "notice", role: "alert" }, text)),
    h("div", { class: "tiles results" }, cards));
}

function specSection() {
  const rows = DATA.spec_differences.map((one) => ({ field: one.field, ...Object.fromEntries(one.values.map((value, n) => [`v${n}`, value])) }));
  const table = sortable([{ key: "field", title: "field", show: (row) => h("code", {}, row.field) },
    ...results.map((name, n) => ({ key: `v${n}`, title: name, show: (row) => (row[`v${n}`] === null ? "–" : String(row[`v${n}`])) }))], rows, { label: "Fields of the specs that differ" });
  const element = card("Fields of the specs that differ", rows.length ? null : "None: the specs are the same.", copyMenu(table.data), rows.length ? table.element : null);
  element.dataset.table = "differences";
  return section("differences", ["What differs", "Inputs"], null, element);
}

function metricSection() {
  const written = (row, value) => {
    if (value === null) return "–";
    if (row.kind === "flag") return value ? "yes" : "no";
    return datum(Number(value), row.kind === "share" ? percent(value, 2) : plain(value));
  };
  const range = (row, ends, text) => (ends && ends[0] < ends[1] ? h("span", { class: "share" }, `${text(row, ends[0])} to ${text(row, ends[1])}`) : null);
  const size = (row, value) => (row.kind === "share" ? percent(value, 2) : plain(value));
  const step = (row, value) => (row.kind === "share" ? `${signed(value * 100)} points` : signed(value));
  const change = (row, n) => {
    const share = row.shares[n];
    const difference = row.differences[n];
    if (row.kind === "flag" || difference === null) return "";
    const text = row.kind === "share" ? `${signed(difference * 100)} points` : signed(difference);
    return h("span", { class: { better: "good", worse: "bad" }[row.verdicts[n]] || "soft" }, text, share === null || share === 0 ? null : h("span", { class: "share" }, withSign(share, percent(Math.abs(share)))));
  };
  const table = sortable([{ key: "title", title: "metric" }, ...results.flatMap((name, n) => [
    { key: `value ${name}`, title: name, number: true, value: (row) => row.values[n], show: (row) => [written(row, row.values[n]), range(row, row.intervals[n], size)] },
    ...(n ? [{ key: `change ${name}`, title: "Δ", number: true, value: (row) => row.differences[n - 1], show: (row) => [change(row, n - 1), range(row, row.difference_intervals[n - 1], step)] }] : []),
  ])], DATA.metrics, { label: "Metrics of each result" });
  table.element.style.maxHeight = "none";
  const element = card("Metrics", `Changes are against ${results[0]}; green is better, red is worse`, copyMenu(table.data), table.element);
  element.dataset.table = "metrics";
  return section("metrics", ["What came of it", "Metrics"], null, element);
}

function latencySection() {
  const parts = ["ttft_ms", "tpot_ms", "e2e_ms", "queue_ms"].map((metric) => {
    const lines = () => views.map((view, n) => ({ name: results[n], color: COLORS[n], x: view.groups[0].curves[metric] || [], y: view.groups[0].curves[metric] ? view.curve : [], width: 1.9 }));
    const values = lines().flatMap((line) => line.x).filter((value) => value > 0).sort((a, b) => a - b);
    let kind = values.length && values.at(-1) / values[Math.floor(values.length / 2)] > 8 ? "log" : "linear";
    const axis = () => ({ kind, title: metric, show: msTick, exact: ms, domain: kind === "log" ? [values[0] || 1, values.at(-1) || 10] : [0, values.at(-1) || 1], room: kind === "log" ? 74 : 86 });
    const part = figure(LATENCIES[metric].title, LATENCIES[metric].caption,
      [(made) => logButton(kind === "log", (next) => { kind = next; made().update({ x: axis() }); }, "x-axis"), (made) => tailButton((next) => made().update({ y: shares(next) }))],
      (host) => chart(host, { label: `Distribution of ${LATENCIES[metric].title.toLowerCase()} in each result`, x: axis(), y: shares("linear"), series: lines(), hover: "row", heading: (_, share) => percentile(share), height: 240 }));
    part.element.dataset.chart = `cdf-${metric}`;
    return part;
  });
  const element = section("latency", ["Latency"], "Of completed requests that arrived in the measured interval.", h("div", { class: "grid" }, parts.map((part) => part.element)));
  parts.forEach((part) => part.mount());
  return element;
}

function timeSection() {
  const over = (title, caption, name, y, lines, tools = []) => {
    const part = figure(title, caption, tools, (host) => chart(host, { label: `${title} over time in each result`, x: timeAxis(longest), link: "time", y, heading: binOf(views[0]), series: lines() }));
    part.element.dataset.chart = name;
    return part;
  };
  const perSecond = (kind) => () => views.map((view, n) => ({ name: results[n], color: COLORS[n], x: midsOf(view), y: view.groups[0].traffic[kind].map((count, i) => count / view.bins.seconds[i]) }));
  const rateAxis = (title) => ({ kind: "linear", title, show: rateShow, exact: (value) => `${plain(value)} /s` });
  const load = (kind) => () => views.filter((view) => view.load[kind]).map((view) => ({ name: results[views.indexOf(view)], color: COLORS[views.indexOf(view)], x: view.load[kind].map((_, n) => n * view.load.width_s), y: view.load[kind], step: true, width: 1.3 }));
  const count = (title) => ({ kind: "linear", title, show: rateShow, exact: plain });
  const parts = [
    ...["ttft_ms", "tpot_ms"].map((metric) => {
      let band = "p95";
      const lines = () => views.map((view, n) => ({ name: results[n], color: COLORS[n], x: midsOf(view), y: view.groups[0].bands[metric][band], show: ms }));
      return over(LATENCIES[metric].title, "A percentile of the requests that arrived in each bin", `bands-${metric}`, { kind: "linear", title: metric, show: msTick, exact: ms }, lines,
        [(made) => segments("Percentile", { p50: "p50", p90: "p90", p95: "p95", p99: "p99" }, band, (next) => { band = next; made().update({ series: lines() }); })]);
    }),
    over("Requests completed per second", "By their completion", "completed", rateAxis("requests_per_s"), perSecond("completed")),
    over("Output tokens per second", "Counted when their request completes", "output-tokens", rateAxis("tokens_per_s"), perSecond("output_tokens")),
    over("Queue", "Requests waiting, on all replicas together", "waiting", count("waiting"), load("waiting")),
    over("Batch", "Requests running, on all replicas together", "running", count("running"), load("running")),
  ];
  if (views.some((view) => view.load.kv_use)) {
    parts.push(over("KV cache use", "Share of all replicas' blocks that running requests hold", "kv-use", { kind: "linear", title: "kv_use", show: shareTick, exact: percent, most: 1 }, load("kv_use")));
    parts.at(-1).element.classList.add("wide");
  }
  const element = section("time", ["Over time"], "Since each result's first arrival. Drag to zoom all; double click to go back.", h("div", { class: "grid" }, parts.map((part) => part.element)));
  parts.forEach((part) => part.mount());
  return element;
}

function pairSection() {
  if (!DATA.paired.some((pairs) => pairs.length)) return null;
  const rows = DATA.paired.flatMap((pairs, n) => pairs.map((one) => ({ ...one, result: results[n + 1], n: n + 1, ...one.percentiles })));
  const change = (key) => ({ key, title: key, number: true, value: (row) => row[key], show: (row) => datum(row[key], signed(row[key])) });
  const table = sortable([
    { key: "result", title: "result", show: (row) => [swatch(row.n), row.result] }, { key: "metric", title: "milliseconds", show: (row) => LATENCIES[row.metric].name },
    { key: "count", title: "requests", number: true, show: (row) => whole(row.count) }, change("mean"), change("p5"), change("p50"), change("p95"),
    { key: "faster", title: "faster", number: true, show: (row) => percent(row.faster) }, { key: "slower", title: "slower", number: true, show: (row) => percent(row.slower) },
  ], rows, { label: "Change of each request" });
  const parts = ["ttft_ms", "e2e_ms"].map((metric) => {
    const lines = changes.curves.map((curves, n) => ({ name: results[n + 1], color: COLORS[n + 1], x: curves[metric] || [], y: curves[metric] ? changes.shares : [], width: 1.9 }));
    // The outermost per cent on either side would leave nothing of the rest to be seen.
    const inner = extent(lines.map((line) => line.x.filter((_, i) => line.y[i] >= 0.01 && line.y[i] <= 0.99))) || [-1, 1];
    const part = figure(`Change of ${LATENCIES[metric].name}`, `Of each request, against ${results[0]}; left of 0 is faster. The middle 98 %`, [], (host) => chart(host, {
      label: `Distribution of the change of ${LATENCIES[metric].name} of each request`, x: { kind: "linear", title: `${metric} change`, show: (value) => `${value > 0 ? "+" : ""}${msTick(value)}`, exact: (value) => `${signed(value)} ms`, domain: [Math.min(inner[0], 0), Math.max(inner[1], 0)] },
      y: shares("linear"), series: lines, hover: "row", heading: (_, share) => percentile(share), rules: [{ axis: "x", at: 0, label: "" }], height: 240,
    }));
    part.element.dataset.chart = `change-${metric}`;
    return part;
  });
  const element = card("Each request against itself", `Requests that completed in both; changes from ${results[0]}, whether or not they arrived in the measured interval`, copyMenu(table.data), table.element);
  element.dataset.table = "paired";
  const found = section("pairs", ["Request by request", "Pairs"], null, h("div", { class: "grid" }, parts.map((part) => part.element)), element);
  parts.forEach((part) => part.mount());
  return found;
}

header();
const sections = [specSection(), metricSection(), latencySection(), timeSection(), pairSection()].filter(Boolean);
navigation(sections, [resetButton()]);
document.documentElement.dataset.ready = "true";
