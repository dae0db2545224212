"use strict";
// The study as a whole: the choice, all points, and the ranking.

/** Values of an axis that are looked at; none chosen means all. */
const filters = new Map(DATA.axes.map((axis) => [axis.path, new Set()]));
const show = { missed: true, parts: !answer.length };
const passes = (trial) => DATA.axes.every((axis, n) => !filters.get(axis.path).size || filters.get(axis.path).has(trial.at[n]));
const MANY_VALUES = 12;
/** Called when filters change. */
const refreshed = [];

function header() {
  const facts = [[{ cheapest: "Cheapest", goodput_per_gpu: "Most goodput per GPU", goodput_per_dollar: "Most goodput per dollar", frontier: "Frontier" }[DATA.objective], "looked for"],
    [whole(DATA.account.combinations), "combinations"], [`${whole(DATA.requests)} requests`, DATA.trace ? `from ${String(DATA.trace).split(/[\\/]/).pop()}` : `generated (${DATA.workload})`], [DATA.engine, "engine"]];
  document.getElementById("header").append(
    h("p", { class: "over" }, "servetwin plan"), h("h1", {}, DATA.title),
    h("p", { class: "facts" }, facts.map(([strong, rest]) => h("span", {}, h("b", {}, strong), ` ${rest}`))),
    h("div", { class: "verdict" }, h("span", { class: `chip ${chosen ? "good" : "bad"}` }, chosen ? "Found" : "Nothing meets the service level"), h("span", { class: "soft" }, sloText())),
    h("p", { class: "said" }, DATA.verdict), chosen ? tiles(chosen) : null,
    chosen ? h("p", { class: "note" }, trialLink(chosen.trial, `Open trial ${chosen.trial.number}`), `: ${inWords(chosen.trial)}`) : null);
}

function tiles(run) {
  const tile = (label, key, sub) => {
    const value = figureOf(run, key);
    if (!known(value)) return null;
    const share = limited[key] ? value / limited[key] : null;
    const metric = metricOf.get(key);
    const unit = metric?.title.endsWith("(ms)") ? "ms" : null;
    return h("div", { class: "tile", "data-metric": key }, h("div", { class: "label" }, label), h("div", { class: "value" }, datum(value, metric?.kind === "share" ? percent(value) : plain(value), unit)), h("div", { class: "sub" }, intervalText(run, key) || sub || " "),
      share === null ? null : h("div", { class: `meter ${share > 1 ? "over-limit" : ""}`, title: `${percent(share)} of the limit` }, h("i", { style: `width:${Math.min(share, 1) * 100}%` })));
  };
  const of = (key, text) => (known(figureOf(run, key)) ? `${shown(key, figureOf(run, key))} ${text}` : "");
  return h("div", { class: "tiles" },
    tile("GPUs", "gpus", known(run.trial.cost_per_hour) ? `$${plain(run.trial.cost_per_hour)} an hour` : ""), tile(DATA.load === "users" ? "Users" : "Load", "load", DATA.load === "users" ? "in a closed loop" : "× the workload as it is"),
    tile("Output tokens/s/GPU", THROUGHPUT, of("output_tokens_per_s", "in all")), tile("Output tokens/s/user", SPEED, "median request"),
    tile("TTFT p95", "ttft_ms.p95", of("ttft_ms.p50", "at p50")), tile("TPOT p95", "tpot_ms.p95", of("tpot_ms.p50", "at p50")),
    tile("$ per 1M output tokens", "cost_per_million_output_tokens", of("gpu_hours", "GPU-hours")), tile("Prefix reuse", "prefix_reuse", of("preemptions", "preemptions")));
}

// ---------------------------------------------------------------------------------------------- points

/** Colours by the value of an axis: eight of their own, of more a ramp. */
function palette(count) {
  return (place) => (count <= COLORS.length ? COLORS[place] : `color-mix(in oklab, ${COLORS[0]}, ${COLORS[1]} ${Math.round((place / (count - 1)) * 100)}%)`);
}

function colourings() {
  const found = { none: { title: "nothing", keys: [], of: () => 0 } };
  DATA.axes.forEach((axis, n) => {
    if (axis.values.length > 1) found[axis.path] = { title: axis.name, keys: axis.values, of: (run) => run.trial.at[n] };
  });
  const gpus = [...new Set(DATA.trials.map((trial) => trial.gpus))].sort((a, b) => a - b);
  if (gpus.length > 1) found.gpus = { title: "GPUs", keys: gpus.map(String), of: (run) => gpus.indexOf(run.trial.gpus) };
  return found;
}

