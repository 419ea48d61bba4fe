// What if: rain or heat added to the coming days, and the model run again in the server.

import * as dates from "./dates.js";
import { element, settled } from "./dom.js";
import * as server from "./server.js";
import { words } from "./words.js";

// Of the slider, and of the number beside it, which may go farther.
const RANGES = { rain: { min: 0, max: 50, step: 1 }, heat: { min: -10, max: 10, step: 0.5 } };
const LIMITS = { rain: { min: 0, max: 500, step: "any" }, heat: { min: -20, max: 20, step: "any" } };

// `changed` is called with what the server computed, or null when nothing is added.
export function build(state, coming, units, layer, changed) {
  const result = element("p", { class: "result", role: "status", id: "what-if-result" }, words.unchanged);
  const inputs = { rain: [], heat: [] };
  let running;

  const input = (kind, at, label) => {
    const range = element("input", { type: "range", ...RANGES[kind], value: 0, tabindex: "-1", "aria-hidden": "true" });
    const exact = element("input", { type: "number", ...LIMITS[kind], value: 0, inputmode: "decimal", "aria-label": label, name: `${kind}-${coming.leads[at]}` });
    range.addEventListener("input", () => { exact.value = range.value; later(); });
    exact.addEventListener("input", () => { range.value = exact.value; later(); });
    inputs[kind].push({ range, exact });
    return element("span", { class: "amount" }, range, exact);
  };

  const rows = coming.days.map((day, at) =>
    element("tr", {}, element("th", { scope: "row" }, dates.short(day)), element("td", {}, input("rain", at, words.rainOn(dates.long(day)))), element("td", {}, input("heat", at, words.heatOn(dates.long(day))))),
  );
  const heads = [words.columns.day, words.rain, words.heat].map((head) => element("th", { scope: "col" }, head));
  const preset = (label, id, rain, heat) => element("button", { type: "button", class: "quiet", id, on: { click: () => { fill("rain", rain); fill("heat", heat); compute(); } } }, label);
  const amounts = (kind) => inputs[kind].map(({ exact }) => (Number.isFinite(exact.valueAsNumber) ? exact.valueAsNumber : 0));

  function fill(kind, value) {
    for (const { range, exact } of inputs[kind]) range.value = exact.value = value;
  }

  async function compute() {
    running?.abort();
    const [rain, heat] = [amounts("rain"), amounts("heat")];
    if (![...rain, ...heat].some(Boolean)) {
      result.textContent = words.unchanged;
      return changed(null);
    }
    running = new AbortController();
    result.textContent = words.computing;
    try {
      const answer = await server.whatIf(state, rain, heat, running.signal);
      const { as_forecast: before, changed: after } = answer.layers[layer];
      const last = after.length - 1;
      result.textContent = words.changedText(dates.short(answer.days[last]), before[last], after[last], after[last] - before[last], units);
      changed(after);
    } catch (fault) {
      if (fault.name === "AbortError") return;
      result.textContent = fault.message || words.noServer;
      changed(null);
    }
  }

  const later = settled(compute, 250);
  return element(
    "form", { class: "what-if", on: { submit: (event) => { event.preventDefault(); compute(); } } },
    element("p", { class: "note" }, words.whatIfText),
    element("p", { class: "presets" }, preset(words.wetter, "wetter", 10, 0), preset(words.hotter, "hotter", 0, 3), preset(words.reset, "reset", 0, 0)),
    element("div", { class: "scroll" }, element("table", {}, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows))),
    result,
  );
}
