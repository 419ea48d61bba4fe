// What is shown, kept in the part of the address behind #, so that a link shows the same again.

const NUMBERS = new Set(["lead", "lat", "lon", "zoom", "centre_lat", "centre_lon"]);
const KEYS = [
  "collection", "issue", "lead", "variable", "quantile", "drought_class", "change", "lat", "lon", "station",
  "zoom", "centre_lat", "centre_lon",
];

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = {};
  for (const key of KEYS) {
    const value = given.get(key);
    if (value === null || value === "") continue;
    if (!NUMBERS.has(key)) found[key] = value;
    else if (Number.isFinite(Number(value))) found[key] = Number(value);
  }
  return found;
}

function write(state) {
  const out = new URLSearchParams();
  for (const key of KEYS) if (state[key] !== null && state[key] !== undefined) out.set(key, String(state[key]));
  const hash = `#${out}`;
  if (hash !== location.hash) history.replaceState(null, "", hash);
}

// One holder of the state. `amend` completes what a link leaves open or asks in vain; listeners get the new state and
// the set of keys that changed.
export function hold(amend) {
  let state = amend(read());
  const listeners = [];

  function take(next) {
    const before = state;
    state = amend(next);
    const changed = new Set(KEYS.filter((key) => (before[key] ?? null) !== (state[key] ?? null)));
    write(state);
    if (changed.size) for (const listener of listeners) listener(state, changed);
  }

  write(state);
  window.addEventListener("hashchange", () => take(read()));
  return {
    get: () => state,
    set: (change) => take({ ...state, ...change }),
    listen: (listener) => listeners.push(listener),
  };
}
