"use strict";
// Why a trial does what it does, where `servetwin explain` was asked.

const PART_COLORS = { queue: "var(--queued)", prefill: "var(--prefill)", handover: "var(--s1)", transfer: "var(--s4)", decode: "var(--decode)", preempted: "var(--bad)" };

/** A bar of parts that add up to one, and what they are. */
function partsBar(parts, label) {
  const track = h("div", { class: "track", role: "img", "aria-label": `${label}: ${parts.map((part) => `${part.name} ${percent(part.share, 0)}`).join(", ")}` });
  let from = 0;
  for (const { share, color, name } of parts) {
    track.append(h("i", { style: `left:${from * 100}%;width:${share * 100}%;background:${color}`, title: `${name} ${percent(share)}` }));
    from += share;
  }
  return track;
}

const partKey = (parts) => h("div", { class: "phases" }, parts.map(({ name, color }) => h("span", {}, h("i", { style: `background:${color}` }), name)));

function explanationCards(trial) {
  const told = DATA.explanations[trial.number];
  if (!told) return null;
  const caption = `By servetwin explain, at ${loadText(told)}`;
  const cards = [timesCard(told, caption), bindingCard(told), changesCard(told)];
  return h("div", { "data-part": "explanation" }, h("h2", { class: "why" }, "Why"), h("div", { class: "grid" }, cards.slice(0, 2)), cards[2]);
}

function timesCard(told, caption) {
  const names = Object.keys(PART_COLORS).filter((name) => told.splits.some((split) => split.parts_ms[name]));
  const rows = told.splits.map((split) => ({ of: `${LATENCIES[split.metric].name} ${split.percentile === null ? "mean" : `p${split.percentile}`}`, split, total: split.total_ms, ...Object.fromEntries(names.map((name) => [name, split.parts_ms[name] ?? 0])) }));
  const parts = ({ split }) => names.map((name) => ({ name, color: PART_COLORS[name], share: (split.parts_ms[name] || 0) / (split.total_ms || 1) }));
  const table = sortable([{ key: "of", title: "around" }, { key: "total", title: "ms", number: true, show: (row) => plain(row.total) },
    { key: "parts", title: "parts", unsorted: true, show: (row) => partsBar(parts(row), row.of) },
    ...names.map((name) => ({ key: name, title: name, number: true, show: (row) => datum(row[name], percent(row[name] / (row.total || 1), 0)) }))], rows, { label: "Where the time goes", turned: true });
  const element = card("Where the time goes", caption, copyMenu(table.data), partKey(names.map((name) => ({ name, color: PART_COLORS[name] }))), table.element);
  element.dataset.table = "times";
  return element;
}

function bindingCard(told) {
  const colors = { idle: "var(--line)", "nothing waits": "var(--s2)" };
  const several = told.bindings.length > 1;
  const blocks = told.bindings.map((one) => {
    const waits = Object.keys(one.shares).filter((state) => !(state in colors));
    const parts = Object.entries(one.shares).map(([state, share]) => ({ name: `${state in colors ? state : `waits: ${state}`} ${percent(share, 0)}`, share, color: colors[state] ?? [COLORS[1], COLORS[3], COLORS[4], COLORS[5]][waits.indexOf(state) % 4] }));
    const pass = told.passes.find((made) => made.role === one.role);
    const total = pass ? pass.fixed_ms + pass.rows_ms + pass.context_ms : 0;
    const inside = pass ? [["weights, launches and host", pass.fixed_ms, COLORS[7]], ["reading the cache", pass.context_ms, COLORS[0]], ["the requests' own arithmetic", pass.rows_ms, COLORS[1]]].map(([name, part, color]) => ({ name: `${name} ${percent(part / total, 0)}`, share: part / total, color })) : [];
    return h("div", { class: "bound" }, h("p", {}, several ? `${one.role} replicas: ` : "", `${plain(one.running)} requests run on a replica, ${percent(one.cache_used, 0)} of its cache is in use`), partsBar(parts, "States of a replica"), partKey(parts),
      pass ? [h("p", {}, `A decode pass of ${whole(pass.rows)} requests lasts ${ms(total)}`), partsBar(inside, "A decode pass"), partKey(inside)] : null);
  });
  const link = told.link ? h("p", { class: "note" }, `Hand-overs are on their way ${percent(told.link.busy, 0)} of the time, ${whole(told.link.most)} at most`) : null;
  const element = card("What binds", "Shares of the time; what keeps the first request that waits out of the batch", [], blocks, link);
  element.dataset.part = "binding";
  return element;
}