/** The choice among axes that tells the runs on the whole workload apart best at a glance: the first with a few values. */
function firstColouring(all) {
  const seen = runs.filter(isWhole);
  const telling = Object.entries(all).find(([, one]) => { const count = new Set(seen.map(one.of)).size; return count > 1 && count <= COLORS.length; });
  return telling ? telling[0] : "none";
}

function selectOf(label, choices, now, choose) {
  const select = h("select", { "data-choice": label.toLowerCase(), onchange: () => choose(select.value) }, Object.entries(choices).map(([key, text]) => h("option", { value: key, selected: key === now }, text)));
  return h("label", { class: "choice" }, `${label} `, select);
}

function toggle(text, now, turn, title) {
  const button = h("button", { type: "button", class: "tool", "aria-pressed": String(now), title, onclick: () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    turn(on);
  } }, text);
  return button;
}

function pointsSection() {
  const colours = colourings();
  const state = { x: DATA.objective === "cheapest" ? "ttft_ms.p95" : SPEED, y: DATA.objective === "cheapest" ? (SETUP.at(-1)?.key ?? THROUGHPUT) : THROUGHPUT, color: firstColouring(colours), log: { x: false, y: false } };
  if (state.y === "cost_per_hour" || state.y === "gpus") [state.x, state.y] = [state.y, state.x];
  const host = h("div");
  const key = h("div", { class: "phases keys" });
  const names = Object.fromEntries(metrics.map((metric) => [metric.key, metric.title]));
  const visible = () => runs.filter((run) => passes(run.trial) && (isWhole(run) ? show.missed || !run.misses : show.parts) && known(figureOf(run, state.x)) && known(figureOf(run, state.y)));
  const axisOf = (which) => ({ kind: state.log[which] ? "log" : "linear", title: names[state[which]], show: (value) => (metricOf.get(state[which]).kind === "share" ? shareTick(value) : short(value)) });
  const pointOf = (run) => {
    const colour = colours[state.color];
    return { run, x: figureOf(run, state.x), y: figureOf(run, state.y), color: palette(colour.keys.length)(colour.of(run)), look: isParts(run) ? "parts" : run.misses ? "missed" : "met", ring: run === chosen, wide: wideOf(run) };
  };
  const wideOf = (run) => { const [x, y] = [intervalOf(run, state.x), intervalOf(run, state.y)]; return x || y ? { x, y } : null; };
  const positive = (point) => (!state.log.x || point.x > 0) && (!state.log.y || point.y > 0);
  const drawn = () => {
    // The least known first, so that it lies below.
    const order = (run) => (isParts(run) ? 0 : run.misses ? 1 : 2);
    const points = visible().sort((a, b) => order(a) - order(b)).map(pointOf).filter(positive);
    const good = points.filter((point) => point.look === "met").map((point) => point.run);
    const rules = ["x", "y"].filter((which) => limited[state[which]]).map((axis) => ({ axis, at: limited[state[axis]], label: `limit ${shown(state[axis], limited[state[axis]])}` }));
    return { label: `${names[state.y]} against ${names[state.x]}`, x: axisOf("x"), y: axisOf("y"), points, line: front(good, state.x, state.y).map(pointOf).filter(positive), rules };
  };
  const drawKey = (now) => {
    const colour = colours[state.color];
    const used = new Set(now.points.map((point) => colour.of(point.run)));
    const entry = (style, text, mark = "") => h("span", {}, h("i", { class: mark, style }), text);
    const looks = new Set(now.points.map((point) => point.look));
    key.replaceChildren(...colour.keys.map((name, place) => (used.has(place) ? entry(`--c:${palette(colour.keys.length)(place)}`, `${colour.title} ${name}`, "dot met") : "")),
      looks.has("missed") ? entry("--c:var(--soft)", DATA.slo ? "misses the service level" : "does not keep up", "dot missed") : "",
      looks.has("parts") ? entry("--c:var(--soft)", "on a part of the workload only", "dot parts") : "",
      chosen && looks.has("met") ? entry("--c:var(--ink)", "the choice", "dot ring") : "",
      now.points.some((point) => point.wide) ? entry("--c:var(--ink)", "what most replications hold", "cross") : "",
      now.line.length > 1 ? entry("", "not beaten in both figures, of those shown", "dash") : "");
  };
  let made = null;
  const update = () => {
    const now = drawn();
    made.update(now);
    drawKey(now);
  };
  refreshed.push(update);
  const log = (axis) => toggle(`log ${axis}`, false, (on) => { state.log[axis] = on; update(); }, `Logarithmic ${axis}-axis`);
  const choices = h("div", { class: "choices" },
    selectOf("X", names, state.x, (next) => { state.x = next; update(); }), selectOf("Y", names, state.y, (next) => { state.y = next; update(); }),
    selectOf("Colour", Object.fromEntries(Object.entries(colours).map(([path, one]) => [path, one.title])), state.color, (next) => { state.color = next; update(); }), log("x"), log("y"));
  const data = () => {
    const held = visible();
    return { columns: ["trial", ...DATA.axes.map((axis) => axis.path), "load", "share", "misses", ...metrics.filter((metric) => metric !== LOAD).map((metric) => metric.key)],
      rows: held.map((run) => [run.trial.number, ...DATA.axes.map((axis, n) => axis.values[run.trial.at[n]]), run.load, run.share, run.misses, ...metrics.filter((metric) => metric !== LOAD).map((metric) => figureOf(run, metric.key))]) };
  };
  const caption = "A point is a trial under a load. Press one to open its trial; drag to zoom, double click to go back.";
  const element = card("Trials under every load", caption, copyMenu(data), choices, filterRow(), host, key,
    DATA.left_out.length ? h("p", { class: "note" }, `So many are not carried here: ${DATA.left_out.join(", ")}; trials.parquet holds all.`) : null);
  element.dataset.chart = "points";
  const found = section("frontier", [DATA.objective === "frontier" ? "Frontier" : "Points", "Points"], null, element);
  made = scatter(host, { ...drawn(), tip: (point) => tipOf(point.run), pick: (point) => { location.hash = `trial-${point.run.trial.number}`; },
    paths: (point) => (isParts(point.run) ? [] : point.run.trial.runs.filter((run) => isWhole(run) && (show.missed || !run.misses)).map(pointOf)) });
  drawKey(drawn());
  return found;
}

