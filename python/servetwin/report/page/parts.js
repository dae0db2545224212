"use strict";
// What the report and the comparison have in common: names, key figures, the frame of a page.

const DATA = JSON.parse(document.getElementById("data").textContent);

const LATENCIES = {
  ttft_ms: { name: "TTFT", title: "Time to first token", caption: "From arrival to the first token" },
  tpot_ms: { name: "TPOT", title: "Time per output token", caption: "Mean gap between a request's tokens" },
  itl_ms: { name: "ITL", title: "Inter-token latency", caption: "All gaps together; stored as percentiles" },
  e2e_ms: { name: "E2E", title: "Request latency", caption: "From arrival to the last token" },
  queue_ms: { name: "Queue", title: "Queue time", caption: "From arrival until first scheduled" },
};

const PERCENTS = { min: 0, p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99, max: 1 };
const COLORS = Array.from({ length: 8 }, (_, n) => `var(--s${n})`);

const percentile = (share) => (share === 1 ? "max" : share === 0 ? "min" : `p${Number((share * 100).toFixed(2))}`);
const shareTick = (value) => (value > 0.99 && value < 1 ? `${Number((value * 100).toFixed(2))} %` : `${Math.round(value * 100)} %`);
const short = (value) => Number(value.toPrecision(3)).toLocaleString("en-US");
const rateShow = (value) => (value >= 1e6 ? `${short(value / 1e6)} M` : value >= 10000 ? `${short(value / 1000)} k` : short(value));
const msTick = (value) => (value === 0 ? "0" : Math.abs(value) >= 1000 ? `${short(value / 1000)} s` : `${Number(value.toPrecision(3))} ms`);
const timeAxis = (length_s) => ({ kind: "time", title: "time_s", show: moment, domain: [0, length_s] });

/** What ran, in few words. */
function describe(view) {
  const { spec, engine, workload } = view.provenance;
  const pools = Object.entries(view.provenance.pools || {});
  const kinds = new Set(pools.length ? pools.map(([role]) => spec.pools[role].gpu ?? spec.gpu) : [spec.gpu]);
  const model = spec.model ? String(spec.model).split(/[\\/]/).pop().replace(/\.json$/, "") : "a model of its own";
  const trace = spec.workload?.trace ? String(spec.workload.trace).split(/[\\/]/).pop() : workload.kind;
  const router = spec.router?.kind === "python" ? spec.router.object : view.provenance.router?.kind;
  return {
    title: `${model} on ${whole(view.summary.gpus)} × ${[...kinds].map((gpu) => (gpu ? String(gpu).toUpperCase() : "GPU")).join(" and ")}`,
    facts: [
      [`${engine.name} ${engine.version}`, "engine"],
      ...(pools.length
        ? pools.map(([role, pool]) => [`${whole(pool.replicas)} ${role}`, `routed by ${pool.router}`])
        : [[`${whole(spec.replicas)} ${spec.replicas === 1 ? "replica" : "replicas"}`, `routed by ${router}`]]),
      [`${whole(workload.requests)} ${workload.requests === 1 ? "request" : "requests"}`, `from ${trace}`],
      [span(view.bins.length_s), "simulated"],
    ],
  };
}

function limits(summary) {
  return Object.keys(summary).filter((key) => /^slo\..+\.limit$/.test(key)).map((key) => {
    const name = key.slice(4, -6);
    const [metric, statistic] = name.split(".");
    return { name, metric, statistic, limit: summary[key], value: summary[`slo.${name}.value`], met: Boolean(summary[`slo.${name}.met`]) };
  });
}

/** Limits on each request, from the spec: {ttft_ms: 1000}. */
function requestLimits(view) {
  const slo = view.provenance.spec.slo || {};
  return Object.fromEntries(Object.entries(slo).filter(([name, value]) => name in LATENCIES && typeof value === "number"));
}

