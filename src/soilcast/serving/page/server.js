// What the server is asked, all of it relative to the page's own address.

export class Refused extends Error {}

function address(path, parameters = {}) {
  const url = new URL(path, document.baseURI);
  url.hash = "";
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  return url.href;
}

async function ask(path, parameters, signal) {
  let answer;
  try {
    answer = await fetch(address(path, parameters), { signal, credentials: "same-origin" });
  } catch (fault) {
    if (fault.name === "AbortError") throw fault;
    throw new Refused(null, { cause: fault });
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok || content === null) throw new Refused(content?.description ?? `HTTP ${answer.status}`);
  return content;
}

// What of a value is asked for, of those that the variable has.
export function choice(state) {
  const { lead, quantile, drought_class, change } = state;
  return { lead, quantile, drought_class, change };
}

export const catalogue = (signal) => ask("map/catalogue", {}, signal);

export function legend(state, signal) {
  const { quantile, drought_class, change } = state;
  const path = `legend/${encodeURIComponent(state.collection)}/${encodeURIComponent(state.variable)}`;
  return ask(path, { quantile, drought_class, change }, signal);
}

export function place(state, signal) {
  const { collection, issue, lat, lon, station } = state;
  return ask("map/place", station ? { collection, issue, station } : { collection, issue, lat, lon }, signal);
}

export function places(state, signal) {
  const { collection, issue, variable } = state;
  return ask("map/places", { collection, issue, variable, ...choice(state) }, signal);
}

export const outlines = (collection, signal) => ask("map/outlines", { collection }, signal);

export function whatIf(state, rain, heat, signal) {
  const { collection, issue, lat, lon } = state;
  return ask("map/what-if", { collection, issue, lat, lon, rain: rain.join(","), heat: heat.join(",") }, signal);
}

// Pattern of the tiles of a picture, for the map.
export function tiles(state, dense) {
  const path = ["tiles", state.collection, state.issue, state.variable].map(encodeURIComponent).join("/");
  const query = new URL(address("", choice(state))).search;
  return `${address(path)}/{z}/{x}/{y}${dense ? "@2x" : ""}.png${query}`;
}

export const naturalEarth = (name) => ask(`static/vendor/natural-earth/${name}.json`);