function tipOf(run) {
  const rows = [THROUGHPUT, SPEED, "ttft_ms.p95", "tpot_ms.p95", "cost_per_million_output_tokens", "gpus"].filter((key) => known(figureOf(run, key)));
  return [h("b", {}, `${nameOf(run.trial)} at ${loadText(run)}`), ...settingsOf(run.trial).map(([name, value]) => h("span", {}, h("em", {}, name), value)), h("hr"),
    ...rows.map((key) => h("span", {}, h("em", {}, metricOf.get(key).title), shown(key, figureOf(run, key)), h("small", {}, intervalText(run, key)))),
    h("div", { class: run.misses ? "bad" : "good" }, run.misses || (DATA.slo ? "meets the service level" : "keeps up")),
    isParts(run) ? h("div", { class: "soft" }, `on ${run.on}; ${fateOf(run.trial)[0]}`) : ""];
}

/** Buttons that narrow everything down to values of the axes. */
function filterRow() {
  const row = h("div", { class: "filters" });
  const changed = () => { draw(); refreshed.forEach((refresh) => refresh()); };
  const wanted = (axis) => filters.get(axis.path);
  function chips(axis, n) {
    const press = (place) => { if (!wanted(axis).delete(place)) wanted(axis).add(place); changed(); };
    return h("div", { class: "filter", role: "group", "aria-label": axis.name, "data-axis": axis.path }, h("span", { class: "soft" }, axis.name),
      axis.values.length > MANY_VALUES
        ? h("select", { "aria-label": axis.name, onchange: (event) => { wanted(axis).clear(); if (event.target.value !== "") wanted(axis).add(Number(event.target.value)); changed(); } },
          h("option", { value: "" }, "all"), axis.values.map((value, place) => h("option", { value: String(place), selected: wanted(axis).has(place) }, value)))
        : axis.values.map((value, place) => h("button", { type: "button", class: "tool", "aria-pressed": String(wanted(axis).has(place)), onclick: () => press(place) }, value)));
  }
  function draw() {
    const focused = row.contains(document.activeElement) ? [...row.querySelectorAll("button, select")].indexOf(document.activeElement) : -1;
    const held = runs.filter((run) => passes(run.trial));
    row.replaceChildren(...axes.map((axis) => chips(axis, DATA.axes.indexOf(axis))),
      h("div", { class: "filter", role: "group", "aria-label": "Runs" },
        toggle(DATA.slo ? "misses shown" : "overload shown", show.missed, (on) => { show.missed = on; changed(); }, "Runs that miss the service level"),
        runs.some(isParts) ? toggle("parts shown", show.parts, (on) => { show.parts = on; changed(); }, "Trials that were only looked at on parts of the workload") : null,
        [...filters.values()].some((set) => set.size) ? h("button", { type: "button", class: "tool", onclick: () => { filters.forEach((set) => set.clear()); changed(); } }, "clear filters") : null,
        h("span", { class: "soft" }, `${whole(new Set(held.map((run) => run.trial)).size)} of ${whole(trials.size)} trials`)));
    if (focused >= 0) row.querySelectorAll("button, select")[focused]?.focus();
  }
  draw();
  return row;
}

