// The panel of the chosen place: fetched, shown part by part, kept up with the day that the map shows.

import * as dates from "./dates.js";
import { element } from "./dom.js";
import * as gazetteer from "./gazetteer.js";
import { PARTS } from "./parts.js";
import * as server from "./server.js";
import { measured, sentence, words } from "./words.js";

const UNITS = "m3 m-3"; // of soil moisture, in every layer

export class PlacePanel {
  // `closed` is called when the reader closes the panel, `found` with the place that the server found, or null.
  constructor(box, { closed, found, announce }) {
    Object.assign(this, { box, closed, found, announce, parts: [], layer: null });
    box.addEventListener("keydown", (event) => event.key === "Escape" && closed());
  }

  get open() {
    return !this.box.hidden;
  }

  clear() {
    this.running?.abort();
    for (const part of this.parts) part.end?.();
    this.parts = [];
  }

  close() {
    this.clear();
    this.box.hidden = true;
    this.box.replaceChildren();
    this.found(null);
  }

  // Fetch and show the place of a state; the keyboard goes there if it chose the place.
  async load(state, collection, droughtClasses, { focus }) {
    this.clear();
    this.running = new AbortController();
    const { signal } = this.running;
    this.box.hidden = false;
    this.box.setAttribute("aria-busy", "true");
    if (!this.box.hasChildNodes()) this.box.append(this.header(words.wait, ""));
    try {
      const [place, classes] = await Promise.all([server.place(state, signal), droughtClasses]);
      const town = await gazetteer.near(place).catch(() => null);
      if (signal.aborted) return;
      const where = words.coordinates(place.lat, place.lon);
      this.shown = {
        place,
        state,
        collection,
        classes,
        name: place.name ?? (town ? words.near(town.name, town.country) : words.remote),
        where: words.located(
          place.cell === null ? words.regionMean : place.station ? words.stationAt(where) : words.cellAt(where),
          place.name && town ? words.near(town.name, town.country) : null,
        ),
      };
      this.found(place);
      this.render();
      this.tell();
    } catch (fault) {
      if (fault.name === "AbortError") return;
      this.box.replaceChildren(
        this.header(words.coordinates(state.lat, state.lon), ""),
        element("p", { class: "reason", role: "alert" }, sentence(fault.message) || words.noServer),
      );
      this.found(null);
      if (!(fault instanceof server.Refused)) throw fault;
    } finally {
      if (!signal.aborted) {
        this.box.setAttribute("aria-busy", "false");
        if (focus) this.box.querySelector("h2")?.focus();
      }
    }
  }

  header(title, subtitle) {
    return element(
      "header",
      { class: "place-head" },
      element(
        "div",
        {},
        element("h2", { tabindex: "-1" }, title),
        subtitle ? element("p", { class: "where" }, subtitle) : null,
      ),
      element(
        "button",
        {
          type: "button",
          class: "close",
          id: "close-place",
          "aria-label": words.closePlace,
          on: { click: () => this.closed() },
        },
        "×",
      ),
    );
  }

  render() {
    const { place, collection, name, where, state } = this.shown;
    const layers = collection.layers.filter((layer) => place.layers[layer.name]);
    if (!place.layers[this.layer]) this.layer = layers[0].name;
    const part = place.layers[this.layer];
    const droughtClass = state.drought_class ?? collection.default?.drought_class ?? part.odds?.classes[0];
    const context = { ...this.shown, part, layer: this.layer, units: UNITS, droughtClass };
    for (const old of this.parts) old.end?.();
    this.parts = [];
    const opened = [...this.box.querySelectorAll(".part > details[open]")].map(({ parentElement }) => parentElement.id);
    const sections = PARTS.map(({ name, title, make, folded }) => {
      const made = make(context);
      if (made) this.parts.push(made);
      const [id, heading] = [`part-${name}`, element("h3", {}, title)];
      const content =
        made?.node ??
        element("p", { class: "reason" }, sentence(part.reasons?.[name] ?? place.reasons?.[name]) ?? words.noPart);
      const inside =
        folded && made
          ? [element("details", { open: opened.includes(id) }, element("summary", {}, heading), content)]
          : [heading, content];
      return element("section", { class: `part ${name}`, id }, inside);
    });
    const scrolled = this.box.scrollTop;
    this.box.replaceChildren(
      this.header(name, where),
      this.tabs(layers),
      ...sections,
      element("p", { class: "note" }, `${words.notObserved}. ${sentence(collection.nature) ?? ""}`),
    );
    this.box.scrollTop = scrolled;
    for (const part of this.parts) part.start?.();
    for (const part of this.parts) part.show?.(state);
  }

  tabs(layers) {
    if (layers.length < 2) return "";
    const choose = (name) => {
      this.layer = name;
      this.render();
    };
    const option = (layer) => {
      const [name, id] = [layer.name, `layer-${layer.name}`];
      const input = element("input", {
        type: "radio",
        name: "layer",
        id,
        checked: name === this.layer,
        on: { change: () => choose(name) },
      });
      return [input, element("label", { for: id }, words.layerOf(layer))];
    };
    return element(
      "fieldset",
      { class: "layers" },
      element("legend", { class: "unseen" }, words.layer),
      layers.flatMap(option),
    );
  }

  // Keep up with the day that the map shows.
  show(state) {
    if (!this.shown) return;
    this.shown.state = state;
    for (const part of this.parts) part.show?.(state);
  }

  // What a screen reader hears when a place was opened.
  tell() {
    const { place, state, name } = this.shown;
    const { coming } = place.layers[this.layer];
    const at = coming.leads.indexOf(state.lead);
    const value = (coming.median ?? coming.mean)[at];
    this.announce(
      words.opened(name, `${words.soilMoisture}, ${dates.long(coming.days[at])}: ${measured(value, UNITS)}`),
    );
  }
}
