// What the colours of the map mean: a bar of steps, or a list where each colour has a name.

import { element } from "./dom.js";
import { unit, words } from "./words.js";

const swatch = (colour) => element("span", { class: "swatch", style: { "--colour": colour } });

function list(colours) {
  return element("ul", { class: "classes" }, colours.map(({ colour, label }) => element("li", {}, swatch(colour), label)));
}

function bar(colours, places) {
  const steps = colours.map(({ colour }) => element("span", { class: "step", style: { "--colour": colour } }));
  const every = Math.ceil(colours.length / 5);
  const marks = colours.slice(1).map(({ from }, at) => {
    const share = `${((at + 1) / colours.length) * 100}%`;
    return (at + 1) % every ? null : element("span", { class: "mark", style: { "--at": share } }, places(from));
  });
  return element("div", { class: "bar" }, element("div", { class: "steps", "aria-hidden": "true" }, steps), element("div", { class: "marks" }, marks));
}

// As few digits as tell the boundaries apart.
function writer(colours) {
  const bounds = colours.slice(1).map(({ from }) => from);
  const digits = [0, 1, 2, 3].find((count) => new Set(bounds.map((bound) => bound.toFixed(count))).size === bounds.length) ?? 3;
  return (value) => value.toFixed(digits).replace("-", "−");
}

export function show(box, { title, units, colours, missing }) {
  const named = colours.every(({ label }) => label);
  const heading = element("p", { class: "legend-title" }, title, unit(units) ? element("span", { class: "unit" }, ` [${unit(units)}]`) : null);
  box.setAttribute("aria-label", words.legendOf(title));
  box.replaceChildren(
    heading, named ? list(colours) : bar(colours, writer(colours)),
    ...(missing ? [element("p", { class: "classes" }, swatch(missing), words.missing)] : []),
  );
}
