"use strict";
// Elements, numbers in words, tables, and what is copied.

/** An element: h("td", {class: "number"}, "12"). Text is text: nothing of a result is ever read as HTML. */
function h(tag, attributes, ...children) {
  const svg = h.svg.has(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}
h.svg = new Set(["svg", "g", "path", "line", "rect", "text", "circle", "clipPath", "defs"]);

const thousands = new Map();
function decimals(value, digits) {
  if (!thousands.has(digits)) {
    thousands.set(digits, new Intl.NumberFormat("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return thousands.get(digits).format(value);
}

const known = (value) => value !== null && value !== undefined && Number.isFinite(Number(value));
const whole = (value) => (known(value) ? decimals(value, 0) : "–");
const percent = (value, digits = 1) => (known(value) ? decimals(value * 100, digits) + " %" : "–");

/** Four digits, or as many as stand before the point. */
function plain(value) {
  if (!known(value)) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(Number(value))) return decimals(value, 0);
  if (size >= 1000) return decimals(value, 0);
  if (size >= 100) return decimals(value, 1);
  if (size >= 1) return decimals(value, 2);
  return String(Number(value.toPrecision(3)));
}

const ms = (value) => (known(value) ? plain(value) + " ms" : "–");

/** A span of time for people: 340 ms, 12.4 s, 4 min 5 s, 2 h 10 min. */
function span(seconds) {
  if (!known(seconds)) return "–";
  if (seconds < 1) return plain(seconds * 1000) + " ms";
  if (seconds < 100) return plain(seconds) + " s";
  const rounded = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(rounded / 3600), Math.floor(rounded / 60) % 60, rounded % 60];
  if (hours > 0) return `${whole(hours)} h ${minutes} min`;
  return `${minutes} min ${rest} s`;
}

/** A point in time since the first arrival: 12 s, 5 min, 5:30, 1:05:30. `step` is the distance that has to remain visible. */
function moment(seconds, step = 0.001) {
  const digits = step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) - 1e-9));
  // Counted in its own last digit, so that 59.9996 is never shown as 60 seconds of a minute.
  const unit = 10 ** digits;
  const counted = Math.round(seconds * unit);
  if (counted < 60 * unit) return decimals(counted / unit, digits) + " s";
  const two = (value) => String(value).padStart(2, "0");
  const [minutes, rest] = [Math.floor(counted / (60 * unit)), (counted % (60 * unit)) / unit];
  const hours = Math.floor(minutes / 60);
  if (step >= 60 && rest === 0) return minutes < 60 ? `${minutes} min` : minutes % 60 ? `${hours}:${two(minutes % 60)} h` : `${hours} h`;
  const clock = rest.toFixed(digits).padStart(digits ? digits + 3 : 2, "0");
  return hours ? `${hours}:${two(minutes % 60)}:${clock}` : `${minutes}:${clock}`;
}

/** A number shown in short, with its unit, that keeps its exact value beside it. */
function datum(value, text, unit) {
  return h("data", { value: known(value) ? String(value) : "" }, text, unit ? h("span", { class: "unit" }, unit) : null);
}

// ---------------------------------------------------------------------------------------------- copying

function toast(text) {
  const box = document.getElementById("toast");
  box.textContent = text;
  box.classList.add("shown");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => box.classList.remove("shown"), 1800);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages that are opened as files may not be allowed the clipboard; selecting a text and copying it is.
    const area = h("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return toast("The browser does not allow copying here");
  }
  toast(`Copied ${what}`);
}

function csv(table) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  return [table.columns, ...table.rows].map((row) => row.map(cell).join(",") + "\n").join("");
}

function records(table) {
  const entries = table.rows.map((row) => Object.fromEntries(table.columns.map((name, place) => [name, row[place]])));
  return JSON.stringify(entries, null, 1);
}

