"use strict";
// Pools, tiers, drafts and data ranks: what each adds to the page, where a run has them.

const { handovers, ways, sources, ranks } = view.topology;
const PLACES = { gpu: "GPU's cache", host: "host memory", disk: "disk", shared: "shared store", computed: "computed" };

function listing(name, title, caption, columns, rows) {
  const table = sortable(columns, rows, { label: title });
  const element = card(title, caption, copyMenu(table.data), table.element);
  element.dataset.table = name;
  return element;
}

const gigabytes = (bytes) => (known(bytes) ? `${plain(bytes / 1e9)} GB` : "–");

function handoverCards() {
  if (!handovers.length) return [];
  const about = view.provenance.handover;
  const bytes = summary.handover_tokens * about.bytes_per_token;
  const rate = bytes / summary.duration_s;
  const late = summary.handovers_timed_out ? `, ${whole(summary.handovers_timed_out)} timed out` : "";
  const caption = `${whole(summary.handovers)}${late}; ${gigabytes(bytes)} in all, ${gigabytes(rate)}/s on average over ${about.crosses}, ${about.order.replaceAll("_", " ")}. In milliseconds`;
  const cards = [listing("handovers", "Hand-overs", caption, [
    { key: "name", title: "" }, ofCount("count", "samples"), ...["mean", "p50", "p90", "p95", "p99"].map((name) => ofLatency(name, name)),
  ], handovers)];
  if (ways.length > 1) {
    cards.push(listing("ways", "From prefill to decode replicas", "Transfers that meet on a link share it: they take longer for the same tokens. In milliseconds", [
      ofCount("prefill", "prefill replica"), ofCount("decode", "decode replica"), ofCount("handovers", "hand-overs"), ofCount("tokens", "transferred tokens"),
      { key: "size", title: "size", number: true, value: (row) => row.tokens, show: (row) => gigabytes(row.tokens * about.bytes_per_token) },
      ofLatency("p50", "transfer p50"), ofLatency("p95", "p95"),
    ], ways));
  }
  return cards;
}

function rankCards() {
  if (!ranks.length) return [];
  const work = (row) => row.input_tokens - row.cached_tokens + row.output_tokens;
  const mean = new Map();
  for (const row of ranks) mean.set(row.replica, [...(mean.get(row.replica) || []), work(row)]);
  const relative = (row) => work(row) * mean.get(row.replica).length / Math.max(mean.get(row.replica).reduce((a, b) => a + b, 0), 1);
  return [listing("ranks", "Each data rank", "Of its completed requests. Computed: prompts' tokens beyond the cache, and outputs, by the mean of its replica's ranks", [
    ofCount("replica", "replica"), ofCount("rank", "rank"), ofCount("requests", "requests"), ofCount("input_tokens", "input tokens"),
    ofCount("output_tokens", "output tokens"), ofReuse, { key: "share", title: "computed", number: true, value: relative, show: (row) => `${relative(row).toFixed(2)} ×` },
  ], ranks)];
}

function sourceCard() {
  if (!sources.length) return null;
  const all = sources.reduce((sum, row) => sum + row.tokens, 0);
  const rows = sources.map((row) => ({ ...row, name: PLACES[row.place], share: row.tokens / Math.max(all, 1) }));
  const columns = [{ key: "name", title: "from" }, ofCount("tokens", "input tokens"), { key: "share", title: "share", number: true, show: (row) => percent(row.share) }];
  if (rows.some((row) => row.bytes)) columns.push({ key: "bytes", title: "loaded by a rank", number: true, show: (row) => (row.bytes === null ? "" : gigabytes(row.bytes)) });
  return listing("sources", "Where prompts' tokens came from", "Of completed requests that arrived in the measured interval", columns, rows);
}
