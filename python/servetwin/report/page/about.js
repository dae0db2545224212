"use strict";
// Classes, how requests ended, what was configured, and how well each part is known. Then the page is put together.

function classSection() {
  const groups = view.groups.filter((one) => one.kind === "class");
  if (!groups.length) return null;
  const total = (one, name) => one.traffic[name].reduce((a, b) => a + b, 0);
  const rows = groups.map((one) => ({
    class: one.label.replace(/^Class /, ""), group: one, requests: total(one, "arrived"), completed: total(one, "completed"),
    ttft_p50: one.stats.ttft_ms.p50, ttft_p95: one.stats.ttft_ms.p95, tpot_p50: one.stats.tpot_ms.p50, tpot_p95: one.stats.tpot_ms.p95, e2e_p95: one.stats.e2e_ms.p95,
    input_tokens: total(one, "input_tokens"), output_tokens: total(one, "output_tokens"),
    reuse: total(one, "cached_tokens") / Math.max(total(one, "prompt_tokens"), 1),
  }));
  const counted = (key, title) => ({ key, title, number: true, show: (row) => whole(row[key]) });
  const latency = (key, title) => ({ key, title, number: true, show: (row) => plain(row[key]) });
  const table = sortable([
    { key: "class", title: "class", show: (row) => h("button", { type: "button", class: "link" }, row.class) }, counted("requests", "requests"), counted("completed", "completed"),
    latency("ttft_p50", "TTFT p50"), latency("ttft_p95", "p95"), latency("tpot_p50", "TPOT p50"), latency("tpot_p95", "p95"), latency("e2e_p95", "E2E p95"),
    counted("input_tokens", "input tokens"), counted("output_tokens", "output tokens"), { key: "reuse", title: "reuse", number: true, show: (row) => percent(row.reuse) },
  ], rows, { label: "Classes of traffic", pick: (row) => choose(row.group) });
  const element = card("Each class", "Latencies in milliseconds. Press one to see only its requests everywhere", copyMenu(table.data), table.element);
  element.dataset.table = "classes";
  return section("classes", ["Classes of traffic", "Classes"], null, element);
}

function outcomeSection() {
  const rows = [["completed", summary.completed, ""], ["rejected", summary.rejected, ""], ["unfinished", summary.unfinished, ""]]
    .map(([ending, count, why]) => ({ ending, count, why }));
  const reasons = Object.entries(view.rejections).map(([why, count]) => ({ ending: "did not complete", count, why }));
  const table = sortable([{ key: "ending", title: "requests" }, { key: "count", title: "number", number: true, show: (row) => datum(row.count, whole(row.count)) }, { key: "why", title: "because", show: (row) => row.why }],
    [...rows, ...reasons], { label: "How requests ended" });
  const stalled = view.stalled.count
    ? h("p", { class: "note bad" }, `${whole(view.stalled.count)} hang on replicas that stopped making progress: ${view.stalled.names.join(", ")}${view.stalled.count > view.stalled.names.length ? " and more, which result.json names" : ""}`) : null;
  const failed = view.recorded_failed ? h("p", { class: "note" }, `${whole(view.recorded_failed)} of the trace's requests failed when they were recorded; here they ran like any other.`) : null;
  const element = card("By outcome", reasons.length ? "Reasons count every request of the run" : null, copyMenu(table.data), table.element, stalled, failed);
  element.dataset.table = "outcome";
  return section("outcome", ["How requests ended", "Outcome"], null, h("div", { class: "grid" }, element, serviceTable()));
}

function serviceTable() {
  const rows = limits(summary).map((one) => ({ limit: one.name, allowed: one.limit, found: one.value, met: one.met }));
  for (const [name, allowed] of Object.entries(requestLimits(view))) rows.push({ limit: `${name} of each request`, allowed, found: null, met: null });
  if ("slo.attainment" in summary) {
    const wanted = view.provenance.spec.slo.attainment;
    rows.push({ limit: "share of requests within limits", allowed: wanted, found: summary["slo.attainment"], met: summary["slo.attainment"] >= wanted, share: true });
  }
  if (!rows.length) return null;
  const number = (row, key) => (known(row[key]) ? datum(row[key], row.share ? percent(row[key], 2) : plain(row[key])) : "–");
  const table = sortable([
    { key: "limit", title: "service level" }, { key: "allowed", title: "wanted", number: true, show: (row) => number(row, "allowed") }, { key: "found", title: "found", number: true, show: (row) => number(row, "found") },
    { key: "met", title: "", value: (row) => row.met, show: (row) => (row.met === null ? "" : h("span", { class: row.met ? "good" : "bad" }, row.met ? "met" : "missed")) },
  ], rows, { label: "Service level" });
  return card("Service level", "Times in milliseconds", copyMenu(table.data), table.element);
}

