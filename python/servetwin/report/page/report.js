"use strict";
// The report of one result.

const view = DATA.view;
const all = view.groups[0];
const { bins, summary } = view;
const mids = bins.seconds.map((width, n) => n * bins.width_s + width / 2);
const [begin, before] = view.window_s;
const outside = [];
if (begin > 0) outside.push([0, begin]);
if (before !== null && before < bins.length_s) outside.push([before, bins.length_s]);
/** Called with the group that is chosen. */
const followers = [];
let group = all;

function header() {
  const { title, facts } = describe(view);
  document.getElementById("header").append(
    h("p", { class: "over" }, "servetwin report"), h("h1", {}, title),
    h("p", { class: "facts" }, facts.map(([strong, rest]) => h("span", {}, h("b", {}, strong), ` ${rest}`))),
    verdict(view), tiles());
}

function tiles() {
  const found = [];
  const add = (label, key, text, unit, sub, limit) => {
    if (!(key in summary)) return;
    const share = limit ? summary[key] / limit : null;
    found.push(h("div", { class: "tile", "data-metric": key },
      h("div", { class: "label" }, label),
      h("div", { class: "value" }, datum(summary[key], text(summary[key]), unit)),
      h("div", { class: "sub" }, sub || " "), rangeOf(key, text),
      share === null ? null : h("div", { class: `meter ${share > 1 ? "over-limit" : ""}`, title: `${percent(share)} of the limit` }, h("i", { style: `width:${Math.min(share, 1) * 100}%` }))));
  };
  const strict = Object.fromEntries(limits(summary).map((one) => [one.name, one.limit]));
  for (const [metric, { name }] of Object.entries(LATENCIES)) {
    if (!["ttft_ms", "tpot_ms", "e2e_ms"].includes(metric)) continue;
    add(`${name} p95`, `${metric}.p95`, plain, "ms", `p50 ${plain(summary[`${metric}.p50`])} · p99 ${plain(summary[`${metric}.p99`])}`, strict[`${metric}.p95`]);
  }
  add("Trajectory p50", "trajectory_ms.p50", plain, "ms", `p95 ${plain(summary["trajectory_ms.p95"])} · ${whole(summary.trajectories)} of them`);
  add("Acceptance length", "acceptance_length", plain, "tokens", `${percent(summary.draft_acceptance_rate)} of ${whole(summary.drafts)} drafts accepted`);
  add("Output tokens/s", "output_tokens_per_s", plain, "", `${plain(summary.output_tokens_per_s_per_gpu)} a GPU`);
  add("Requests/s", "requests_per_s", plain, "", "goodput.requests_per_s" in summary ? `${plain(summary["goodput.requests_per_s"])} within limits` : `over ${span(summary.duration_s)}`);
  add("Completed", "completed", whole, "", completedSub());
  add("Prefix reuse", "prefix_reuse", percent, "", `${whole(summary.preemptions)} ${summary.preemptions === 1 ? "preemption" : "preemptions"}`);
  for (const pool of ["", ".prefill", ".decode"]) {
    const whose = pool ? `${pool.slice(1)}: ` : "";
    add("Barrier waits", `barrier_wait_share${pool}`, percent, "", `${whose}of data ranks' time in passes`);
    add("Pipeline bubbles", `bubble_share${pool}`, percent, "", `${whose}of stages' time while passes are under way`);
  }
  if ("cost_per_million_output_tokens" in summary) add("Cost per 1M output tokens", "cost_per_million_output_tokens", plain, "", `${plain(summary.gpu_hours)} GPU-hours`);
  else add("GPU-hours", "gpu_hours", plain, "", `${whole(summary.gpus)} ${summary.gpus === 1 ? "GPU" : "GPUs"}`);
  return h("div", { class: "tiles" }, found);
}

/** Where the metric lies in so many of the replications. */
function rangeOf(key, text) {
  const found = view.intervals?.metrics[key];
  return found ? h("div", { class: "sub", "data-interval": key }, `${percent(view.intervals.confidence, 0)}: ${text(found.low)} to ${text(found.high)}`) : null;
}

function completedSub() {
  const lost = ["rejected", "unfinished"].filter((name) => summary[name]).map((name) => `${whole(summary[name])} ${name}`);
  return lost.join(" · ") || `all of ${whole(summary.requests)}`;
}

// ---------------------------------------------------------------------------------------------- latency

function latencySection() {
  const grid = h("div", { class: "grid" });
  const parts = ["ttft_ms", "tpot_ms", "itl_ms", "e2e_ms"].map((metric) => distribution(metric)).filter(Boolean);
  grid.append(...parts.map((part) => part.element));
  const head = section("latency", ["Latency"], "Of completed requests that arrived in the measured interval.", grid, statistics(), intervals());
  parts.forEach((part) => part.mount());
  return head;
}