// ---------------------------------------------------------------------------------------------- the ranking

const RANKED = [THROUGHPUT, SPEED, "ttft_ms.p95", "tpot_ms.p95", "cost_per_million_output_tokens"];
const RANKED_TITLES = { [THROUGHPUT]: "tokens/s/GPU", [SPEED]: "tokens/s/user", "ttft_ms.p95": "TTFT p95", "tpot_ms.p95": "TPOT p95", cost_per_million_output_tokens: "$/M tokens" };
/** Trials that are ticked to be set side by side. */
const ticked = [];

/** A name that may be broken where its words end. */
const breakable = (name) => name.split(/(?<=[_.])/).flatMap((part, n) => (n ? [h("wbr"), part] : [part]));

function rankingSection() {
  let kind = answer.length ? "answer" : "all";
  const rows = () => (kind === "answer" ? answer : [...trials.values()].map(bestOf).filter(Boolean)).filter((run) => passes(run.trial)).map((run) => ({ run, place: answer.indexOf(run) }));
  const compareButton = h("button", { type: "button", class: "tool", hidden: true, onclick: () => { location.hash = `compare-${ticked.join("-")}`; } });
  const tick = (trial, box) => {
    if (box.checked) ticked.push(trial.number);
    else ticked.splice(ticked.indexOf(trial.number), 1);
    while (ticked.length > 2) ticked.shift();
    // A trial of a frontier has a row for each of its loads.
    for (const other of element.querySelectorAll("input[type=checkbox]")) other.checked = ticked.includes(Number(other.value));
    compareButton.hidden = ticked.length < 2;
    compareButton.textContent = `Compare ${ticked.join(" and ")}`;
  };
  const columns = [
    { key: "compare", title: "", unsorted: true, show: ({ run }) => h("input", { type: "checkbox", value: String(run.trial.number), "aria-label": `Compare trial ${run.trial.number}`, checked: ticked.includes(run.trial.number), onclick: (event) => { event.stopPropagation(); tick(run.trial, event.target); } }) },
    { key: "trial", title: "trial", value: ({ run }) => run.trial.number, show: ({ run }) => trialLink(run.trial, String(run.trial.number)) },
    ...DATA.axes.map((axis, n) => ({ key: axis.path, title: breakable(axis.name), value: ({ run }) => run.trial.at[n], show: ({ run }) => axis.values[run.trial.at[n]], skip: axis.values.length < 2 })).filter((column) => !column.skip),
    ...[...SETUP.map(({ key }) => key), "load", ...RANKED].filter((key) => metricOf.has(key)).map((key) => ({ key, title: RANKED_TITLES[key] || { gpus: "GPUs", cost_per_hour: "$/h", load: DATA.load === "users" ? "users" : "load" }[key], number: true, value: ({ run }) => figureOf(run, key),
      show: ({ run }) => datum(figureOf(run, key), plain(figureOf(run, key))) })),
    { key: "service level", title: "service level", value: ({ run }) => run.misses || "", show: ({ run }) => levelOf(run) },
    { key: "known", title: "known", value: ({ run }) => fateOf(run.trial)[0], show: ({ run }) => fateChip(run.trial) },
  ];
  const table = sortable(columns, rows(), { label: "Ranking", most: 100, pick: ({ run }) => { location.hash = `trial-${run.trial.number}`; } });
  const refresh = () => table.update(rows());
  refreshed.push(refresh);
  const word = DATA.objective === "frontier" ? "the frontier" : "the answer";
  const tools = [compareButton, answer.length && trials.size > 1 ? segments("Rows", { answer: word, all: "all that ran" }, kind, (next) => { kind = next; refresh(); }) : null, copyMenu(() => table.data())];
  const element = card(DATA.objective === "frontier" ? "The frontier, the fastest for a user first" : "Ranking, the best first", "Latencies in milliseconds. Of all that ran each at the highest load that meets the service level. Tick two to set them side by side", tools, table.element);
  element.dataset.table = "ranking";
  return section("ranking", ["Ranking"], null, element);
}
