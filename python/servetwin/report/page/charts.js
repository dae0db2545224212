"use strict";
// Line charts: drawn as SVG, coloured by the style sheet, so that they follow the reader's scheme and print sharp.

/** All charts; those that share an axis, by its name, zoom together. */
const charts = [];
const linked = new Map();

/**
 * A chart in `host`. What it is given:
 *   label: what it shows, in words, for those who do not see it
 *   x, y: {kind: "linear" | "time" | "log" | "tail", title, show(value, step), exact(value), domain, most}
 *   series: [{name, color, x, y, low, upper, dash, width, faint, opacity, block, dots, step, show}]; with `low` an area
 *     from low to y, whose upper edge is called `upper`
 *   rules: [{axis: "x" | "y", at, label}]; shades: [[from, to]] on x
 *   hover: "column" (what is at this x) or "row" (the same place in every series' lists, such as one percentile)
 *   heading(place, x): the first line of the box beside the pointer
 *   link: charts of the same name zoom together
 */
function chart(host, given) {
  let spec = given;
  let zoom = null;
  const hidden = new Set();
  const plot = h("div", { class: "plot" });
  const legend = h("div", { class: "legend", role: "group", "aria-label": "Series" });
  const tip = h("div", { class: "tip", hidden: true });
  host.append(legend, plot);
  const group = spec.link ? linked.get(spec.link) || linked.set(spec.link, new Set()).get(spec.link) : null;
  let frame = null;
  let place = null;

  function visible() {
    return spec.series.filter((one) => !hidden.has(one.name));
  }

  function drawLegend() {
    legend.hidden = spec.series.length < 2;
    legend.replaceChildren(...spec.series.map((one) =>
      h("button", { type: "button", class: one.block ? "block" : "", style: `--c:${one.color}`, "aria-pressed": String(!hidden.has(one.name)),
        onclick: () => {
          if (hidden.has(one.name)) hidden.delete(one.name);
          else hidden.add(one.name);
          drawLegend();
          draw();
        } }, h("i", one.opacity ? { style: `opacity:${Math.min(one.opacity * 1.6, 1)}` } : {}), one.name)));
  }

  function domains() {
    const shown = visible();
    const whole = spec.x.domain || extent(shown.map((one) => one.x)) || [0, 1];
    const x = zoom || (whole[0] === whole[1] ? (spec.x.kind === "log" ? [whole[0] / 2, whole[1] * 2] : [whole[0], whole[0] + 1]) : whole);
    if (spec.y.domain) return { x, y: spec.y.domain };
    const seen = shown.flatMap((one) => [one.y, one.low || []].map((list) => list.filter((_, i) => one.x[i] >= x[0] && one.x[i] <= x[1])));
    let [low, high] = extent(seen) || [0, 1];
    for (const rule of spec.rules || []) {
      // A limit far above everything would flatten what the chart is for.
      if (rule.axis === "y" && rule.at <= high * 2.5) high = Math.max(high, rule.at);
    }
    if (spec.y.kind === "log") {
      low = Math.max(low, high / 1e6, 1e-6);
      return { x, y: low === high ? [low / 2, high * 2] : [low / 1.15, high * 1.15] };
    }
    return { x, y: [Math.min(low, 0) * 1.06, Math.min(high > 0 ? high * 1.06 : 1, spec.y.most ?? Infinity)] };
  }

  function draw() {
    const width = Math.max(plot.clientWidth || host.clientWidth || 480, 220);
    const height = spec.height || (width < 420 ? 190 : 230);
    const { x: dx, y: dy } = domains();
    const probe = scale(spec.y.kind, dy, [height - 26, 10], 36);
    const labels = probe.ticks.map((value) => spec.y.show(value, probe.step));
    const left = Math.min(Math.max(...labels.map((text) => text.length), 2) * 6.6 + 12, 92);
    const box = { left, right: width - 10, top: 10, bottom: height - 26 };
    const sx = scale(spec.x.kind, dx, [box.left, box.right], (spec.x.room || 86) * (width < 420 ? 0.75 : 1));
    const sy = scale(spec.y.kind, dy, [box.bottom, box.top], 36);
    const id = `clip${chart.count++}`;
    const svg = h("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: "0", class: "zoomable", "aria-label": spec.label });
    const inside = h("g", { "clip-path": `url(#${id})` });
    svg.append(h("defs", {}, h("clipPath", { id }, h("rect", { x: box.left - 4, y: box.top - 4, width: box.right - box.left + 8, height: box.bottom - box.top + 8 }))));
    for (const value of sy.ticks) {
      const at = Math.round(sy.at(value)) + 0.5;
      svg.append(h("line", { class: "grid-line", x1: box.left, x2: box.right, y1: at, y2: at }));
      svg.append(h("text", { x: box.left - 8, y: at + 4, "text-anchor": "end" }, spec.y.show(value, sy.step)));
    }
    for (const [from, to] of spec.shades || []) {
      const [a, b] = [sx.at(Math.max(from, dx[0])), sx.at(Math.min(to, dx[1]))];
      if (b > a) svg.append(h("rect", { class: "shade", x: a, y: box.top, width: b - a, height: box.bottom - box.top }));
    }
    svg.append(h("line", { class: "axis-line", x1: box.left, x2: box.right, y1: box.bottom + 0.5, y2: box.bottom + 0.5 }));
    let free = -Infinity;
    for (const value of sx.ticks) {
      const at = sx.at(value);
      const text = spec.x.show(value, sx.step);
      const half = text.length * 3.1;
      if (at - half < free) continue;
      free = at + half + 10;
      svg.append(h("line", { class: "axis-line", x1: at, x2: at, y1: box.bottom, y2: box.bottom + 4 }));
      const anchor = at + half > width ? "end" : "middle";
      svg.append(h("text", { x: anchor === "end" ? width : at, y: box.bottom + 18, "text-anchor": anchor }, text));
    }
    for (const one of visible()) inside.append(shape(one, sx, sy));
    svg.append(inside);
    for (const rule of spec.rules || []) svg.append(...ruled(rule, sx, sy, dx, dy, box));
    if (!visible().some((one) => one.y.some((value) => value !== null))) {
      svg.append(h("text", { class: "empty", x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2, "text-anchor": "middle" }, spec.empty || "No samples"));
    }
    const marks = h("g", {});
    svg.append(marks);
    frame = { svg, marks, box, sx, sy, width, height };
    plot.replaceChildren(svg, tip);
    tip.hidden = true;
    place = null;
    listen();
  }

  // ------------------------------------------------------------------------------------------ the pointer

  function listen() {
    const { svg, box, sx } = frame;
    const where = (event) => {
      const bounds = svg.getBoundingClientRect();
      return [((event.clientX - bounds.left) * frame.width) / bounds.width, ((event.clientY - bounds.top) * frame.height) / bounds.height];
    };
    let from = null;
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      [from] = where(event);
    });
    svg.addEventListener("pointermove", (event) => {
      const [px, py] = where(event);
      if (from !== null && Math.abs(px - from) > 4) {
        if (!svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
        const [a, b] = [Math.max(Math.min(px, from), box.left), Math.min(Math.max(px, from), box.right)];
        tip.hidden = true;
        frame.marks.replaceChildren(h("rect", { class: "brush", x: a, y: box.top, width: Math.max(b - a, 0), height: box.bottom - box.top }));
      } else point(px, py);
    });
    svg.addEventListener("pointerup", (event) => {
      const [px] = where(event);
      const start = from;
      from = null;
      if (start === null || Math.abs(px - start) <= 8) return;
      const ends = [start, px].map((pixel) => sx.back(Math.min(Math.max(pixel, box.left), box.right)));
      zoomTo(ends[0] < ends[1] ? ends : ends.reverse());
    });
    svg.addEventListener("pointercancel", () => { from = null; clear(); });
    svg.addEventListener("pointerleave", () => { if (from === null) clear(); });
    svg.addEventListener("dblclick", () => zoomTo(null));
    svg.addEventListener("blur", clear);
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 };
      if (event.key === "Escape") zoomTo(null);
      if (!(event.key in steps)) return;
      event.preventDefault();
      const longest = Math.max(...visible().map((one) => one.x.length), 0);
      if (longest) mark(Math.min(Math.max((place ?? -1) + steps[event.key], 0), longest - 1));
    });
  }

  function point(px, py) {
    const shown = visible().filter((one) => one.x.length);
    const { sx, sy, box } = frame;
    if (!shown.length || px < box.left - 12 || px > box.right + 12) return clear();
    if (spec.hover === "row") {
      let best = [Infinity, 0];
      for (const one of shown) {
        for (let i = 0; i < one.x.length; i++) {
          if (!known(one.x[i]) || !known(one.y[i])) continue;
          const away = Math.hypot(sx.at(one.x[i]) - px, sy.at(one.y[i]) - py);
          if (away < best[0]) best = [away, i];
        }
      }
      return mark(best[1]);
    }
    const longest = shown.reduce((a, b) => (b.x.length > a.x.length ? b : a));
    return mark(closest(longest.x, sx.back(px)));
  }

  function mark(at) {
    const shown = visible().filter((one) => one.x.length);
    const { sx, sy, box, marks } = frame;
    const longest = shown.reduce((a, b) => (b.x.length > a.x.length ? b : a));
    place = at;
    const x = longest.x[at];
    const rows = [];
    const dots = [];
    for (const one of shown) {
      const i = spec.hover === "row" || one === longest ? at : closest(one.x, x);
      const far = spec.hover !== "row" && Math.abs(one.x[i] - x) > Math.abs((longest.x[1] ?? x) - longest.x[0]) * 1.01;
      if (far || !known(one.y[i]) || !known(one.x[i])) continue;
      const value = spec.hover === "row" ? one.x[i] : one.y[i];
      const mark = h("i", { style: one.opacity ? `opacity:${Math.min(one.opacity * 1.6, 1)}` : "" });
      rows.push(h("span", { style: `--c:${one.color}` }, mark, h("em", {}, one.upper || one.name), (one.show || (spec.hover === "row" ? spec.x : spec.y).exact || plain)(value)));
      if (!one.low) dots.push(h("circle", { cx: sx.at(one.x[i]), cy: sy.at(one.y[i]), r: 3.2, style: `fill:${one.color}` }));
    }
    if (!rows.length) return clear();
    const cross = spec.hover === "row"
      ? h("line", { class: "cross", x1: box.left, x2: box.right, y1: sy.at(longest.y[at]), y2: sy.at(longest.y[at]) })
      : h("line", { class: "cross", x1: sx.at(x), x2: sx.at(x), y1: box.top, y2: box.bottom });
    marks.replaceChildren(cross, ...dots);
    tip.replaceChildren(h("b", {}, spec.heading(at, spec.hover === "row" ? longest.y[at] : x)), ...rows.slice(0, 12));
    if (rows.length > 12) tip.append(h("em", {}, `and ${rows.length - 12} more`));
    tip.hidden = false;
    const px = (sx.at(x) * frame.svg.clientWidth) / frame.width;
    const right = px + tip.offsetWidth + 16 < plot.clientWidth;
    tip.style.left = `${Math.max(0, right ? px + 14 : px - tip.offsetWidth - 14)}px`;
    tip.style.top = "6px";
  }

  function clear() {
    place = null;
    tip.hidden = true;
    if (frame) frame.marks.replaceChildren();
  }

  function zoomTo(domain) {
    for (const other of group || [self]) other.setZoom(domain);
    document.dispatchEvent(new CustomEvent("zoomed", { detail: { link: spec.link, domain } }));
  }

  const self = {
    setZoom(domain) { zoom = domain; draw(); },
    update(changes) { spec = { ...spec, ...changes }; drawLegend(); draw(); },
    draw,
    /** What is drawn, as a table. */
    data() {
      const columns = spec.series.flatMap((one) => (one.low ? [`${one.name} from`, `${one.name} to`] : [one.name]));
      if (spec.hover === "row") {
        return { columns: [spec.y.title, ...spec.series.map((one) => one.name)], rows: spec.series[0].y.map((share, i) => [share, ...spec.series.map((one) => one.x[i])]) };
      }
      const xs = [...new Set(spec.series.flatMap((one) => one.x))].sort((a, b) => a - b);
      const found = spec.series.map((one) => new Map(one.x.map((x, i) => [x, i])));
      return {
        columns: [spec.x.title, ...columns],
        rows: xs.map((x) => [x, ...spec.series.flatMap((one, n) => {
          const i = found[n].get(x);
          const value = i === undefined ? null : one.y[i];
          return one.low ? [i === undefined ? null : one.low[i], value] : [value];
        })]),
      };
    },
  };
  charts.push(self);
  if (group) group.add(self);
  drawLegend();
  draw();
  redrawn(plot, draw);
  return self;
}
chart.count = 0;