function distribution(metric) {
  const about = LATENCIES[metric];
  const pooled = metric === "itl_ms";
  if (pooled && !("itl_ms.p50" in summary)) return null;
  const curve = () => (pooled ? null : group.curves[metric]);
  const xs = () => (pooled ? Object.keys(PERCENTS).map((name) => summary[`itl_ms.${name}`]) : curve() || []);
  const ys = pooled ? Object.values(PERCENTS) : view.curve;
  const wide = () => {
    const found = xs().filter((value) => value > 0);
    return found.length > 1 && found.at(-1) / found[Math.floor(found.length / 2)] > 8;
  };
  const axis = (kind) => {
    const found = extent([kind === "log" ? xs().filter((value) => value > 0) : xs()]) || [0, 1];
    return { kind, title: metric, show: msTick, exact: ms, domain: kind === "log" ? found : [0, found[1] || 1], room: kind === "log" ? 74 : 86 };
  };
  let kind = wide() ? "log" : "linear";
  const series = () => [{ name: about.name, color: COLORS[0], x: xs(), y: xs().length ? ys : [], dots: pooled, width: 2 }];
  const set = (change) => (made) => made().update({ x: axis(kind), series: series(), ...change });
  const part = figure(about.title, about.caption,
    [(made) => logButton(kind === "log", (next) => { kind = next; set({})(made); }, "x-axis"),
      (made) => tailButton((next) => made().update({ y: shares(next) }))],
    (host) => {
      const made = chart(host, {
        label: `Distribution of ${about.title.toLowerCase()}`, x: axis(kind), y: shares("linear"), series: series(), hover: "row",
        rules: ruleOf(view, metric, "x"), heading: (_, share) => percentile(share), height: 220,
      });
      if (!pooled) followers.push(() => made.update({ x: axis(kind), series: series() }));
      return made;
    });
  part.element.dataset.chart = `cdf-${metric}`;
  return part;
}

/** Beside the latencies that the page draws, where a run has them: of all requests only. */
const MORE = {
  handover_ms: { title: "Hand-over time" }, transfer_ms: { title: "KV transfer time" }, chunk_itl_ms: { title: "Chunk ITL" }, trajectory_ms: { title: "Trajectory time" },
};

/** Of all requests from the summary, to the last digit; of a group as aggregated for the page. */
function statistics() {
  const names = ["mean", "p50", "p90", "p95", "p99", "max"];
  const rows = () => Object.entries({ ...LATENCIES, ...MORE }).filter(([metric]) => group === all ? `${metric}.mean` in summary : group.stats[metric]?.count)
    .map(([metric, about]) => ({ metric, name: about.title, count: group === all ? summary[`${metric}.count`] : group.stats[metric].count,
      ...Object.fromEntries(names.map((name) => [name, group === all ? summary[`${metric}.${name}`] : group.stats[metric][name]])) }));
  const table = sortable([
    { key: "name", title: "Milliseconds" }, { key: "count", title: "samples", number: true, show: (row) => whole(row.count) },
    ...names.map((name) => ({ key: name, title: name, number: true, show: (row) => datum(row[name], plain(row[name])) })),
  ], rows(), { label: "Statistics of latencies" });
  followers.push(() => table.update(rows()));
  const element = card("Percentiles", null, copyMenu(table.data), table.element);
  element.dataset.table = "latency";
  return element;
}

/** What replications say, and which source of error moves it. */
function intervals() {
  if (!view.intervals) return null;
  const share = (name) => ({ key: name, title: name, number: true, show: (row) => (known(row[name]) ? percent(row[name], 0) : "–") });
  const number = (key) => ({ key, title: key, number: true, show: (row) => datum(row[key], plain(row[key])) });
  const rows = Object.entries(view.intervals.metrics).filter(([name]) => known(summary[name]))
    .map(([name, one]) => ({ name, value: Number(summary[name]), ...one, timing: one.shares?.timing, workload: one.shares?.workload }));
  const table = sortable([{ key: "name", title: "metric", show: (row) => h("code", {}, row.name) },
    ...["value", "low", "high", "median", "std"].map(number), share("timing"), share("workload")], rows, { label: "Intervals of metrics" });
  const element = card("Intervals", `${percent(view.intervals.confidence, 0)} of what ${view.intervals.count} replications give; timing and workload: shares of the variance`, copyMenu(table.data), table.element);
  element.dataset.table = "intervals";
  return element;
}

// ---------------------------------------------------------------------------------------------- over time

function timeSection() {
  const parts = [bandChart("ttft_ms"), bandChart("tpot_ms"), requestsChart(), tokensChart("input", COLORS[5]), tokensChart("output", COLORS[3])];
  parts[2].element.classList.add("wide");
  const grid = h("div", { class: "grid" }, parts.map((part) => part.element));
  const note = `In bins of ${span(bins.width_s)}, since the first arrival.${outside.length ? " Shaded: not measured." : ""} Drag to zoom all; double click to go back.`;
  const element = section("time", ["Over time"], note, grid);
  parts.forEach((part) => part.mount());
  return element;
}

