// The map: the forecast as tiles or circles, stations, the chosen place, and how a place is chosen.

import { Map as Chart, NavigationControl, ScaleControl } from "./vendor/maplibre-gl/maplibre-gl.mjs";
import { OVER_FORECAST, UNDER_NAMES, furnish, namePlaces, recolour, style } from "./basemap.js";
import * as gazetteer from "./gazetteer.js";
import * as server from "./server.js";
import { LOCALE } from "./words.js";

const EMPTY = { type: "FeatureCollection", features: [] };
const FINEST = 9; // zoom level of tiles; beyond it they are magnified
const MISSING = "#9aa3aa"; // colour of a circle without a forecast
const SAMPLED = 300; // circles whose distance to the nearest is looked at
const EDGE = 40; // how near to the edge of the map a chosen place may lie [pixels]
const REACH = 8; // how far beside a point a press still means it [pixels]

export function canDraw() {
  return Boolean(document.createElement("canvas").getContext("webgl2"));
}

// Room for what lies over the map, but for a forecast of the globe, which may go under it [pixels].
function room(box, [[west], [east]]) {
  if (east - west > 180) return 10;
  if (box.clientWidth > 640) return { left: 310, right: 70, top: 50, bottom: 140 };
  return { left: 30, right: 30, top: Math.min(160, box.clientHeight / 4), bottom: Math.min(150, box.clientHeight / 4) };
}

// Radius of circles by zoom level: they touch where they are near each other, and can be seen and pressed anywhere.
function radii(cells) {
  const places = cells.map(
    ({
      geometry: {
        coordinates: [lon, lat],
      },
    }) => ({ lon, lat }),
  );
  const every = Math.ceil(places.length / SAMPLED);
  const gaps = places
    .filter((_, at) => at % every === 0)
    .map((place) =>
      Math.min(...places.filter((other) => other !== place).map((other) => gazetteer.distance(place, other))),
    )
    .sort((one, other) => one - other);
  const gap = gaps[Math.floor(gaps.length / 2)] ?? Infinity;
  const north = places.reduce((sum, { lat }) => sum + lat, 0) / places.length;
  const pixel = (zoom) => (gazetteer.EQUATOR * Math.cos((north * Math.PI) / 180)) / (512 * 2 ** zoom); // [km]
  const stops = [...Array(12).keys()].flatMap((zoom) => [
    zoom,
    Math.min(Math.max((0.46 * gap) / pixel(zoom), 4), 14 + zoom),
  ]);
  return ["interpolate", ["exponential", 2], ["zoom"], ...stops];
}

// In the dark the colours of the forecast are as much darker as those of its legend.
const dimmed = () => ({
  "raster-brightness-max": Number(getComputedStyle(document.documentElement).getPropertyValue("--dim")),
});
const features = (list) => ({ type: "FeatureCollection", features: list });

export class ForecastMap {
  // `choose` is called with the place that was pressed, `moved` with where the map looks, `failed` with a fault of it.
  constructor(box, { view, bounds, choose, moved, failed }) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.box = box;
    this.map = new Chart({
      container: box,
      style: style(),
      attributionControl: false,
      locale: LOCALE,
      maxZoom: 11,
      maxPitch: 0,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: still ? 0 : 150,
      reduceMotion: still,
      ...(view
        ? { center: [view.lon, view.lat], zoom: view.zoom }
        : { bounds, fitBoundsOptions: { padding: room(box, bounds) } }),
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new NavigationControl({ showCompass: false }), "top-right");
    this.map.addControl(new ScaleControl({ maxWidth: 110 }), "bottom-right");
    this.map.on("click", (press) => choose(this.at(press.point, press.lngLat)));
    this.map.on("error", ({ error }) => failed(error));
    this.map.on("moveend", () => moved(this.view()));
    this.map.on("mousemove", ({ point }) => (this.map.getCanvas().style.cursor = this.marked(point) ? "pointer" : ""));
    this.ready = this.map.once("style.load").then(() => this.prepare());
    this.serial = 0;
    this.busy(true);
  }

