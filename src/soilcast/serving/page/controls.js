// Which quantity the map shows.

import { element, field, fill } from "./dom.js";
import { nameOf, rankOf, words } from "./words.js";

// `lookup` gives the collection and the variable of a state; `set` changes the state. Gives the box of the legend, and
// what shows a state.
export function build(form, lookup, set) {
  const variable = element("select", { id: "variable", on: { change: () => set({ variable: variable.value, change: null }) } });
  const quantile = element("select", { id: "quantile", on: { change: () => set({ quantile: quantile.value || null }) } });
  const droughtClass = element("select", { id: "drought-class", on: { change: () => set({ drought_class: droughtClass.value }) } });
  const change = element("input", { id: "change", type: "checkbox", on: { change: () => set({ change: change.checked ? "7" : null }) } });
  const quantileField = field(words.quantile, quantile);
  const classField = field(words.droughtClass, droughtClass);
  const changeField = element("div", { class: "check" }, change, element("label", { for: "change" }, words.change));
  const legend = element("div", { id: "legend", class: "legend", role: "group" });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.append(field(words.variable, variable), quantileField, classField, changeField, legend);

  function show(state) {
    const chosen = lookup.variable(state);
    const collection = lookup.collection(state);
    form.classList.toggle("of-tiles", collection.grid);
    offer(variable, collection);
    variable.value = state.variable;
    quantileField.hidden = !chosen.quantiles.length;
    const levels = chosen.quantiles.map((level) => [String(level), words.quantileOf(Number(level))]);
    fill(quantile, [["", words.central], ...levels], state.quantile ?? "");
    classField.hidden = !chosen.drought_classes.length;
    fill(droughtClass, chosen.drought_classes.map((name) => [name, words.orDrier(name)]), state.drought_class ?? "");
    changeField.hidden = !chosen.can_change;
    change.checked = Boolean(state.change);
  }

  return { legend, show };
}

// Variables of several soil layers are grouped by layer.
function offer(select, collection) {
  if (select.dataset.collection === collection.id) return;
  select.dataset.collection = collection.id;
  const option = (variable) => element("option", { value: variable.name }, nameOf(variable));
  const { layers } = collection;
  const variables = [...collection.variables].sort((one, other) => rankOf(one) - rankOf(other));
  const groups = layers.length > 1 ? layers : [];
  const loose = variables.filter(({ layer }) => !groups.some(({ name }) => name === layer));
  select.replaceChildren(
    ...groups.map((group) =>
      element("optgroup", { label: words.layerOf(group) }, variables.filter(({ layer }) => layer === group.name).map(option)),
    ),
    ...loose.map(option),
  );
}
