// What the colours of the map mean: a ramp with its values, or a list where each colour has a name.

import { element } from "./dom.js";
import { unit, words } from "./words.js";

const [MANY, FEW] = [5, 2]; // steps between numbers below a ramp: of short numbers, and of long ones
const SHORT = 4; // letters of a short number

const swatch = (colour) => element("span", { class: "swatch", style: { "--colour": colour } });

function list(colours) {
  return element("ul", { class: "classes" }, colours.map(({ colour, label }) => element("li", {}, swatch(colour), label)));
}

function ramp(colours, asShares) {
  const shades = `linear-gradient(90deg, ${colours.map(({ colour }) => colour).join(", ")})`;
  const edges = [...colours.map(({ from }) => from), colours.at(-1).to];
  const write = asShares ? (value) => `${Math.round(value * 100)} %` : writer(edges);
  const longest = Math.max(...edges.map((value) => write(value).length));
  const every = Math.ceil((edges.length - 1) / (longest > SHORT ? FEW : MANY));
  const marks = edges.map((value, at) => (at % every ? null : element("span", { class: "mark", style: { "--at": `${(at / (edges.length - 1)) * 100}%` } }, write(value))));
  const ends = [colours[0].label, colours.at(-1).label];
  return [
    element("div", { class: "ramp", style: { "--ramp": shades } }),
    element("div", { class: "marks" }, marks),
    ends.some(Boolean) ? element("div", { class: "ends" }, ends.map((end) => element("span", {}, end))) : null,
  ];
}

// As few digits as tell the values apart.
function writer(values) {
  const digits = [0, 1, 2, 3, 4].find((count) => new Set(values.map((value) => value.toFixed(count))).size === values.length) ?? 4;
  return (value) => value.toFixed(digits).replace("-", "−");
}

// Show a legend under its title; `asShares` writes numbers between 0 and 1 as percent.
export function show(box, title, { units, colours }, asShares) {
  const named = colours.every(({ label }) => label);
  const inUnits = asShares ? "" : unit(units);
  box.setAttribute("aria-label", words.legendOf(title));
  box.replaceChildren(
    element("p", { class: "legend-title" }, title, inUnits ? element("span", { class: "unit" }, ` [${inUnits}]`) : null),
    ...(named ? [list(colours)] : ramp(colours, asShares).filter(Boolean)),
  );
}
