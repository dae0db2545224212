"use strict";
// Two trials side by side.

function versusView(first, second) {
  const pair = [first, second];
  // At the same load where both were run at one, the highest that both can take if there is such; else each at its own best.
  const shared = first.runs.filter((run) => isWhole(run) && second.runs.some((other) => isWhole(other) && other.load === run.load));
  const atLoad = (trial, load) => trial.runs.find((run) => isWhole(run) && run.load === load);
  const both = shared.filter((run) => !run.misses && !atLoad(second, run.load).misses).at(-1);
  let load = both ? String(both.load) : "best";
  const at = () => (load === "best" ? pair.map(bestOf) : pair.map((trial) => atLoad(trial, Number(load))));
  const host = h("div");
  const choice = selectOf("At", { best: "each at its own best load", ...Object.fromEntries(shared.map((run) => [String(run.load), DATA.load === "users" ? `${whole(run.load)} users` : `load ${short(run.load)}`])) }, load, (next) => { load = next; draw(); });
  function draw() {
    const [a, b] = at();
    const rows = [...SETUP.map(({ key }) => key), "load", ...FIGURES].filter((key) => metricOf.has(key) && [a, b].some((run) => run && known(figureOf(run, key)))).map((key) => {
      const [x, y] = [a, b].map((run) => run && figureOf(run, key));
      const share = known(x) && known(y) && x ? (y - x) / Math.abs(x) : null;
      const better = { higher: 1, lower: -1 }[metricOf.get(key).better] * Math.sign(y - x);
      return { key, title: metricOf.get(key).title, a: x, b: y, share, better: share === null || Math.abs(share) < 0.0005 ? 0 : better || 0 };
    });
    const value = (row, which) => h("span", { class: limited[row.key] && row[which] > limited[row.key] ? "bad" : "" }, datum(row[which], bare(row.key, row[which])));
    const table = sortable([{ key: "title", title: "metric", value: (row) => row.key, show: (row) => row.title }, { key: "a", title: nameOf(first), number: true, show: (row) => value(row, "a") }, { key: "b", title: nameOf(second), number: true, show: (row) => value(row, "b") },
      { key: "share", title: "change", number: true, show: (row) => (row.share === null ? "" : h("span", { class: row.better > 0 ? "good" : row.better < 0 ? "bad" : "soft" }, changeText(row.share))) }], rows, { label: "Figures of both" });
    table.element.style.maxHeight = "none";
    const element = card("Figures", `Changes are against trial ${first.number}; green is better, red is worse`, [choice, copyMenu(table.data)], table.element,
      h("p", { class: "note" }, [a, b].map((run, n) => (run ? [`${nameOf(pair[n])}: `, levelOf(run), isParts(run) ? ` (on ${run.on})` : "", n ? "" : " · "] : ""))));
    element.dataset.table = "versus";
    host.replaceChildren(element);
  }
  draw();
  const parts = loadCharts(pair.map((trial, n) => ({ trial, color: COLORS[n], prefix: nameOf(trial) })));
  const head = h("div", { class: "view-head" }, h("a", { href: "#frontier" }, "← All trials"), h("h2", { tabindex: "-1" }, "Trials ", trialLink(first, String(first.number)), " and ", trialLink(second, String(second.number))),
    h("span", { class: "spacer" }), h("a", { class: "tool", href: `#compare-${second.number}-${first.number}` }, "swap"));
  const element = h("section", { "data-compare": `${first.number}-${second.number}` }, head, differencesCard(first, second), host, h("div", { class: "grid" }, parts.map((part) => part.element)));
  return { element, title: `Trials ${first.number} and ${second.number}`, mount() { parts.forEach((part) => part.mount()); } };
}

function changeText(share) {
  if (Math.abs(share) < 0.0005) return "0 %";
  return (share > 0 ? "+" : "−") + percent(Math.abs(share), Math.abs(share) < 0.1 ? 1 : 0);
}

function differencesCard(first, second) {
  const rows = DATA.axes.map((axis, n) => ({ path: axis.path, a: axis.values[first.at[n]], b: axis.values[second.at[n]] })).sort((x, y) => (y.a !== y.b) - (x.a !== x.b));
  const told = (row, which) => (row.a === row.b ? h("span", { class: "soft" }, row[which]) : h("b", {}, row[which]));
  const table = sortable([{ key: "path", title: "field", show: (row) => h("code", {}, row.path) }, { key: "a", title: nameOf(first), show: (row) => told(row, "a") }, { key: "b", title: nameOf(second), show: (row) => told(row, "b") }], rows, { label: "What differs" });
  const element = card("What differs", null, copyMenu(table.data), table.element);
  element.dataset.table = "differences";
  return element;
}