function verdict(view) {
  const { summary } = view;
  const chips = [];
  const said = [];
  if (view.status === "stalled") chips.push(["bad", "Stalled"]);
  if (!summary.completed) chips.push(["bad", "Nothing completed"]);
  if ("slo.met" in summary) {
    chips.push(summary["slo.met"] ? ["good", "SLO met"] : ["bad", "SLO missed"]);
    if ("slo.attainment" in summary) {
      const own = Object.entries(requestLimits(view)).map(([name, value]) => `${LATENCIES[name].name} ≤ ${ms(value)}`).join(", ");
      said.push(`${percent(summary["slo.attainment"], 2)} of requests within ${own}; ${percent(view.provenance.spec.slo.attainment, 0)} wanted`);
    }
    for (const one of limits(summary)) said.push(`${LATENCIES[one.metric].name} ${one.statistic} ${ms(one.value)} of ${ms(one.limit)}${one.met ? "" : " (missed)"}`);
    // Limits on statistics say nothing of requests that have no times.
    const unserved = summary.requests - summary.completed;
    if (summary.completed && unserved && !("slo.attainment" in summary)) chips.push(["warn", `${percent(unserved / summary.requests, 2)} not served`]);
  } else if (summary.completed) chips.push(["", "No service level given"]);
  return h("div", { class: "verdict" }, chips.map(([kind, text]) => h("span", { class: `chip ${kind}` }, text)), h("span", { class: "soft" }, said.join(" · ")));
}

/** The limit lines of a latency's chart. */
function ruleOf(view, metric, axis) {
  const found = limits(view.summary).filter((one) => one.metric === metric).map((one) => ({ axis, at: one.limit, label: `${one.statistic} limit ${ms(one.limit)}` }));
  const own = requestLimits(view)[metric];
  if (own !== undefined) found.push({ axis, at: own, label: `limit ${ms(own)}` });
  return found;
}

/** Pointers to the sections, and what stands at the right of the bar. */
function navigation(sections, right) {
  const links = sections.map((section) => h("a", { href: `#${section.id}` }, section.dataset.short));
  document.getElementById("bar").append(h("nav", { "aria-label": "Sections" }, links), ...right);
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links) link.toggleAttribute("aria-current", link.getAttribute("href") === `#${entry.target.id}`);
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  sections.forEach((section) => seen.observe(section));
}

function resetButton() {
  const button = h("button", { type: "button", class: "tool", hidden: true, onclick: () => {
    for (const one of charts) one.setZoom(null);
    button.hidden = true;
  } }, "Reset zoom");
  document.addEventListener("zoomed", (event) => { button.hidden = event.detail.domain === null; });
  return button;
}

/** A part of the page; `short` is its name in the bar. */
function section(id, [title, short], note, ...content) {
  const element = h("section", { id, "data-short": short || title, "aria-labelledby": `${id}-title` },
    h("div", { class: "section-head" }, h("h2", { id: `${id}-title` }, title), note ? h("p", { class: "note" }, note) : null), content);
  document.getElementById("main").append(element);
  return element;
}

/** A button that switches an axis between linear and logarithmic. */
function logButton(now, turn, axis) {
  const button = h("button", { type: "button", class: "tool", "aria-pressed": String(now), title: `Logarithmic ${axis}`, onclick: () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    turn(on ? "log" : "linear");
  } }, "log");
  return button;
}

/** A figure with a chart: `make(host)` gives the chart, which the buttons then act on. */
function figure(title, caption, tools, make) {
  const host = h("div");
  let made = null;
  const element = card(title, caption, [...tools.map((tool) => tool(() => made)), copyMenu(() => made.data())], host);
  return { element, mount() { made = make(host); return made; } };
}

/** The axis of a distribution: shares of requests, or with "tail" each further nine as far from the last. */
const shares = (kind) => ({ kind, title: "share", show: shareTick, domain: kind === "tail" ? [0, 0.9995] : [0, 1] });

function tailButton(turn) {
  const button = h("button", { type: "button", class: "tool", "aria-pressed": "false", title: "Spread the slowest per cents: each nine as much room as the one before", onclick: () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    turn(on ? "tail" : "linear");
  } }, "tail");
  return button;
}