/** Draws again whenever the width of `plot` has changed. */
function redrawn(plot, draw) {
  let seen = plot.clientWidth;
  new ResizeObserver(() => {
    if (plot.clientWidth && plot.clientWidth !== seen) {
      seen = plot.clientWidth;
      draw();
    }
  }).observe(plot);
}

function ruled(rule, sx, sy, dx, dy, box) {
  if (rule.axis === "y") {
    if (rule.at > dy[1] || rule.at < dy[0]) return [];
    const at = sy.at(rule.at);
    return [h("line", { class: "rule", x1: box.left, x2: box.right, y1: at, y2: at }),
      h("text", { class: "rule-label", x: box.right - 2, y: at - 5 < box.top + 8 ? at + 14 : at - 5, "text-anchor": "end" }, rule.label)];
  }
  if (rule.at > dx[1] || rule.at < dx[0]) return [];
  const at = sx.at(rule.at);
  const left = at > (box.left + box.right) / 2;
  return [h("line", { class: "rule", x1: at, x2: at, y1: box.top, y2: box.bottom }),
    h("text", { class: "rule-label", x: at + (left ? -5 : 5), y: box.bottom - 8, "text-anchor": left ? "end" : "start" }, rule.label)];
}

/** One series: a line, with a gap where there is no value, or an area between two. */
function shape(one, sx, sy) {
  const spot = (i, list) => `${sx.at(one.x[i]).toFixed(1)},${sy.at(list[i]).toFixed(1)}`;
  const runs = [[]];
  one.x.forEach((x, i) => {
    if (known(one.y[i]) && known(x) && (!one.low || known(one.low[i]))) runs.at(-1).push(i);
    else if (runs.at(-1).length) runs.push([]);
  });
  const style = `--c:${one.color}`;
  if (one.low) {
    const path = runs.filter((run) => run.length).map((run) => `M${run.map((i) => spot(i, one.y)).join("L")}L${[...run].reverse().map((i) => spot(i, one.low)).join("L")}Z`).join("");
    return h("path", { d: path, style: `${style};fill:var(--c);opacity:${one.opacity || 0.2};stroke:none` });
  }
  if (one.dots) {
    return h("g", { style }, one.x.map((x, i) => (known(one.y[i]) && known(x) ? h("circle", { cx: sx.at(x), cy: sy.at(one.y[i]), r: 3.4, style: "fill:var(--c)" }) : null)),
      h("path", { d: `M${one.x.map((_, i) => spot(i, one.y)).join("L")}`, style: "fill:none;stroke:var(--c);stroke-width:1;stroke-dasharray:2 4;opacity:.7" }));
  }
  const joined = (run) => {
    if (!one.step) return `M${run.map((i) => spot(i, one.y)).join("L")}`;
    return `M${run.map((i, n) => (n ? `H${sx.at(one.x[i]).toFixed(1)}V${sy.at(one.y[i]).toFixed(1)}` : spot(i, one.y))).join("")}`;
  };
  const path = runs.filter((run) => run.length > 1).map(joined).join("");
  const alone = runs.filter((run) => run.length === 1).map(([i]) => h("circle", { cx: sx.at(one.x[i]), cy: sy.at(one.y[i]), r: 2.4, style: "fill:var(--c)" }));
  return h("g", { style: `${style};opacity:${one.faint ? 0.28 : 1}` },
    h("path", { d: path, style: `fill:none;stroke:var(--c);stroke-width:${one.width || 1.6};stroke-linejoin:round;${one.dash ? `stroke-dasharray:${one.dash}` : ""}` }), alone);
}
