"use strict";
// Bars for a distribution, and heat maps for many replicas.

/** Bars of counts. names: of each bar; shown(place): what is said of it. */
function bars(host, { label, counts, names, ticks, shown }) {
  const plot = h("div", { class: "plot" });
  const tip = h("div", { class: "tip", hidden: true });
  host.append(plot);
  let now = counts;
  function draw() {
    const width = Math.max(plot.clientWidth || host.clientWidth || 480, 220);
    const height = width < 420 ? 190 : 230;
    const high = Math.max(...now, 1);
    const sy = scale("linear", [0, high * 1.06], [height - 26, 10], 44);
    const left = Math.max(...sy.ticks.map((value) => whole(value).length)) * 6.6 + 12;
    const each = (width - 10 - left) / now.length;
    const svg = h("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
    for (const value of sy.ticks.filter(Number.isInteger)) {
      const at = Math.round(sy.at(value)) + 0.5;
      svg.append(h("line", { class: "grid-line", x1: left, x2: width - 10, y1: at, y2: at }), h("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, whole(value)));
    }
    now.forEach((count, place) => {
      const top = count ? Math.min(sy.at(count), height - 27.5) : height - 26;
      svg.append(h("rect", { x: left + place * each + 1, width: Math.max(each - 2, 1), y: top, height: height - 26 - top, rx: 1.5, style: "fill:var(--s0)" }));
      svg.append(h("rect", { x: left + place * each, width: each, y: 10, height: height - 36, style: "fill:transparent",
        onpointerenter: () => {
          tip.replaceChildren(h("b", {}, names[place]), shown(now, place));
          tip.hidden = false;
          const px = ((left + place * each) * plot.clientWidth) / width;
          tip.style.left = `${Math.min(px + each + 6, plot.clientWidth - tip.offsetWidth)}px`;
          tip.style.top = "6px";
        }, onpointerleave: () => { tip.hidden = true; } }));
    });
    for (const [share, text] of ticks) {
      const at = left + share * (width - 10 - left);
      svg.append(h("text", { x: at, y: height - 8, "text-anchor": share === 0 ? "start" : share === 1 ? "end" : "middle" }, text));
    }
    plot.replaceChildren(svg, tip);
  }
  draw();
  redrawn(plot, draw);
  return {
    update(counts) { now = counts; draw(); },
    data: () => ({ columns: ["share of the prompt", "requests"], rows: now.map((count, place) => [names[place], count]) }),
  };
}

const heatHeight = (rows) => Math.min(Math.max(rows * 12, 150), 340) + 32;

/**
 * A heat map: a row a replica, a column a bin of time. Its colours are read from the style sheet.
 * rows: lists of values or null; names: of the rows; pick(row) is called for the row that is clicked.
 */
function heat(host, { label, rows, names, width_s, show, pick }) {
  const plot = h("div", { class: "plot" });
  const tip = h("div", { class: "tip", hidden: true });
  const legend = h("div", { class: "scale" });
  host.append(plot, legend);
  const top = Math.max(...rows.map((row) => row.reduce((a, b) => Math.max(a, b || 0), 0)), 1e-9);
  let chosen = null;
  let box = null;
  const columns = rows[0]?.length || 1;
  function shades() {
    const style = getComputedStyle(document.documentElement);
    const probe = h("canvas", { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const rgb = (name) => {
      probe.fillStyle = style.getPropertyValue(name);
      probe.fillRect(0, 0, 1, 1);
      return probe.getImageData(0, 0, 1, 1).data;
    };
    return [rgb("--grid"), rgb("--accent"), rgb("--ink")];
  }
  function draw() {
    const width = Math.max(plot.clientWidth || host.clientWidth || 480, 220);
    const height = heatHeight(rows.length);
    const inner = height - 32;
    box = { left: 44, right: width - 10, top: 6, bottom: 6 + inner, height };
    const [none, middle, full] = shades();
    const canvas = h("canvas", { width: columns, height: rows.length, style: `left:${box.left}px;top:${box.top}px;width:${box.right - box.left}px;height:${inner}px` });
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows.length);
    rows.forEach((row, y) => row.forEach((value, x) => {
      const at = 4 * (y * columns + x);
      if (value === null) return;
      const share = Math.min(value / top, 1);
      // The accent up to four fifths, and from there towards the ink: what is full stands out.
      const [a, b, t] = share < 0.8 ? [none, middle, share / 0.8] : [middle, full, ((share - 0.8) / 0.2) * 0.65];
      for (let k = 0; k < 3; k++) image.data[at + k] = a[k] + (b[k] - a[k]) * t;
      image.data[at + 3] = 255;
    }));
    context.putImageData(image, 0, 0);
    const sx = scale("time", [0, columns * width_s], [box.left, box.right], 86);
    const svg = h("svg", { viewBox: `0 0 ${width} ${box.height}`, role: "img", "aria-label": label, style: "position:relative;cursor:pointer" });
    const every = Math.ceil(rows.length / (inner / 16));
    const stride = niceStep(every);
    names.forEach((name, place) => {
      if (place % stride === 0) svg.append(h("text", { x: box.left - 8, y: box.top + ((place + 0.5) * inner) / rows.length + 4, "text-anchor": "end" }, String(name)));
    });
    for (const value of sx.ticks) svg.append(h("text", { x: sx.at(value), y: box.bottom + 18, "text-anchor": value === 0 ? "start" : "middle" }, moment(value, sx.step)));
    if (chosen !== null) {
      const y = box.top + (chosen * inner) / rows.length;
      svg.append(h("rect", { x: box.left - 1, y: y - 1, width: box.right - box.left + 2, height: Math.max(inner / rows.length, 2) + 2, style: "fill:none;stroke:var(--ink);stroke-width:1.5" }));
    }
    const cell = (event) => {
      const bounds = svg.getBoundingClientRect();
      const [px, py] = [((event.clientX - bounds.left) * width) / bounds.width, ((event.clientY - bounds.top) * box.height) / bounds.height];
      const [x, y] = [Math.floor(((px - box.left) / (box.right - box.left)) * columns), Math.floor(((py - box.top) / inner) * rows.length)];
      return x >= 0 && x < columns && y >= 0 && y < rows.length ? [x, y, px] : null;
    };
    svg.addEventListener("pointermove", (event) => {
      const at = cell(event);
      tip.hidden = !at;
      if (!at) return;
      tip.replaceChildren(h("b", {}, `Replica ${names[at[1]]}`), `${moment(at[0] * width_s, width_s)}: ${known(rows[at[1]][at[0]]) ? show(rows[at[1]][at[0]]) : "not observed"}`);
      tip.style.left = `${Math.max(0, Math.min((at[2] * plot.clientWidth) / width + 14, plot.clientWidth - tip.offsetWidth))}px`;
      tip.style.top = "6px";
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
    svg.addEventListener("click", (event) => { const at = cell(event); if (at) pick(at[1]); });
    plot.replaceChildren(canvas, svg, tip);
    const css = (color) => `rgb(${color[0]} ${color[1]} ${color[2]})`;
    const end = full.map((value, k) => middle[k] + (value - middle[k]) * 0.65);
    legend.replaceChildren("0", h("i", { style: `background:linear-gradient(to right, ${css(none)}, ${css(middle)} 80%, ${css(end)})` }), show(top));
  }
  draw();
  redrawn(plot, draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return {
    choose(row) { chosen = row; draw(); },
    data: () => ({
      columns: ["time_s", ...names.map((name) => `replica ${name}`)],
      rows: Array.from({ length: columns }, (_, x) => [x * width_s, ...rows.map((row) => row[x])]),
    }),
  };
}
