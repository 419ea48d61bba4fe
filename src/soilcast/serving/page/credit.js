// What the data are and who made them: the line below the map, and the page's own words on itself.

import { element } from "./dom.js";
import { words } from "./words.js";

const synthetic = (collection) => /synthetic/i.test(collection.nature ?? "");

export function line(box, collection, more) {
  const said = (name) => element("span", { class: name }, element("b", {}, `${words.credit[name]}: `), collection[name] || words.noLicense);
  box.replaceChildren(
    element("strong", { class: "badge" }, words.notObserved),
    synthetic(collection) ? element("strong", { class: "badge warning" }, words.synthetic) : "",
    ...["nature", "source", "license"].filter((name) => name === "license" || collection[name]).map(said),
    element("span", { class: "map-credit" }, words.naturalEarth),
    element("button", { type: "button", class: "link", on: { click: more } }, words.about),
  );
}

export function about(dialog, collection, broken) {
  const said = (name) => (collection?.[name] ? [element("dt", {}, words.credit[name]), element("dd", {}, collection[name])] : []);
  const weather = (one) => (one ? [element("dt", {}, words.weatherTitle), element("dd", {}, words.weather[one.weather])] : []);
  const [last, ...others] = [...words.aboutText].reverse();
  dialog.setAttribute("aria-labelledby", "about-title");
  dialog.replaceChildren(
    element("h2", { id: "about-title" }, words.aboutTitle),
    ...(collection?.about ? [element("p", {}, collection.about)] : []),
    element("dl", {}, said("nature"), said("source"), said("license"), weather(collection)),
    ...others.reverse().map((text) => element("p", {}, text)),
    element("p", {}, `${last} `, element("a", { href: "edr" }, "/edr"), "."),
    element("p", {}, words.naturalEarth, "."),
    ...(broken.length
      ? [element("h3", {}, words.brokenTitle), element("ul", { id: "broken" }, broken.map(({ name, reason }) => element("li", {}, element("b", {}, name), `: ${reason}`)))]
      : []),
    element("form", { method: "dialog" }, element("button", {}, words.close)),
  );
}
