"use strict";
// The page of one trial.

/** What all charts by load have in common. */
function byLoad(title, caption, name, kinds, of) {
  const lines = of.flatMap(({ trial, color, prefix }) => {
    const held = trial.runs.filter(isWhole);
    return kinds.filter((kind) => held.some((run) => known(figureOf(run, kind.key)))).map((kind) => ({
      name: prefix ? `${prefix}${kinds.length > 1 ? ` ${kind.name}` : ""}` : kind.name, color: color || kind.color, dash: prefix ? kind.dash : null, width: kind.width || 1.8,
      x: held.map((run) => run.load), y: held.map((run) => figureOf(run, kind.key)), show: (value) => shown(kind.key, value),
    }));
  });
  const rules = kinds.filter((kind) => limited[kind.key]).map((kind) => ({ axis: "y", at: limited[kind.key], label: `${kind.name || "limit"} ≤ ${shown(kind.key, limited[kind.key])}` }));
  const latency = kinds[0].key.includes("_ms.");
  const values = lines.flatMap((line) => line.y.filter((value) => known(value) && value > 0)).sort((a, b) => a - b);
  // Beyond what a deployment can take, latency hides all that lies below.
  const kind = latency && values.length && values.at(-1) / values[Math.floor(values.length / 4)] > 20 ? "log" : "linear";
  const axis = { kind, title: kinds[0].key, show: latency ? msTick : rateShow, exact: (value) => shown(kinds[0].key, value) };
  const loads = lines.flatMap((line) => line.x);
  const [low, high] = extent([loads]) || [1, 1];
  const part = figure(title, caption, [(made) => logButton(kind === "log", (next) => made().update({ y: { ...axis, kind: next } }), "y-axis")], (host) => chart(host, {
    label: `${title} by load`, x: { kind: high / low > 4 ? "log" : "linear", title: "load", show: short }, y: axis, series: lines, rules, link: "load", heading: (_, load) => `load ${short(load)}`, height: 220, empty: "Not run on the whole workload",
  }));
  part.element.dataset.chart = name;
  return part;
}

function loadCharts(of) {
  const percentiles = (metric) => [{ key: `${metric}.p50`, name: "p50", color: COLORS[2], dash: "2 3" }, { key: `${metric}.p95`, name: "p95", color: COLORS[0] }, { key: `${metric}.p99`, name: "p99", color: COLORS[1], dash: "6 3", width: 1.2 }];
  const pair = (metric) => (of.length > 1 ? percentiles(metric).slice(1, 2) : percentiles(metric));
  const one = (key) => [{ key, name: metricOf.get(key)?.title ?? key, color: COLORS[0] }];
  return [
    byLoad("Time to first token", of.length > 1 ? "95th percentile" : "Percentiles by load", "load-ttft", pair("ttft_ms"), of),
    byLoad("Time per output token", of.length > 1 ? "95th percentile" : "Percentiles by load", "load-tpot", pair("tpot_ms"), of),
    byLoad("Output tokens/s/GPU", "What is done", "load-throughput", one(THROUGHPUT), of),
    byLoad("Output tokens/s/user", "How fast the median request is written", "load-speed", one(SPEED), of),
  ];
}

function trialView(trial) {
  const best = bestOf(trial);
  const [word, kind, full] = fateOf(trial);
  const others = [...trials.values()].filter((other) => other !== trial);
  const compare = h("select", { "aria-label": "Compare with", "data-choice": "compare", onchange: () => { location.hash = `compare-${trial.number}-${compare.value}`; } },
    h("option", { value: "" }, "Compare with …"), [...new Set([chosen?.trial, ...answer.map((run) => run.trial), ...others])].filter((other) => other && other !== trial)
      .map((other) => h("option", { value: String(other.number) }, `${other.number}${other === chosen?.trial ? " (the choice)" : ""}: ${inWords(other)}`)));
  const head = h("div", { class: "view-head" }, h("a", { href: "#frontier" }, "← All trials"), h("h2", { tabindex: "-1" }, nameOf(trial)), fateChip(trial), h("span", { class: "spacer" }), others.length ? compare : null);
  const several = trial.runs.filter(isWhole).length > 1;
  const parts = several ? loadCharts([{ trial }]) : [];
  const element = h("section", { "data-trial": String(trial.number) }, head, h("p", { class: "soft" }, inWords(trial)), word === "decided" ? null : h("p", { class: `note ${kind === "warn" ? "warned" : ""}` }, full),
    best ? [h("p", { class: "note" }, `At ${loadText(best)}${isParts(best) ? `, on ${best.on} only` : ""}: `, levelOf(best)), tiles(best)] : h("p", { class: "note" }, "It was never run."),
    h("div", { class: "grid" }, choicesCard(trial), specCard(trial)),
    explanationCards(trial),
    best ? [figuresCard(trial), several ? h("div", { class: "grid" }, parts.map((part) => part.element)) : null] : null,
    launchCard(trial));
  return { element, title: `${nameOf(trial)}: ${inWords(trial)}`, mount() { if (several) parts.forEach((part) => part.mount()); } };
}

