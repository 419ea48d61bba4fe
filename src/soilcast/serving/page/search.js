// Search by name or coordinates: a combobox as the ARIA authoring practices describe it.

import { element, settled } from "./dom.js";
import * as gazetteer from "./gazetteer.js";
import { words } from "./words.js";

// `own` gives the places that the forecast itself names; `go` is called with what was chosen.
export function build(form, { own, go, announce }) {
  const input = element("input", {
    id: "search-text",
    type: "search",
    role: "combobox",
    placeholder: words.searchHint,
    "aria-expanded": "false",
    "aria-controls": "search-results",
    "aria-autocomplete": "list",
    spellcheck: "false",
  });
  const results = element("ul", {
    id: "search-results",
    class: "results",
    role: "listbox",
    "aria-label": words.search,
    hidden: true,
  });
  form.append(element("label", { for: "search-text", class: "unseen" }, words.search), input, results);
  let found = [];
  let at = -1;

  function close() {
    results.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    at = -1;
  }

  function take(place) {
    input.value = place.country ? `${place.name}, ${place.country}` : place.name;
    close();
    go(place);
  }

  function point(next) {
    at = (next + found.length) % found.length;
    for (const [index, option] of [...results.children].entries())
      option.setAttribute("aria-selected", String(index === at));
    input.setAttribute("aria-activedescendant", `search-result-${at}`);
    results.children[at].scrollIntoView({ block: "nearest" });
  }

  async function look() {
    const text = input.value;
    if (!text.trim()) return close();
    const places = await gazetteer.search(text, own());
    if (text !== input.value) return;
    found = places;
    at = -1;
    results.replaceChildren(
      ...found.map((place, index) =>
        element(
          "li",
          {
            id: `search-result-${index}`,
            role: "option",
            "aria-selected": "false",
            on: { mousedown: (event) => event.preventDefault(), click: () => take(place) },
          },
          element("span", {}, place.name),
          element("small", {}, place.country || place.kind || ""),
        ),
      ),
      ...(found.length || text.trim().length < 2 ? [] : [element("li", { class: "none" }, words.noPlace(text.trim()))]),
    );
    results.hidden = !results.children.length;
    input.setAttribute("aria-expanded", String(!results.hidden));
    announce(found.length ? words.found(found.length) : words.noPlace(text.trim()));
  }

  input.addEventListener("input", settled(look, 120));
  input.addEventListener("focus", () => gazetteer.load().catch(() => {}), { once: true });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (found.length && !results.hidden && event.key === "ArrowDown") point(at + 1);
    else if (found.length && !results.hidden && event.key === "ArrowUp") point(at - (at < 0 ? 0 : 1));
    else return;
    event.preventDefault();
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (at < 0) await look();
    const place = found[Math.max(at, 0)];
    if (place) take(place);
  });
}
