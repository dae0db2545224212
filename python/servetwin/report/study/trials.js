"use strict";
// Trials, their runs, and what can be said of them.

const axes = DATA.axes.filter((axis) => axis.values.length > 1);
const trials = new Map(DATA.trials.map((trial) => [trial.number, { ...trial, runs: [] }]));

/** Every run: {index, trial, load, share, on (what it ran on, in words), misses}; the figures are read by `figureOf`. */
const runs = DATA.runs.trial.map((number, index) => {
  const share = DATA.runs.share[index];
  const run = { index, trial: trials.get(number), load: DATA.runs.load[index], share, on: DATA.shares[share], misses: DATA.runs.misses[index] };
  run.trial.runs.push(run);
  return run;
});
const answer = DATA.answer.map((index) => runs[index]);
const chosen = DATA.chosen === null ? null : runs[DATA.chosen];
const isWhole = (run) => run.share === 1;
const isParts = (run) => run.share !== 1;

const LOAD = { key: "load", title: DATA.load === "users" ? "Users" : "Load (× the workload)", better: null, kind: "number" };
const SETUP = [{ key: "gpus", title: "GPUs", better: "lower", kind: "number" }, { key: "cost_per_hour", title: "$ an hour", better: "lower", kind: "number" }]
  .filter(({ key }) => DATA.trials.some((trial) => known(trial[key])));
/** Everything an axis can show. */
const metrics = [...DATA.metrics.filter(({ key }) => DATA.runs.figures[key]), LOAD, ...SETUP];
const metricOf = new Map(metrics.map((metric) => [metric.key, metric]));
const THROUGHPUT = "output_tokens_per_s_per_gpu";
const SPEED = "output_tokens_per_s_per_user.p50";

function figureOf(run, key) {
  if (key === "load") return run.load;
  if (key === "gpus" || key === "cost_per_hour") return run.trial[key];
  return DATA.runs.figures[key]?.[run.index] ?? null;
}

/** What most replications of a run hold of a metric, [low, high]; null where it was not replicated. */
function intervalOf(run, key) {
  const told = DATA.explanations[run.trial.number];
  const interval = told && isWhole(run) && Math.abs(told.load / run.load - 1) < 1e-5 ? told.intervals[key] : null;
  return interval && interval[0] < interval[1] ? interval : null;
}

function intervalText(run, key) {
  const interval = intervalOf(run, key);
  return interval ? `${bare(key, interval[0])} to ${shown(key, interval[1])}` : "";
}

/** How a metric is written, with its unit. */
function shown(key, value) {
  const metric = metricOf.get(key);
  if (!known(value)) return "–";
  if (metric.kind === "share") return percent(value);
  return plain(value) + (metric.title.endsWith("(ms)") ? " ms" : "");
}

/** The same where the unit stands beside it. */
const bare = (key, value) => shown(key, value).replace(/ ms$/, "");

/** The service level's limits on statistics, by metric: {"ttft_ms.p95": 2000}. */
const limited = Object.fromEntries(Object.entries(DATA.slo || {}).flatMap(([name, limit]) =>
  isMapping(limit) ? Object.entries(limit).map(([statistic, value]) => [`${name}.${statistic}`, value]) : []));

function sloText() {
  const parts = Object.entries(limited).map(([key, limit]) => `${key.replace("_ms.", " ").toUpperCase().replace(" P", " p")} ≤ ${ms(limit)}`);
  const own = Object.entries(DATA.slo || {}).filter(([name, limit]) => typeof limit === "number" && name in LATENCIES);
  if (own.length) parts.push(`${percent(DATA.slo.attainment, 0)} of requests within ${own.map(([name, limit]) => `${LATENCIES[name].name} ${ms(limit)}`).join(" and ")}`);
  return parts.join(", ");
}

const loadText = (run) => (DATA.load === "users" ? `${whole(run.load)} users` : `${short(run.load)} × the workload`);
const settingsOf = (trial) => DATA.axes.flatMap((axis, n) => (axis.values.length > 1 ? [[axis.name, axis.values[trial.at[n]]]] : []));
const inWords = (trial) => settingsOf(trial).map(([name, value]) => `${name} ${value}`).join(", ") || "the spec as it is";
const nameOf = (trial) => `Trial ${trial.number}`;

/** A trial's run that speaks for it: the answer's, else the highest load that meets the level, else the lowest there is. */
function bestOf(trial) {
  const own = answer.filter((run) => run.trial === trial);
  if (own.includes(chosen)) return chosen;
  if (own.length) return own.at(-1);
  const candidates = trial.runs.some(isWhole) ? trial.runs.filter(isWhole) : trial.runs;
  return candidates.filter((run) => !run.misses).at(-1) || candidates[0] || null;
}

/** What became of a trial: [a word, its colour, in full]. */
function fateOf(trial) {
  if (chosen?.trial === trial) return ["chosen", "good", "The study's choice"];
  if (trial.fate === "pruned") return ["pruned", "", `Proved not to be the choice: ${trial.reason}`];
  if (trial.fate === "screened") return ["screened out", "warn", `Given up without proof: ${trial.reason}`];
  if (DATA.objective === "frontier" && answer.some((run) => run.trial === trial)) return ["frontier", "good", "No other beats it in both figures"];
  return ["decided", "", "Decided on the whole workload"];
}

const fateChip = (trial) => { const [word, kind, full] = fateOf(trial); return h("span", { class: `chip ${kind}`, title: full }, word); };

/** Whether a run meets the service level. */
function levelOf(run) {
  if (!run.misses) return h("span", { class: "good" }, DATA.slo ? "met" : "keeps up");
  return h("span", { class: "bad" }, run.misses);
}

/** Runs that no other beats in both figures, by the first: what is better is told by the metrics. */
function front(candidates, x, y) {
  const [signX, signY] = [x, y].map((key) => ({ higher: 1, lower: -1 })[metricOf.get(key).better]);
  if (!signX || !signY) return [];
  const rated = candidates.map((run) => ({ run, x: figureOf(run, x) * signX, y: figureOf(run, y) * signY }));
  rated.sort((a, b) => b.x - a.x || b.y - a.y);
  let most = -Infinity;
  return rated.filter((one) => one.y > most && (most = one.y) === one.y).map((one) => one.run);
}

const trialLink = (trial, text) => h("a", { href: `#trial-${trial.number}` }, text ?? nameOf(trial));