/** A word for how well something is known, coloured by it. */
function evidence(word) {
  const kind = { recorded: "good", measured: "good", calibrated: "good", given: "", interpolated: "", analytic: "warn", unrecorded: "warn", extrapolated: "warn" }[word] ?? "";
  return h("span", { class: `chip ${kind}` }, word);
}

function knownSection() {
  const { engine, timing, workload, router } = view.provenance;
  const said = Object.fromEntries(view.said);
  const level = (text) => String(text || "").split(/[:\s]/)[0];
  const rows = [
    ["Schedule", level(engine.rules), `${engine.name} ${engine.version}: ${String(engine.rules).replace(/^\w+: /, "")}`],
    ["Pass times", timing.evidence, `${timing.kind}: ${Object.entries(timing.assumptions || {}).map(([name, value]) => `${name} ${value}`).join(", ")}`],
    ["KV cache", level(engine.kv_capacity), said["kv cache"]],
    ["Drafts", null, said.drafts],
    ...Object.keys(view.provenance.pools || {}).map((role) => [`Pool ${role}`, null, said[role]]),
    ["Hand-over", null, said.handover],
    ["Output limits", null, said["max tokens"]],
    ["Workload", null, said.workload],
    ["Router", null, Object.entries(router || {}).map(([name, value]) => (name === "kind" ? value : `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)).join(", ")],
    ["Seed", null, said.seed],
    ["Computed", null, `${said.computed || ""}, by servetwin ${view.provenance.servetwin}, Python ${view.provenance.python}`.replace(/^, /, "")],
  ].filter(([, , text]) => text);
  const table = h("table", { class: "known", "aria-label": "How well each part is known" }, h("tbody", {}, rows.map(([name, word, text]) =>
    h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, word ? evidence(word) : ""), h("td", {}, text)))));
  const data = () => ({ columns: ["part", "known", "how"], rows });
  const element = card("How well each part is known", null, copyMenu(data), h("div", { class: "scroll" }, table));
  element.dataset.table = "known";
  return section("provenance", ["Provenance"], null, element);
}

function specSection() {
  const forms = { short: view.short_spec_yaml, full: view.spec_yaml };
  let form = forms.short === null ? "full" : "short";
  const spec = h("pre", { tabindex: "0", "aria-label": "The spec" }, forms[form]);
  const choice = forms.short === null ? null
    : segments("Form of the spec", { short: "short", full: "with defaults" }, form, (next) => { form = next; spec.textContent = forms[form]; });
  const engine = Object.entries(view.provenance.engine).filter(([name]) => !["rules", "kv_cache", "kv_capacity", "left_out"].includes(name));
  const listed = (rows, show) => h("div", { class: "scroll" }, h("table", {}, h("tbody", {},
    rows.map(([name, value]) => h("tr", {}, h("td", {}, h("code", {}, name)), h("td", { class: "number" }, show(value)))))));
  const metrics = { columns: ["metric", "value"], rows: Object.entries(summary) };
  const all = card("All metrics", "As result.json has them", copyMenu(() => metrics),
    h("details", {}, h("summary", {}, `${metrics.rows.length} figures`), listed(metrics.rows, (value) => datum(Number(value), String(value)))));
  all.dataset.table = "metrics";
  return section("configuration", ["Configuration", "Spec"], null, h("div", { class: "grid" },
    card("Spec", form === "short" ? "What makes the same run again" : "With every default", [choice, h("button", { type: "button", class: "tool", onclick: () => copy(forms[form], "the spec") }, "Copy YAML")], spec),
    card("Resolved engine", "After defaults and the GPU's memory", copyMenu(() => ({ columns: ["option", "value"], rows: engine })),
      listed(engine, (value) => (typeof value === "number" ? value.toLocaleString("en-US") : typeof value === "object" ? JSON.stringify(value) : String(value))))), all);
}

// ---------------------------------------------------------------------------------------------- the page

function choose(next) {
  group = next;
  followers.forEach((follow) => follow());
  document.getElementById("group").value = String(view.groups.indexOf(group));
}

function filter() {
  const options = (kind) => view.groups.map((one, n) => [one, n]).filter(([one]) => one.kind === kind).map(([one, n]) => h("option", { value: String(n) }, one.label));
  const select = h("select", { id: "group", onchange: () => choose(view.groups[Number(select.value)]) }, options("all"),
    [["class", "Classes"], ["replica", over.replicas.length > options("replica").length ? `The ${options("replica").length} slowest replicas` : "Replicas"]]
      .filter(([kind]) => options(kind).length).map(([kind, title]) => h("optgroup", { label: title }, options(kind))));
  return view.groups.length > 1 ? h("label", {}, "Show ", select) : h("select", { id: "group", hidden: true });
}

header();
const sections = [latencySection(), timeSection(), replicaSection(), cacheSection(), slowestSection(), classSection(), outcomeSection(), specSection(), knownSection()].filter(Boolean);
navigation(sections, [resetButton(), filter()]);
if (over.count && over.replicas.length > MOST_LINES) chooseReplica(0);
document.documentElement.dataset.ready = "true";