  async prepare() {
    this.map.addSource("cells", { type: "geojson", data: EMPTY });
    this.map.addSource("outlines", { type: "geojson", data: EMPTY });
    this.map.addSource("chosen", { type: "geojson", data: EMPTY });
    const size = (least, most) => ["interpolate", ["linear"], ["zoom"], 2, least, 8, most];
    const edge = { "circle-stroke-color": "#1c2530", "circle-stroke-width": 0.75 };
    this.map.addLayer(
      {
        id: "cells",
        type: "circle",
        source: "cells",
        paint: { "circle-color": ["coalesce", ["get", "colour"], MISSING], ...edge },
      },
      UNDER_NAMES,
    );
    const line = { type: "line", source: "outlines" };
    this.map.addLayer(
      { ...line, id: "outlines-halo", paint: { "line-color": "#ffffff", "line-width": 3 } },
      UNDER_NAMES,
    );
    this.map.addLayer({ ...line, id: "outlines", paint: { "line-color": "#14171a", "line-width": 1.2 } }, UNDER_NAMES);
    const mark = (id, kind, colour, edge, width) => ({
      id,
      type: "circle",
      source: "named",
      filter: ["==", ["get", "kind"], kind],
      paint: {
        "circle-radius": size(3, 6),
        "circle-color": colour,
        "circle-stroke-color": edge,
        "circle-stroke-width": width,
      },
    });
    this.map.addLayer(mark("stations", "station", "#ffffff", "#14171a", 2));
    this.map.addLayer(mark("regions", "region", "#14171a", "#ffffff", 2));
    for (const [id, colour, width] of [
      ["chosen-halo", "#ffffff", 5],
      ["chosen", "#111111", 2],
    ]) {
      this.map.addLayer({
        id,
        type: "line",
        source: "chosen",
        filter: ["==", ["geometry-type"], "LineString"],
        paint: { "line-color": colour, "line-width": width },
      });
      this.map.addLayer({
        id: `${id}-point`,
        type: "circle",
        source: "chosen",
        filter: ["==", ["geometry-type"], "Point"],
        paint: { "circle-radius": 9, "circle-opacity": 0, "circle-stroke-color": colour, "circle-stroke-width": width },
      });
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      recolour(this.map);
      for (const id of this.pictures())
        for (const [name, value] of Object.entries(dimmed())) this.map.setPaintProperty(id, name, value);
    });
    // The forecast comes first: land and names may follow it.
    furnish(this.map)
      .then(() => gazetteer.load())
      .then(({ towns }) => namePlaces(this.map, towns))
      .catch(console.error);
  }

  busy(is) {
    this.box.setAttribute("aria-busy", String(is));
  }

  view() {
    const { lng, lat } = this.map.getCenter();
    return { zoom: Number(this.map.getZoom().toFixed(2)), lat: Number(lat.toFixed(3)), lon: Number(lng.toFixed(3)) };
  }

  marked(point) {
    const around = [
      [point.x - REACH, point.y - REACH],
      [point.x + REACH, point.y + REACH],
    ];
    const layers = ["stations", "regions", "cells"].filter((id) => this.map.getLayer(id));
    return this.map.queryRenderedFeatures(around, { layers })[0] ?? null;
  }

  // The place at a point of the picture: a station or a circle if it is one, else where it lies.
  at(point, { lng, lat }) {
    const found = this.marked(point);
    const [lon, north] = found ? found.geometry.coordinates : [((lng + 540) % 360) - 180, lat];
    return {
      lat: Number(north.toFixed(4)),
      lon: Number(lon.toFixed(4)),
      station: found && found.properties.kind !== "cell" ? found.properties.id : null,
    };
  }

  centre() {
    const centre = this.map.getCenter();
    return this.at(this.map.project(centre), centre);
  }

  // Show a picture; the one before stays until this one is there.
  async showTiles(state, bounds) {
    await this.ready;
    const url = server.tiles(state, devicePixelRatio > 1);
    if (url === this.wanted) return;
    this.wanted = url;
    const id = `forecast-${(this.serial += 1)}`;
    this.busy(true);
    this.map.getSource("cells").setData(EMPTY);
    const [west, south, east, north] = bounds;
    const box = [Math.max(west, -180), Math.max(south, -85.05), Math.min(east, 180), Math.min(north, 85.05)];
    this.map.addSource(id, { type: "raster", tiles: [url], tileSize: 256, maxzoom: FINEST, bounds: box });
    const paint = { "raster-opacity": 0, "raster-resampling": "nearest", "raster-fade-duration": 0 };
    this.map.addLayer({ id, type: "raster", source: id, paint: { ...paint, ...dimmed() } }, OVER_FORECAST);
    for (const layer of this.pictures()) if (layer !== id && layer !== this.shown) this.drop(layer);
    const arrived = () => {
      if (this.map.getSource(id) && !this.map.isSourceLoaded(id)) return;
      for (const event of ["sourcedata", "idle"]) this.map.off(event, arrived);
      if (!this.map.getSource(id)) return;
      this.map.setPaintProperty(id, "raster-opacity", 1);
      if (this.shown) this.drop(this.shown);
      this.shown = id;
      this.map.once("idle", () => this.busy(false));
    };
    for (const event of ["sourcedata", "idle"]) this.map.on(event, arrived);
  }

  pictures() {
    return this.map
      .getStyle()
      .layers.map(({ id }) => id)
      .filter((id) => id.startsWith("forecast-"));
  }

  drop(id) {
    if (!this.map.getLayer(id)) return;
    this.map.removeLayer(id);
    this.map.removeSource(id);
  }

  // Show cells that lie on no grid as circles.
  async showCircles(cells) {
    await this.ready;
    this.wanted = null;
    for (const id of this.pictures()) this.drop(id);
    this.shown = null;
    this.busy(true);
    if (cells.length)
      for (const id of ["cells", "chosen-point", "chosen-halo-point"])
        this.map.setPaintProperty(id, "circle-radius", radii(cells));
    this.map.getSource("cells").setData(features(cells));
    this.map.once("idle", () => this.busy(false));
  }

  // Show stations and regions, and the outlines of these.
  async showPlaces(named, outlines) {
    await this.ready;
    this.map.getSource("named").setData(features(named));
    this.map.getSource("outlines").setData(features(outlines));
  }

  // Mark the chosen cell by its outline, or by a ring where it has none; null takes the mark away.
  async mark(place) {
    await this.ready;
    let geometry = null;
    if (place?.extent) {
      const [west, south, east, north] = place.extent;
      const corners = [
        [west, south],
        [east, south],
        [east, north],
        [west, north],
        [west, south],
      ];
      geometry = { type: "LineString", coordinates: corners };
    } else if (place) {
      geometry = { type: "Point", coordinates: [place.lon, place.lat] };
    }
    this.map.getSource("chosen").setData(features(geometry ? [{ type: "Feature", properties: {}, geometry }] : []));
    if (place) this.uncover(place);
  }

  // Move the map if a place came to lie beside it, as the panel took room.
  uncover({ lat, lon }) {
    this.map.resize();
    const { x, y } = this.map.project([lon, lat]);
    const { clientWidth: wide, clientHeight: tall } = this.box;
    if (x < EDGE || y < EDGE || x > wide - EDGE || y > tall - EDGE) this.map.easeTo({ center: [lon, lat] });
  }

  // Look at a place, and closer if asked, but never farther away.
  async look({ lat, lon }, zoom = 0) {
    await this.ready;
    this.map.easeTo({ center: [lon, lat], zoom: Math.max(this.map.getZoom(), zoom) });
  }

  async lookAt(bounds) {
    await this.ready;
    this.map.fitBounds(bounds, { padding: room(this.box, bounds) });
  }
}