/** What was chosen on each axis, first where it differs from the study's choice. */
function choicesCard(trial) {
  const rows = DATA.axes.map((axis, n) => ({ path: axis.path, value: axis.values[trial.at[n]], choice: chosen ? axis.values[chosen.trial.at[n]] : null, fixed: axis.values.length < 2 }))
    .sort((a, b) => (b.choice !== b.value) - (a.choice !== a.value) || a.fixed - b.fixed);
  const compared = chosen && chosen.trial !== trial;
  const table = sortable([{ key: "path", title: "field", show: (row) => h("code", {}, row.path) }, { key: "value", title: "here", show: (row) => (compared && row.value !== row.choice ? h("b", {}, row.value) : row.value) },
    ...(compared ? [{ key: "choice", title: "in the choice", show: (row) => h("span", { class: "soft" }, row.choice) }] : [])], rows, { label: "What was chosen" });
  const element = card("What varies", compared ? "What differs from the study's choice comes first" : null, copyMenu(table.data), table.element);
  element.dataset.table = "choices";
  return element;
}

function specCard(trial) {
  const text = yamlOf(specOf(trial));
  const element = card("Spec", "Whole: save it beside the study's spec, and servetwin simulate runs it", h("button", { type: "button", class: "tool", onclick: () => copy(text, "the spec") }, "Copy YAML"),
    h("pre", { tabindex: "0", "aria-label": "The spec" }, text));
  element.dataset.part = "spec";
  return element;
}

/** What starts it, for each target that can run it. */
function launchCard(trial) {
  const targets = DATA.launch[trial.number];
  if (!targets) return null;
  let target = Object.keys(targets)[0];
  const host = h("div");
  const line = h("p", { class: "caption" });
  const draw = () => {
    const { files, notes } = targets[target];
    line.replaceChildren("Also by ", h("code", {}, `servetwin deploy ${DATA.folder} ${trial.number} --to ${target} --out launch`), ", with the requests that verify it");
    host.replaceChildren(...Object.entries(files).map(([name, text], n) => h("details", { open: n === 0, "data-file": name },
      h("summary", {}, h("code", {}, name), " ", h("button", { type: "button", class: "tool", onclick: (event) => { event.preventDefault(); copy(text, name); } }, "Copy")), h("pre", { tabindex: "0", "aria-label": name }, text))),
    ...notes.map((note) => h("p", { class: "note" }, note)));
  };
  draw();
  const element = card("Launch files", null, segments("Target", Object.fromEntries(Object.keys(targets).map((name) => [name, name])), target, (next) => { target = next; draw(); }), line, host);
  element.dataset.part = "launch";
  return element;
}

const FIGURES = ["requests_per_s", "output_tokens_per_s", THROUGHPUT, SPEED, "goodput.requests_per_s", "slo.attainment", "ttft_ms.p50", "ttft_ms.p95", "ttft_ms.p99", "tpot_ms.p50", "tpot_ms.p95", "tpot_ms.p99", "itl_ms.p99",
  "e2e_ms.p50", "e2e_ms.p95", "queue_ms.p95", "prefix_reuse", "preemptions", "completed", "rejected", "unfinished", "cost_per_million_output_tokens"];

/** Every figure as a row, every load as a column: what is to be compared stands side by side. */
function figuresCard(trial) {
  const held = trial.runs.some(isWhole) ? trial.runs.filter(isWhole) : trial.runs;
  const level = { key: "service level", title: DATA.slo ? "Service level" : "Keeps up" };
  const rows = [level, ...FIGURES.filter((key) => metricOf.has(key) && held.some((run) => known(figureOf(run, key)))).map((key) => ({ key, title: metricOf.get(key).title }))];
  const cell = (run, row) => {
    if (row === level) return h("span", { class: run.misses ? "bad" : "good", title: run.misses }, run.misses ? "no" : "yes");
    const value = figureOf(run, row.key);
    return h("span", { class: limited[row.key] && value > limited[row.key] ? "bad" : "" }, datum(value, bare(row.key, value)), h("div", { class: "soft small" }, intervalText(run, row.key).replace(/ ms$/, "")));
  };
  const table = sortable([{ key: "title", title: LOAD.title, value: (row) => row.key, show: (row) => row.title },
    ...held.map((run) => ({ key: String(run.load), title: `${short(run.load)}${answer.includes(run) ? " ◆" : ""}`, number: true, value: (row) => (row === level ? run.misses || "met" : figureOf(run, row.key)), show: (row) => cell(run, row) }))],
  rows, { label: "Figures by load", turned: true });
  table.element.style.maxHeight = "none";
  const caption = `${isWhole(held[0]) ? "On the whole workload" : `On ${held[0].on} only`}. ◆: in the answer. Red: over its limit`;
  const element = card("Figures by load", caption, copyMenu(table.data), table.element);
  element.dataset.table = "figures";
  return element;
}
