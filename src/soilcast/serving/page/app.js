// The page begins here: catalogue, state, and who is told when it changes.

import { Catalogue } from "./catalogue.js";
import * as controls from "./controls.js";
import * as credit from "./credit.js";
import * as dates from "./dates.js";
import { element, field, settled } from "./dom.js";
import * as legend from "./legend.js";
import { ForecastMap, canDraw } from "./map.js";
import { PlacePanel } from "./place.js";
import * as search from "./search.js";
import * as server from "./server.js";
import { hold } from "./state.js";
import * as timeline from "./timeline.js";
import { isShare, words } from "./words.js";

const AGAIN = 60_000; // after which the page looks for new forecasts [ms]
const box = (id) => document.getElementById(id);

// Corners of what a forecast covers, without the poles, which the map cannot show.
function corners({ bounds: [west, south, east, north] }) {
  return [
    [west, Math.max(south, -60)],
    [east, Math.min(north, 82)],
  ];
}

function announce(text) {
  box("announcer").textContent = text;
}

function message(text, ...more) {
  const shown = box("map-message");
  shown.hidden = !text;
  shown.replaceChildren(...(text ? [text, " ", ...more] : []));
}

function dress() {
  for (const one of document.querySelectorAll("[data-word]")) one.textContent = words[one.dataset.word];
  for (const one of document.querySelectorAll("[data-label]")) one.setAttribute("aria-label", words[one.dataset.label]);
  // The part of the address behind # holds the state, so that the link may not be followed.
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    box("map").querySelector("canvas")?.focus();
  });
  box("copy-link").textContent = words.copyLink;
  box("about-button").textContent = words.about;
  box("about-button").addEventListener("click", () => box("about").showModal());
  box("copy-link").addEventListener("click", async () => {
    const said =
      (await navigator.clipboard?.writeText(location.href).then(
        () => words.linkCopied,
        () => words.linkFailed,
      )) ?? words.linkFailed;
    box("copy-link").textContent = said;
    announce(said);
    setTimeout(() => (box("copy-link").textContent = words.copyLink), 2500);
  });
}

// The server's catalogue; while it has no forecast, the page says so and asks again.
async function firstCatalogue() {
  for (;;) {
    try {
      const found = new Catalogue(await server.catalogue());
      credit.about(box("about"), found.collections[0], found.broken);
      if (found.collections.length) return found;
      message(words.empty, ...brokenNote(found));
    } catch (fault) {
      if (!(fault instanceof server.Refused)) throw fault;
      message(fault.message || words.noServer);
    }
    await new Promise((go) => setTimeout(go, AGAIN));
  }
}

function brokenNote({ broken }) {
  if (!broken.length) return [];
  return [
    `${words.broken(broken.length)} `,
    element(
      "button",
      { type: "button", class: "link", on: { click: () => box("about").showModal() } },
      words.brokenMore,
    ),
  ];
}

class Page {
  constructor(found) {
    this.found = found;
    this.state = hold((given) => this.found.complete(given));
    this.places = [];
    const lookup = {
      collection: (state) => this.found.collection(state),
      variable: (state) => this.found.variable(state),
    };
    const set = (change) => this.state.set(change);
    this.controls = controls.build(box("controls"), lookup, set);
    this.timeline = timeline.build(box("timeline"), lookup, set);
    search.build(box("search"), { own: () => this.places, go: (place) => this.go(place), announce });
    this.panel = new PlacePanel(box("place"), {
      announce,
      closed: () => this.leave(),
      found: (place) => this.map?.mark(place),
    });
    this.chooseCollection();
    this.startMap();
    this.state.listen((state, changed) => this.show(state, changed));
    this.show(this.state.get(), null);
    setInterval(() => document.hidden || this.lookAgain(), AGAIN);
  }

  get collection() {
    return this.found.collection(this.state.get());
  }

  chooseCollection() {
    const { collections } = this.found;
    const select = element(
      "select",
      { id: "forecast", on: { change: () => this.state.set({ collection: select.value, issue: null }) } },
      collections.map(({ id, title }) => element("option", { value: id }, title)),
    );
    const only = element("p", { class: "only", title: collections[0].about }, collections[0].title);
    box("collection").replaceChildren(collections.length > 1 ? field(words.forecast, select) : only);
    this.chooser = select;
  }

  startMap() {
    if (!canDraw()) return message(words.noMap);
    const { zoom, centre_lat: lat, centre_lon: lon } = this.state.get();
    this.map = new ForecastMap(box("map"), {
      view: zoom === undefined ? null : { zoom, lat, lon },
      bounds: corners(this.collection),
      choose: (place) => this.state.set(place),
      failed: () => message(words.pictureFailed),
      moved: settled((view) => this.state.set({ zoom: view.zoom, centre_lat: view.lat, centre_lon: view.lon }), 200),
    });
    const canvas = this.map.map.getCanvas();
    const crosshair = (on) => (box("crosshair").hidden = !on);
    canvas.setAttribute("aria-label", words.mapRegion);
    canvas.addEventListener("focus", () => crosshair(canvas.matches(":focus-visible")));
    canvas.addEventListener("blur", () => crosshair(false));
    canvas.addEventListener("keydown", (event) => {
      crosshair(true);
      if (event.key === "Escape") this.leave();
      if (event.key !== "Enter") return;
      this.byKeyboard = true;
      this.state.set(this.map.centre());
    });
    const [note, ...more] = brokenNote(this.found);
    message(note, ...more);
  }