function overTime(title, caption, name, spec, tools = []) {
  const part = figure(title, caption, tools, (host) => {
    const made = chart(host, {
      label: `${title} over time`, x: timeAxis(bins.length_s), link: "time", shades: outside,
      heading: (place) => `${moment(place * bins.width_s, bins.width_s)} – ${moment(place * bins.width_s + bins.seconds[place], Math.min(bins.width_s, bins.seconds[place] < bins.width_s ? 0.1 : bins.width_s))}`,
      ...spec(),
    });
    followers.push(() => made.update(spec()));
    return made;
  });
  part.element.dataset.chart = name;
  return part;
}

function bandChart(metric) {
  const about = LATENCIES[metric];
  const peak = all.bands[metric].p99.filter(known);
  const typical = [...all.bands[metric].p50.filter(known)].sort((a, b) => a - b)[Math.floor(all.bands[metric].p50.filter(known).length / 2)] || 1;
  let kind = Math.max(...peak, 0) / typical > 60 ? "log" : "linear";
  const spec = () => {
    const band = group.bands[metric];
    const area = (name, low, high, opacity) => ({ name, upper: high, color: COLORS[0], x: mids, low: band[low], y: band[high], opacity, block: true, show: ms });
    return {
      y: { kind, title: metric, show: msTick, exact: ms }, rules: ruleOf(view, metric, "y"),
      series: [area("p95–p99", "p95", "p99", 0.13), area("p90–p95", "p90", "p95", 0.24), area("p50–p90", "p50", "p90", 0.4),
        { name: "p50", color: COLORS[0], x: mids, y: band.p50, width: 1.8, show: ms }],
    };
  };
  return overTime(about.title, "Percentiles of the requests that arrived in each bin", `bands-${metric}`, spec,
    [(made) => logButton(kind === "log", (next) => { kind = next; made().update(spec()); }, "y-axis")]);
}

const rate = (counts) => counts.map((count, n) => count / bins.seconds[n]);

function requestsChart() {
  const spec = () => {
    const { arrived, completed, failed } = group.traffic;
    const series = [
      { name: "arrived", color: COLORS[0], x: mids, y: rate(arrived) },
      { name: "completed", color: COLORS[2], x: mids, y: rate(completed) },
    ];
    if (failed.some(Boolean)) series.push({ name: "arrived, but did not complete", color: COLORS[1], x: mids, y: rate(failed) });
    return { y: { kind: "linear", title: "requests_per_s", show: rateShow, exact: (value) => `${plain(value)} /s` }, series };
  };
  return overTime("Requests per second", "By their arrival, and by their completion", "requests", spec);
}

function tokensChart(kind, color) {
  const spec = () => ({
    y: { kind: "linear", title: `${kind}_tokens_per_s`, show: rateShow, exact: (value) => `${plain(value)} /s` },
    series: [{ name: `${kind} tokens`, color, x: mids, y: rate(group.traffic[`${kind}_tokens`]) }],
  });
  return overTime(`${kind === "input" ? "Input" : "Output"} tokens per second`, "Counted when their request completes", `${kind}-tokens`, spec);
}

// ---------------------------------------------------------------------------------------------- prefix cache

function cacheSection() {
  const names = Array.from({ length: 20 }, (_, n) => `${n * 5}–${n * 5 + 5} %`);
  const reused = () => group.traffic.cached_tokens.map((cached, n) => (group.traffic.prompt_tokens[n] ? cached / group.traffic.prompt_tokens[n] : null));
  const over = overTime("Prefix reuse", "Share of input tokens found in the prefix cache, by arrival", "reuse",
    () => ({ y: { kind: "linear", title: "prefix_reuse", show: shareTick, exact: percent, most: 1 }, series: [{ name: "reused", color: COLORS[2], x: mids, y: reused() }] }));
  const spread = figure("Requests by their reuse", "How much of its prompt each request found in the cache", [], (host) => {
    const made = bars(host, { label: "Requests by the share of their prompt that was cached", counts: group.reuse, names, ticks: [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]],
      shown: (counts, n) => `${whole(counts[n])} requests, ${percent(counts[n] / Math.max(counts.reduce((a, b) => a + b, 0), 1))}` });
    followers.push(() => made.update(group.reuse));
    return made;
  });
  spread.element.dataset.chart = "reuse-spread";
  const element = section("cache", ["Prefix cache", "Cache"], null, h("div", { class: "grid" }, over.element, spread.element), sourceCard());
  over.mount();
  spread.mount();
  return element;
}
