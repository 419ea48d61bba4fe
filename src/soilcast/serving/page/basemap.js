// Land and sea, borders, rivers, lakes and names: what lies under and over the forecast. No tile and no font is fetched.

import * as server from "./server.js";

const FONTS = ["Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "Arial"];
const EMPTY = { type: "FeatureCollection", features: [] };

// The layer that the forecast goes under; land is below it, all else above.
export const OVER_FORECAST = "lakes";
export const UNDER_NAMES = "nations";

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// How many places are named from each zoom level on: a place has the number of those that are more important.
const NAMED = ["step", ["zoom"], 0, 2, 30, 3, 110, 4, 500, 5, 1500, 6, 4000, 7, 8000];
const NATIONS = ["step", ["zoom"], 0, 1, 12, 2, 40, 3, 110, 4, 300];

function drawn() {
  const [water, land, line, river, ink, halo, nation] = [
    "--map-water",
    "--map-land",
    "--map-line",
    "--map-river",
    "--map-ink",
    "--map-halo",
    "--map-nation",
  ].map(colour);
  const text = { "text-font": FONTS, "text-max-width": 8, "text-padding": 4 };
  const paint = (ink) => ({ "text-color": ink, "text-halo-color": halo, "text-halo-width": 1.4 });
  return [
    { id: "sea", type: "background", paint: { "background-color": water } },
    { id: "land", type: "fill", source: "land", paint: { "fill-color": land, "fill-antialias": false } },
    { id: "lakes", type: "fill", source: "lakes", paint: { "fill-color": water } },
    {
      id: "rivers",
      type: "line",
      source: "rivers",
      minzoom: 3,
      paint: { "line-color": river, "line-width": ["interpolate", ["linear"], ["zoom"], 3, 0.4, 8, 1.6] },
    },
    { id: "shores", type: "line", source: "lakes", paint: { "line-color": line, "line-width": 0.5 } },
    {
      id: "borders",
      type: "line",
      source: "borders",
      paint: {
        "line-color": line,
        "line-width": ["interpolate", ["linear"], ["zoom"], 1, 0.5, 8, 1.4],
        "line-opacity": 0.75,
      },
    },
    {
      id: "coast",
      type: "line",
      source: "coast",
      paint: { "line-color": line, "line-width": ["interpolate", ["linear"], ["zoom"], 1, 0.45, 4, 0.8, 8, 1.4] },
    },
    {
      id: "nations",
      type: "symbol",
      source: "names",
      maxzoom: 5.5,
      filter: ["<", ["get", "rank"], NATIONS],
      layout: {
        ...text,
        "text-field": ["upcase", ["get", "name"]],
        "text-size": 10.5,
        "text-letter-spacing": 0.12,
        "symbol-sort-key": ["get", "rank"],
      },
      paint: paint(nation),
    },
    {
      id: "towns",
      type: "symbol",
      source: "places",
      filter: ["<", ["get", "rank"], NAMED],
      layout: {
        ...text,
        "icon-image": "town",
        "text-field": ["get", "name"],
        "symbol-sort-key": ["get", "rank"],
        "text-size": ["interpolate", ["linear"], ["zoom"], 3, 11, 8, 13],
        "text-variable-anchor": ["left", "right", "top", "bottom"],
        "text-radial-offset": 0.45,
        "text-justify": "auto",
      },
      paint: paint(ink),
    },
    {
      id: "region-names",
      type: "symbol",
      source: "named",
      filter: ["==", ["get", "kind"], "region"],
      layout: {
        ...text,
        "text-field": ["get", "name"],
        "text-size": 12.5,
        "text-variable-anchor": ["top", "bottom", "left", "right"],
        "text-radial-offset": 0.8,
      },
      paint: paint(ink),
    },
  ];
}

// The style of an empty world, which `furnish` fills.
export function style() {
  const source = (data) => ({ type: "geojson", data });
  const sources = Object.fromEntries(
    ["land", "lakes", "rivers", "borders", "coast", "names", "places", "named"].map((name) => [name, source(EMPTY)]),
  );
  return { version: 8, sources, layers: drawn(), transition: { duration: 0, delay: 0 } };
}

// Take the colours of the page anew, when it turned light or dark.
export function recolour(map) {
  for (const { id, paint } of drawn()) {
    for (const [property, value] of Object.entries(paint)) map.setPaintProperty(id, property, value);
  }
  addTownMark(map);
}

function addTownMark(map) {
  const canvas = new OffscreenCanvas(10, 10);
  const pen = canvas.getContext("2d");
  pen.beginPath();
  pen.arc(5, 5, 3.2, 0, 2 * Math.PI);
  pen.fillStyle = colour("--map-ink");
  pen.strokeStyle = colour("--map-halo");
  pen.lineWidth = 1.6;
  pen.fill();
  pen.stroke();
  const mark = pen.getImageData(0, 0, 10, 10);
  if (map.hasImage("town")) map.updateImage("town", mark);
  else map.addImage("town", mark, { pixelRatio: 2 });
}

// Fetch Natural Earth and put it on the map; gives the countries' names and the populated places, largest first.
export async function furnish(map) {
  addTownMark(map);
  const world = await server.naturalEarth("world");
  const geojson = (name) => globalThis.topojson.feature(world, world.objects[name]);
  for (const name of ["land", "lakes", "rivers", "borders", "coast"]) map.getSource(name).setData(geojson(name));
  const names = geojson("names");
  names.features.forEach((country, rank) => (country.properties.rank = rank));
  map.getSource("names").setData(names);
}

export function namePlaces(map, places) {
  const features = places.map(({ name, lat, lon }, rank) => ({
    type: "Feature",
    properties: { name, rank },
    geometry: { type: "Point", coordinates: [lon, lat] },
  }));
  map.getSource("places").setData({ type: "FeatureCollection", features });
}