/** A menu that copies what `table()` then holds: {columns, rows}. */
function copyMenu(table) {
  const item = (name, write) =>
    h("button", { type: "button", onclick: (event) => {
      const now = table();
      event.currentTarget.closest("details").open = false;
      copy(write(now), `${whole(now.rows.length)} rows as ${name}`);
    } }, `Copy ${name}`);
  return h("details", { class: "menu", onkeydown: (event) => {
    if (event.key === "Escape") event.currentTarget.open = false;
  } }, h("summary", { class: "tool" }, "Data"), h("div", {}, item("CSV", csv), item("JSON", records)));
}

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

// ---------------------------------------------------------------------------------------------- pieces

function card(title, caption, tools, ...content) {
  return h("figure", { class: "card" },
    h("div", { class: "head" },
      h("div", {}, h("h3", {}, title), caption ? h("p", { class: "caption" }, caption) : null),
      h("div", { class: "tools" }, tools)),
    content);
}

/** Buttons of which one is pressed; calls `choose` with its key. */
function segments(label, choices, chosen, choose) {
  const buttons = Object.entries(choices).map(([key, text]) =>
    h("button", { type: "button", "aria-pressed": String(key === chosen), "data-key": key, onclick: () => {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.key === key));
      choose(key);
    } }, text));
  return h("div", { class: "segments", role: "group", "aria-label": label }, buttons);
}

/**
 * A table whose columns can be sorted.
 * columns: [{key, title, number, show(row) -> text or element, value(row)}]; pick(row) is called for a clicked row; of
 * more than `most` rows the first are shown, until all are asked for. `turned`: a row is no record, and none are sorted.
 */
function sortable(columns, rows, { sorted = null, descending = true, pick = null, picked = null, label = "", most = Infinity, turned = false } = {}) {
  const state = { key: sorted, descending, rows, picked, most };
  const body = h("tbody");
  const rest = h("button", { type: "button", class: "tool more", hidden: true, onclick: () => { state.most = Infinity; draw(); } });
  const value = (column, row) => (column.value ? column.value(row) : row[column.key]);
  const heads = columns.map((column) =>
    h("th", { scope: "col", class: column.number ? "number" : "" },
      column.unsorted || turned ? column.title : h("button", { type: "button", onclick: () => {
        state.descending = state.key === column.key ? !state.descending : Boolean(column.number);
        state.key = column.key;
        draw();
      } }, column.title)));
  function draw() {
    const column = columns.find((one) => one.key === state.key);
    const shown = [...state.rows];
    if (column) {
      const sign = state.descending ? -1 : 1;
      shown.sort((a, b) => {
        const [x, y] = [value(column, a), value(column, b)];
        if (x === y) return 0;
        if (x === null || x === undefined) return 1;
        if (y === null || y === undefined) return -1;
        return (x < y ? -1 : 1) * sign;
      });
    }
    columns.forEach((one, place) => {
      if (one.key === state.key) heads[place].setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else heads[place].removeAttribute("aria-sort");
    });
    rest.hidden = shown.length <= state.most;
    rest.textContent = `Show all ${whole(shown.length)}`;
    body.replaceChildren(...shown.slice(0, state.most).map((row) => {
      const line = h("tr", { class: pick ? "pick" : "", "aria-selected": pick ? String(row === state.picked) : null },
        columns.map((one) => h("td", { class: one.number ? "number" : "" }, one.show ? one.show(row) : String(row[one.key] ?? "–"))));
      if (pick) line.addEventListener("click", () => {
        state.picked = row;
        for (const other of body.children) other.setAttribute("aria-selected", String(other === line));
        pick(row, line);
      });
      return line;
    }));
  }
  draw();
  const table = h("table", { "aria-label": label }, h("thead", {}, h("tr", {}, heads)), body);
  return {
    element: h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, table, rest),
    update(rows) { state.rows = rows; state.picked = null; draw(); },
    data: () => ({
      columns: columns.filter((one) => !one.unsorted).map((one) => one.key),
      rows: state.rows.map((row) => columns.filter((one) => !one.unsorted).map((one) => value(one, row))),
    }),
  };
}