function changesCard(told) {
  const metric = (key) => metricOf.get(key)?.title.replace(" (ms)", "") ?? key;
  const change = (effect, lowerIsBetter = true) => h("span", { class: (effect.value < 0) === lowerIsBetter ? "good" : "bad" }, changeText(effect.value), h("div", { class: "soft small" }, `(${changeText(effect.low)} to ${changeText(effect.high)})`));
  const names = [...new Set([...told.helps, ...told.hurts].flatMap((one) => Object.keys(one.effects)))].filter((key) => key !== told.decides);
  const rows = [...told.helps, ...told.hurts].map((one) => ({ ...one, what: `${one.field} ${yamlFlow(one.before)} → ${yamlFlow(one.after)}`, value: one.figure?.value ?? null, low: one.figure?.low ?? null, high: one.figure?.high ?? null }));
  const ends = extent([rows.flatMap((row) => [row.low, row.high, 0])]) || [-1, 1];
  const table = sortable([{ key: "what", title: "change", show: (row) => [h("code", {}, row.field), ` ${yamlFlow(row.before)} → ${yamlFlow(row.after)}`, row.gpus ? h("span", { class: "soft" }, ` ${row.gpus > 0 ? "+" : "−"}${Math.abs(row.gpus)} GPU${Math.abs(row.gpus) === 1 ? "" : "s"}`) : "", row.lossy ? h("span", { class: "chip warn" }, "changes the answers") : ""] },
    { key: "interval", title: "", unsorted: true, show: (row) => (row.figure ? whisker(row, ends) : row.trouble) }, { key: "value", title: metric(told.decides), number: true, show: (row) => (row.figure ? change(row.figure) : "–") },
    ...names.map((key) => ({ key, title: metric(key), number: true, value: (row) => row.effects[key]?.value ?? null, show: (row) => (row.effects[key] ? change(row.effects[key], metricOf.get(key)?.better !== "higher") : "–") }))], rows, { label: "What would change it" });
  const caption = `${whole(told.tried)} single changes were simulated. In brackets, and as lines, what ${percent(told.confidence, 0)} of ${whole(told.replications)} pairs of replications hold`;
  const element = card(`What would change ${metric(told.decides)}, now ${shown(told.decides, told.value)}`, caption, copyMenu(table.data), table.element);
  element.dataset.table = "changes";
  return element;
}

/** An effect as a dot on its interval, beside no effect. */
function whisker({ value, low, high }, [from, to]) {
  const at = (effect) => 4 + ((effect - from) / (to - from || 1)) * 112;
  const color = value < 0 ? "var(--good)" : "var(--bad)";
  return h("svg", { viewBox: "0 0 120 16", width: 120, height: 16, role: "img", "aria-label": `${changeText(value)}, from ${changeText(low)} to ${changeText(high)}` },
    h("line", { x1: at(0), x2: at(0), y1: 0, y2: 16, style: "stroke:var(--faint);stroke-dasharray:2 2" }), h("line", { class: "whisker", x1: at(low), x2: at(high), y1: 8, y2: 8, style: `stroke:${color};stroke-width:1.6` }), h("circle", { cx: at(value), cy: 8, r: 3.4, style: `fill:${color}` }));
}
