// Populated places of Natural Earth: what one is called, where it is, and which one is near.

import * as server from "./server.js";
import { LANGUAGE, words } from "./words.js";

const EARTH = 6371; // radius [km]
export const EQUATOR = 2 * Math.PI * EARTH; // [km]
const NEAR = 60; // within which a place is named after a town [km]
let fetched;

async function fetchAll() {
  const [{ name, country, lat, lon }, world] = await Promise.all([
    server.naturalEarth("places"),
    server.naturalEarth("world"),
  ]);
  const countries = new Intl.DisplayNames(LANGUAGE, { type: "region" });
  const towns = name.map((one, at) => ({
    name: one,
    country: country[at] ? countries.of(country[at]) : "",
    lat: lat[at],
    lon: lon[at],
    zoom: 7,
  }));
  const [step] = world.transform.scale;
  const nations = world.objects.names.geometries.map(({ coordinates: [x, y], properties }) => ({
    name: properties.name,
    country: "",
    lat: y * step,
    lon: x * step,
    zoom: 4,
    kind: words.country,
  }));
  return { towns, nations };
}

// All that is known, fetched once, when it is first needed.
export const load = () => (fetched ??= fetchAll());

export function distance(first, second) {
  const turn = Math.PI / 180;
  const [a, b] = [first.lat * turn, second.lat * turn];
  const across =
    Math.sin((b - a) / 2) ** 2 + Math.cos(a) * Math.cos(b) * Math.sin(((second.lon - first.lon) * turn) / 2) ** 2;
  return 2 * EARTH * Math.asin(Math.sqrt(across));
}

// The town that a place may be named after, or null.
export async function near(place) {
  const { towns } = await load();
  let found = null;
  let least = NEAR;
  for (const town of towns) {
    if (Math.abs(town.lat - place.lat) > 1) continue;
    const far = distance(town, place);
    if (far < least) [found, least] = [town, far];
  }
  return found;
}

const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

// Coordinates as people write them: latitude first, or with N, S, E and W in any order.
export function coordinates(text) {
  const number = String.raw`([+-]?\d{1,3}(?:\.\d+)?)\s*°?\s*([NSEW]?)`;
  const parts = text
    .trim()
    .toUpperCase()
    .match(new RegExp(`^${number}(?:\\s*[,;]\\s*|\\s+)${number}$`));
  if (!parts) return null;
  const read = (value, side) => Number(value) * (side === "S" || side === "W" ? -1 : 1);
  const first = read(parts[1], parts[2]);
  const second = read(parts[3], parts[4]);
  const turned = /[EW]/.test(parts[2]) || /[NS]/.test(parts[4]);
  const [lat, lon] = turned ? [second, first] : [first, second];
  return Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? { lat, lon } : null;
}

// What a text may mean, the most important first: names that begin with it, then names in which a word does; before
// towns come the places that the forecast itself names.
export async function search(text, own, most = 8) {
  const at = coordinates(text);
  if (at) return [{ ...at, name: words.coordinates(at.lat, at.lon), country: "", zoom: 7 }];
  const wanted = plain(text.trim());
  if (wanted.length < 2) return [];
  const { towns, nations } = await load();
  const begins = [];
  const within = [];
  for (const one of [...own, ...nations, ...towns]) {
    const name = plain(one.name);
    if (name.startsWith(wanted)) begins.push(one);
    else if (name.includes(` ${wanted}`) || name.includes(`-${wanted}`)) within.push(one);
    if (begins.length >= most) break;
  }
  return [...begins, ...within].slice(0, most);
}
