"use strict";
// From values to pixels, and where the ticks stand.

const NICE = [1, 2, 5, 10];
const NICE_TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return NICE.find((step) => step * power >= rough * (1 - 1e-9)) * power;
}

function ticksBetween(low, high, step) {
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(n * step + 0);
  return found;
}

/**
 * kind: "linear", "time" (seconds), "log", or "tail": of shares, each further nine the same distance.
 * Gives {at(value), back(pixel), ticks, step}.
 */
function scale(kind, [low, high], [from, to], room) {
  const count = Math.max(2, Math.floor(Math.abs(to - from) / room));
  const forward = { log: (v) => Math.log10(Math.max(v, low)), tail: (v) => -Math.log10(Math.max(1 - v, 1 - high)) }[kind] || ((v) => v);
  const inverse = { log: (v) => 10 ** v, tail: (v) => 1 - 10 ** -v }[kind] || ((v) => v);
  const [start, end] = [forward(low), forward(high)];
  const at = (value) => from + ((forward(value) - start) / (end - start || 1)) * (to - from);
  const back = (pixel) => inverse(start + ((pixel - from) / (to - from)) * (end - start));
  const rough = (high - low) / count;
  let step = niceStep(rough);
  let ticks;
  if (kind === "log") {
    const decades = end - start;
    const steps = decades > count ? [1] : decades > count / 2 ? [1, 3] : [1, 2, 5];
    ticks = [];
    for (let power = Math.floor(start) - 1; power <= Math.ceil(end); power++) {
      for (const one of steps) {
        const value = one * 10 ** power;
        if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) ticks.push(value);
      }
    }
    if (ticks.length < 2) ticks = ticksBetween(low, high, step);
  } else if (kind === "tail") {
    ticks = [0, 0.5, 0.9, 0.99, 0.999].filter((value) => value >= low && value <= high);
  } else {
    if (kind === "time" && rough >= 0.5) {
      step = NICE_TIMES.find((one) => one >= rough) || Math.ceil(rough / 86400) * 86400;
    }
    ticks = ticksBetween(low, high, step);
  }
  return { at, back, ticks, step };
}

/** The smallest and greatest of some lists of numbers, which may hold null; null if there is none. */
function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list) {
      if (value === null || value === undefined || !Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

/** The place of the entry of an ascending list that is closest to a value. */
function closest(list, value) {
  let [low, high] = [0, list.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - list[low - 1] < list[low] - value ? low - 1 : low;
}
