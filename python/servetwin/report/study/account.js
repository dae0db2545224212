"use strict";
// What became of every combination, and how well that is known.

const FATES = [
  ["decided", "decided on the whole workload", "var(--s2)"],
  ["pruned", "pruned, with proof", "var(--s0)"],
  ["screened", "screened out, without proof", "var(--s1)"],
  ["dropped", "cannot be", "var(--faint)"],
  ["unseen", "never asked for by the sampler", "var(--line)"],
];

const countOf = (name) => (Array.isArray(DATA.account[name]) ? DATA.account[name].reduce((sum, one) => sum + one.count, 0) : DATA.account[name]);

function accountSection() {
  const all = DATA.account.combinations;
  const ends = FATES.map(([name, text, color]) => ({ name, text, color, count: countOf(name) })).filter((end) => end.count);
  const track = h("div", { class: "track wide", role: "img", "aria-label": ends.map((end) => `${whole(end.count)} ${end.text}`).join(", ") });
  let from = 0;
  for (const end of ends) {
    track.append(h("i", { style: `left:${from}%;width:${(end.count / all) * 100}%;background:${end.color}` }));
    from += (end.count / all) * 100;
  }
  const legend = h("div", { class: "phases" }, ends.map((end) => h("span", { "data-fate": end.name }, h("i", { style: `background:${end.color}` }), h("b", {}, whole(end.count)), ` ${end.text}`)));
  const simulations = DATA.account.runs.map((one) => `${whole(one.count)} on ${one.on} (${span(one.simulate_s)} of computing)`).join(", ");
  const overall = card(`${whole(all)} combinations`, `Simulations: ${simulations || "none"}`, [], track, legend);
  overall.dataset.part = "account";
  const cards = [
    reasonsCard("pruned", "Pruned, with proof", "What holds whatever the runs would have said: none of these can be the choice"),
    reasonsCard("screened", "Screened out, without proof", "Short stretches of the workload showed them far behind; a run on the whole could say otherwise"),
    droppedCard(),
  ].filter(Boolean);
  return section("account", ["What became of every combination", "Account"], null, overall, h("div", { class: "stack" }, cards));
}

function reasonsCard(name, title, caption) {
  const rows = DATA.account[name];
  if (!rows.length) return null;
  const list = (numbers) => numbers.slice(0, 8).flatMap((number, n) => [n ? ", " : "", trials.has(number) ? trialLink(trials.get(number), String(number)) : String(number)]);
  const table = sortable([{ key: "count", title: "trials", number: true, show: (row) => whole(row.count) }, { key: "reason", title: "because", show: (row) => row.reason },
    { key: "trials", title: "which", value: (row) => row.trials.join(" "), show: (row) => [list(row.trials), row.trials.length > 8 ? ` and ${whole(row.trials.length - 8)} more` : ""] }], rows, { label: title, most: 20 });
  const element = card(`${title}: ${whole(countOf(name))}`, caption, copyMenu(table.data), table.element);
  element.dataset.table = name;
  return element;
}

function droppedCard() {
  const rows = DATA.account.dropped;
  if (!rows.length) return null;
  const names = new Map(DATA.axes.map((axis) => [axis.path, axis.name]));
  const written = (settings) => Object.entries(settings).map(([path, value]) => `${names.get(path)} ${isMapping(value) || Array.isArray(value) ? yamlFlow(value) : value ?? "none"}`).join(", ");
  const table = sortable([{ key: "count", title: "combinations", number: true, show: (row) => whole(row.count) }, { key: "reason", title: "because", show: (row) => row.reason },
    { key: "example", title: "for example", value: (row) => written(row.example), show: (row) => [written(row.example), row.in_full === row.reason ? "" : h("div", { class: "soft" }, row.in_full)] }], rows, { label: "Combinations that cannot be" });
  const element = card(`Cannot be: ${whole(countOf("dropped"))}`, "Over a limit of the search, refused by the spec, by the engine at its start, or too large for the GPU", copyMenu(table.data), table.element);
  element.dataset.table = "dropped";
  return element;
}

function spaceSection() {
  const table = sortable([{ key: "path", title: "field", show: (row) => h("code", {}, row.path) }, { key: "values", title: "values", value: (row) => row.in_full.join(" "), show: (row) => row.in_full.join(", ") }], DATA.axes, { label: "What may vary" });
  const text = DATA.spec_yaml;
  const element = h("div", { class: "grid" }, card("What may vary", null, copyMenu(table.data), table.element),
    card("The study's spec", null, h("button", { type: "button", class: "tool", onclick: () => copy(text, "the study's spec") }, "Copy YAML"), h("pre", { tabindex: "0", "aria-label": "The study's spec" }, text)));
  return section("space", ["Space"], null, element);
}
