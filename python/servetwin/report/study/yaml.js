"use strict";
// Specs as YAML, as its readers of version 1.1 and 1.2 both take it.

/** The spec of a trial, its parts in the order of the documentation. */
function specOf(trial) {
  const spec = structuredClone(DATA.base);
  for (const path of trial.spec.unset) {
    const holders = path.slice(0, -1).reduce((above, name) => [...above, above.at(-1)[name]], [spec]);
    delete holders.at(-1)[path.at(-1)];
    // What held nothing else goes with it.
    for (let depth = holders.length - 1; depth > 0 && !Object.keys(holders[depth]).length; depth--) delete holders[depth - 1][path[depth - 1]];
  }
  for (const [path, value] of trial.spec.set) {
    let node = spec;
    for (const name of path.slice(0, -1)) node = isMapping(node[name]) ? node[name] : (node[name] = {});
    node[path.at(-1)] = value;
  }
  const rank = (name) => { const place = DATA.fields.indexOf(name); return place < 0 ? DATA.fields.length : place; };
  return Object.fromEntries(Object.entries(spec).sort(([a], [b]) => rank(a) - rank(b)));
}

const isMapping = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

const YAML_WIDTH = 100;
const YAML_PLAIN = /^[A-Za-z_][A-Za-z0-9_./+-]*$/;
const YAML_WORDS = new Set(["null", "true", "false", "yes", "no", "on", "off", "y", "n"]);

function yamlScalar(value) {
  if (typeof value === "string") return YAML_PLAIN.test(value) && !YAML_WORDS.has(value.toLowerCase()) ? value : JSON.stringify(value);
  // 1e-7 is a number only with a point in it.
  if (typeof value === "number") return String(value).replace(/^(-?\d+)e/, "$1.0e");
  return String(value);
}

/** On one line. */
function yamlFlow(value) {
  if (Array.isArray(value)) return `[${value.map(yamlFlow).join(", ")}]`;
  if (isMapping(value)) return `{${Object.entries(value).map(([name, inner]) => `${yamlScalar(name)}: ${yamlFlow(inner)}`).join(", ")}}`;
  return yamlScalar(value);
}

/** Mappings of mappings a line an entry; what is left on one line where it fits. */
function yamlOf(mapping, indent = "") {
  return Object.entries(mapping).map(([name, value]) => {
    const start = `${indent}${yamlScalar(name)}:`;
    const flat = `${start} ${yamlFlow(value)}`;
    if (!isMapping(value) || !Object.keys(value).length) return `${flat}\n`;
    const inside = Object.values(value);
    if (indent && !inside.some((inner) => isMapping(inner) && Object.values(inner).some(isMapping)) && flat.length <= YAML_WIDTH) return `${flat}\n`;
    return `${start}\n${yamlOf(value, `${indent}  `)}`;
  }).join("");
}
