"use strict";
// A scatter chart: points to be hovered, walked through with the arrow keys, zoomed into by dragging, and picked.

/**
 * What it is given:
 *   label: in words; x, y: {kind: "linear" | "log", title, show(value)}
 *   points: [{run, x, y, color, look: "met" | "missed" | "parts", ring, wide: {x: [low, high], y: [low, high]} or null}]
 *   line: points to be joined; rules: as in `chart`; paths(point) -> points to be joined while that one is hot
 *   tip(point) -> elements; pick(point)
 */
function scatter(host, given) {
  let spec = given;
  let zoom = null;
  let frame = null;
  let hot = null;
  const plot = h("div", { class: "plot" });
  const tip = h("div", { class: "tip", hidden: true, role: "status" });
  host.append(plot);

  function domain(axis, pixels) {
    if (zoom) return zoom[axis];
    const around = spec.points.flatMap((point) => [point[axis], ...(point.wide?.[axis] || [])]);
    const [low, high] = extent([spec[axis].kind === "log" ? around.filter((value) => value > 0) : around]) || [0, 1];
    if (spec[axis].kind === "log") return low === high ? [low / 2, high * 2] : [low / (high / low) ** (14 / pixels), high * (high / low) ** (20 / pixels)];
    const from = low >= 0 && low < 0.5 * high ? 0 : low - (high - low || Math.abs(high) || 1) * 0.06;
    return [from, high + (high - from || 1) * 0.05];
  }

  function draw() {
    const width = Math.max(plot.clientWidth || host.clientWidth || 480, 220);
    const height = Math.round(Math.min(Math.max(width * 0.52, 260), 520));
    const dy = domain("y", height);
    const probe = scale(spec.y.kind, dy, [height - 44, 12], 40);
    const left = Math.min(Math.max(...probe.ticks.map((value) => spec.y.show(value).length), 2) * 6.6 + 12, 92);
    const box = { left, right: width - 12, top: 24, bottom: height - 44 };
    const dx = domain("x", width);
    const sx = scale(spec.x.kind, dx, [box.left, box.right], 92);
    const sy = scale(spec.y.kind, dy, [box.bottom, box.top], 40);
    const id = `clip${chart.count++}`;
    const svg = h("svg", { viewBox: `0 0 ${width} ${height}`, tabindex: "0", class: "zoomable", role: "application", "aria-roledescription": "scatter chart",
      "aria-label": `${spec.label}. ${whole(spec.points.length)} points. Arrow keys move from point to point, Enter opens the trial.` });
    svg.append(h("defs", {}, h("clipPath", { id }, h("rect", { x: box.left - 9, y: box.top - 9, width: box.right - box.left + 18, height: box.bottom - box.top + 18 }))));
    for (const value of sy.ticks) {
      const at = Math.round(sy.at(value)) + 0.5;
      svg.append(h("line", { class: "grid-line", x1: box.left, x2: box.right, y1: at, y2: at }), h("text", { x: box.left - 8, y: at + 4, "text-anchor": "end" }, spec.y.show(value)));
    }
    svg.append(h("line", { class: "axis-line", x1: box.left, x2: box.right, y1: box.bottom + 0.5, y2: box.bottom + 0.5 }));
    let free = -Infinity;
    for (const value of sx.ticks) {
      const [at, text] = [sx.at(value), spec.x.show(value)];
      if (at - text.length * 3.1 < free) continue;
      free = at + text.length * 3.1 + 10;
      svg.append(h("line", { class: "axis-line", x1: at, x2: at, y1: box.bottom, y2: box.bottom + 4 }), h("text", { x: at, y: box.bottom + 18, "text-anchor": "middle" }, text));
    }
    svg.append(h("text", { class: "axis-title", x: box.right, y: height - 6, "text-anchor": "end" }, `${spec.x.title} →`), h("text", { class: "axis-title", x: 2, y: 11 }, `↑ ${spec.y.title}`));
    const inside = h("g", { "clip-path": `url(#${id})` });
    const spot = (point) => `${sx.at(point.x).toFixed(1)},${sy.at(point.y).toFixed(1)}`;
    if (spec.line.length > 1) inside.append(h("path", { class: "front", d: `M${spec.line.map(spot).join("L")}` }));
    for (const point of spec.points) inside.append(whiskers(point, sx, sy), dot(point, sx, sy));
    svg.append(inside);
    for (const rule of spec.rules) svg.append(...ruled(rule, sx, sy, dx, dy, box));
    if (!spec.points.length) svg.append(h("text", { class: "empty", x: (box.left + box.right) / 2, y: (box.top + box.bottom) / 2, "text-anchor": "middle" }, "No run is left: take filters away"));
    const marks = h("g", { class: "marks", "clip-path": `url(#${id})` });
    svg.append(marks);
    frame = { svg, marks, box, sx, sy, width, height, spot };
    plot.replaceChildren(svg, tip);
    tip.hidden = true;
    hot = null;
    listen();
  }

  function dot(point, sx, sy) {
    const place = { cx: sx.at(point.x).toFixed(1), cy: sy.at(point.y).toFixed(1), style: `--c:${point.color}`, "data-run": point.run.index };
    const ring = point.ring ? h("circle", { ...place, class: "ring", r: 8.5, "data-run": null }) : [];
    return h("g", {}, ring, h("circle", { ...place, class: point.look, r: { met: 4.6, missed: 4, parts: 2.4 }[point.look] }));
  }

  /** Lines from end to end of what a figure may be. */
  function whiskers(point, sx, sy) {
    if (!point.wide) return "";
    const lines = [];
    const style = `--c:${point.color}`;
    if (point.wide.x) lines.push(h("line", { class: "whisker", style, x1: sx.at(point.wide.x[0]), x2: sx.at(point.wide.x[1]), y1: sy.at(point.y), y2: sy.at(point.y) }));
    if (point.wide.y) lines.push(h("line", { class: "whisker", style, x1: sx.at(point.x), x2: sx.at(point.x), y1: sy.at(point.wide.y[0]), y2: sy.at(point.wide.y[1]) }));
    return h("g", {}, lines);
  }

  // ------------------------------------------------------------------------------------------ the pointer

  function listen() {
    const { svg, box, sx, sy } = frame;
    const where = (event) => {
      const bounds = svg.getBoundingClientRect();
      return [((event.clientX - bounds.left) * frame.width) / bounds.width, ((event.clientY - bounds.top) * frame.height) / bounds.height];
    };
    const clamp = ([x, y]) => [Math.min(Math.max(x, box.left), box.right), Math.min(Math.max(y, box.top), box.bottom)];
    let from = null;
    let dragged = false;
    svg.addEventListener("pointerdown", (event) => {
      dragged = false;
      if (event.button === 0 && event.pointerType !== "touch") from = where(event);
    });
    svg.addEventListener("pointermove", (event) => {
      const to = where(event);
      if (from === null || Math.hypot(to[0] - from[0], to[1] - from[1]) <= 5) return mark(nearest(...to));
      if (!svg.hasPointerCapture(event.pointerId)) svg.setPointerCapture(event.pointerId);
      dragged = true;
      const [[a, b], [c, d]] = [clamp(from), clamp(to)];
      mark(null);
      frame.marks.replaceChildren(h("rect", { class: "brush", x: Math.min(a, c), y: Math.min(b, d), width: Math.abs(a - c), height: Math.abs(b - d) }));
    });
    svg.addEventListener("pointerup", (event) => {
      const [start, end] = [from, where(event)];
      from = null;
      if (start === null || Math.hypot(end[0] - start[0], end[1] - start[1]) <= 10) return;
      const [[a, b], [c, d]] = [clamp(start), clamp(end)];
      if (Math.abs(a - c) < 4 || Math.abs(b - d) < 4) return mark(null);
      setZoom({ x: [sx.back(Math.min(a, c)), sx.back(Math.max(a, c))], y: [sy.back(Math.max(b, d)), sy.back(Math.min(b, d))] });
    });
    svg.addEventListener("click", (event) => {
      const point = dragged ? null : nearest(...where(event));
      if (point && event.detail <= 1) spec.pick(point);
    });
    svg.addEventListener("pointercancel", () => { from = null; mark(null); });
    svg.addEventListener("pointerleave", () => { if (from === null) mark(null); });
    svg.addEventListener("dblclick", () => setZoom(null));
    svg.addEventListener("blur", () => mark(null));
    svg.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -1, Home: -1e9, End: 1e9 };
      if (event.key === "Escape") setZoom(null);
      if (event.key === "Enter" && hot) spec.pick(hot);
      if (!(event.key in steps)) return;
      event.preventDefault();
      const order = spec.points.filter((point) => within(point)).sort((a, b) => a.x - b.x || a.y - b.y);
      if (order.length) mark(order[Math.min(Math.max(order.indexOf(hot) + steps[event.key], 0), order.length - 1)]);
    });
  }

  const within = (point) => !zoom || ["x", "y"].every((axis) => point[axis] >= zoom[axis][0] && point[axis] <= zoom[axis][1]);

  function nearest(px, py) {
    let [best, away] = [null, 24];
    for (const point of spec.points) {
      if (!within(point)) continue;
      // What was only looked at on parts gives way to what is known.
      const distance = Math.hypot(frame.sx.at(point.x) - px, frame.sy.at(point.y) - py) + (point.look === "parts" ? 6 : 0);
      if (distance < away) [best, away] = [point, distance];
    }
    return best;
  }

  function mark(point) {
    if (point === hot && point !== null) return;
    hot = point;
    tip.hidden = !point;
    frame.svg.classList.toggle("over-point", Boolean(point));
    if (!point) return frame.marks.replaceChildren();
    const { sx, sy, box, marks, spot } = frame;
    const path = spec.paths(point);
    marks.replaceChildren(
      path.length > 1 ? h("path", { class: "own", style: `--c:${point.color}`, d: `M${path.map(spot).join("L")}` }) : "",
      h("circle", { class: "hot", style: `--c:${point.color}`, cx: sx.at(point.x), cy: sy.at(point.y), r: 7 }));
    tip.replaceChildren(...spec.tip(point));
    const shrink = frame.svg.clientWidth / frame.width;
    const [px, py] = [sx.at(point.x) * shrink, sy.at(point.y) * shrink];
    const right = px + tip.offsetWidth + 18 < plot.clientWidth;
    tip.style.left = `${Math.max(0, right ? px + 16 : px - tip.offsetWidth - 16)}px`;
    tip.style.top = `${Math.max(0, Math.min(py - 20, box.bottom * shrink - tip.offsetHeight))}px`;
  }

  function setZoom(next) {
    zoom = next;
    draw();
    document.dispatchEvent(new CustomEvent("zoomed", { detail: { domain: next } }));
  }

  charts.push({ setZoom });
  draw();
  redrawn(plot, draw);
  return { update(changes) { spec = { ...spec, ...changes }; zoom = null; draw(); } };
}