  go({ lat, lon, zoom, station = null }) {
    this.byKeyboard = true;
    this.state.set({ lat, lon, station });
    this.map?.look({ lat, lon }, zoom);
  }

  leave() {
    this.state.set({ lat: null, lon: null, station: null });
    this.map?.map.getCanvas().focus();
  }

  // Bring everything in line with a state; `changed` are the keys that differ, null at first.
  show(state, changed) {
    const any = (...keys) => !changed || keys.some((key) => changed.has(key));
    const collection = this.found.collection(state);
    if (any("collection")) {
      this.chooser.value = state.collection;
      document.title = words.title(collection.title);
      credit.line(box("credit"), collection, () => box("about").showModal());
      credit.about(box("about"), collection, this.found.broken);
      this.droughtClasses = this.classesOf(collection);
      if (changed) this.map?.lookAt(corners(collection));
    }
    this.controls.show(state);
    this.timeline.show(state);
    if (any("collection", "variable", "quantile", "drought_class", "change")) this.try(this.showLegend(state));
    if (any("collection", "variable", "quantile", "drought_class", "change", "issue", "lead"))
      this.try(this.picture(state, collection));
    if (any("collection", "issue")) this.try(this.named(state, collection));
    if (any("collection", "issue", "lat", "lon", "station")) this.place(state, collection);
    else if (any("lead")) this.panel.show(state);
  }

  // What is asked for one purpose ends what was asked for it before.
  only(purpose) {
    this.asked ??= {};
    this.asked[purpose]?.abort();
    this.asked[purpose] = new AbortController();
    return this.asked[purpose].signal;
  }

  // Say what the server refuses; what a newer question ended is nobody's concern.
  async try(work) {
    try {
      await work;
    } catch (fault) {
      if (fault.name === "AbortError") return;
      if (!(fault instanceof server.Refused)) throw fault;
      message(fault.message || words.noServer);
    }
  }

  async showLegend(state) {
    const content = await server.legend(state, this.only("legend"));
    const [collection, variable] = [this.found.collection(state), this.found.variable(state)];
    const layer = collection.layers.length > 1 ? collection.layers.find(({ name }) => name === variable.layer) : null;
    const title = words.legendTitle({
      variable,
      quantile: state.quantile,
      droughtClass: state.drought_class,
      change: state.change,
      layer: layer && words.layerOf(layer),
    });
    legend.show(this.controls.legend, title, content, isShare(variable));
  }

  // Colour and title of each drought class by its name, which begins its label.
  async classesOf(collection) {
    const drought = collection.variables.find(({ name }) => name.endsWith("_drought"));
    if (!drought) return new Map();
    const { colours } = await server
      .legend({ collection: collection.id, variable: drought.name })
      .catch(() => ({ colours: [] }));
    const parts = colours.map(({ colour, label }) => [label.split(" "), colour]);
    return new Map(parts.map(([[name, ...title], colour]) => [name, { colour, title: title.join(" ") }]));
  }

  async picture(state, collection) {
    if (!this.map) return;
    const signal = this.only("picture");
    if (collection.grid) return this.map.showTiles(state, collection.bounds);
    const { features } = await server.places(state, signal);
    await this.map.showCircles(features.filter(({ properties }) => properties.kind === "cell"));
  }

  // Stations and regions of the map, and what the search finds beside towns.
  async named(state, collection) {
    const signal = this.only("named");
    const { features } = collection.places ? await server.places(state, signal) : { features: [] };
    const named = features.filter(({ properties }) => properties.kind !== "cell");
    const regions = named.some(({ properties }) => properties.kind === "region");
    const outlines = regions ? await server.outlines(state.collection, signal) : { features: [] };
    this.places = features.map(
      ({
        properties: { id, name, kind },
        geometry: {
          coordinates: [lon, lat],
        },
      }) => ({
        name,
        lat,
        lon,
        kind: words.kinds[kind],
        zoom: 7,
        station: kind === "cell" ? null : id,
      }),
    );
    await this.map?.showPlaces(named, outlines.features);
  }

  place(state, collection) {
    const focus = this.byKeyboard ?? false;
    this.byKeyboard = false;
    const chosen = state.station || (Number.isFinite(state.lat) && Number.isFinite(state.lon));
    if (chosen) this.panel.load(state, collection, this.droughtClasses, { focus });
    else if (this.panel.open) this.panel.close();
  }

  // Forecasts arrive while the page is open: offer the newest instead of taking the reader away from what is shown.
  async lookAgain() {
    const before = this.collection.issues.at(-1);
    try {
      this.found = new Catalogue(await server.catalogue());
    } catch (fault) {
      if (fault instanceof server.Refused) return;
      throw fault;
    }
    if (!this.found.collections.length) return;
    this.chooseCollection();
    this.state.set({});
    this.chooser.value = this.state.get().collection;
    this.timeline.show(this.state.get());
    const newest = this.collection.issues.at(-1);
    if (newest === before) return;
    const take = () => {
      message(null);
      this.state.set({ issue: newest });
    };
    message(
      words.newer(dates.long(newest)),
      element("button", { type: "button", class: "link", on: { click: take } }, words.showNewer),
    );
  }
}

dress();
new Page(await firstCatalogue());
