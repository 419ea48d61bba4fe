// The numbers of a place as tables, for those who do not see the charts, and to copy.

import * as dates from "./dates.js";
import { element, number } from "./dom.js";
import { percent, quantity, words } from "./words.js";

function table(id, caption, heads, rows) {
  return element(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table", { id },
      element("caption", { class: "unseen" }, caption),
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, rows.map(([first, ...cells]) => element("tr", {}, element("th", { scope: "row" }, first), cells.map((cell) => element("td", {}, cell))))),
    ),
  );
}

export function folded(words, ...content) {
  return element("details", { class: "folded" }, element("summary", {}, words), ...content);
}

const day = (text) => element("time", { datetime: text }, dates.short(text));

export function ofComingDays(part, units) {
  const { coming, percentile } = part;
  const levels = Object.keys(coming.quantiles ?? {}).sort((a, b) => a - b);
  const columns = [
    ["median", words.columns.median], ["mean", words.columns.mean],
  ].filter(([name]) => coming[name]);
  const heads = [
    words.columns.day, words.columns.lead, ...columns.map(([, title]) => title), ...levels.map(words.columns.quantile),
    ...(percentile ? [words.columns.percentile] : []),
  ];
  const rows = coming.days.map((one, at) => [
    day(one), String(coming.leads[at]), ...columns.map(([name]) => number(coming[name][at], quantity(coming[name][at], units))),
    ...levels.map((level) => number(coming.quantiles[level][at], quantity(coming.quantiles[level][at], units))),
    ...(percentile ? [number(percentile[at], quantity(percentile[at], "%"))] : []),
  ]);
  return folded(words.tableOfDays, element("p", { class: "note" }, words.unitsNote(units)), table("coming-days", words.tableOfDays, heads, rows));
}

export function ofPastDays(part, station, units) {
  const { past, climate } = part;
  if (!past) return null;
  const usual = climate ? new Map(climate.days.map((one, at) => [one, climate.values[climate.percentiles.indexOf(50)][at]])) : null;
  const seen = station ? new Map(station.days.map((one, at) => [one, station.values[at]])) : null;
  const heads = [words.columns.day, words.columns.record, ...(usual ? [words.columns.usual] : []), ...(seen ? [words.columns.station] : [])];
  const rows = past.days.map((one, at) => [
    day(one), number(past.values[at], quantity(past.values[at], units)),
    ...[usual, seen].filter(Boolean).map((other) => number(other.get(one), quantity(other.get(one), units))),
  ]);
  return folded(words.tableOfPast, element("p", { class: "note" }, words.unitsNote(units)), table("past-days", words.tableOfPast, heads, rows.reverse()));
}

// Odds of each class or a drier one, by day ahead, with a bar for the eye.
export function ofOdds({ classes, by_lead: byLead }, coming, known) {
  const cell = (share, name) =>
    element(
      "div", { class: "chance", style: { "--share": share ?? 0, "--colour": known.get(name)?.colour ?? "var(--accent)" } },
      number(share, percent(share)),
    );
  const heads = [words.columns.day, ...classes];
  const rows = byLead.map((shares, at) => [day(coming.days[at]), ...shares.map((share, index) => cell(share, classes[index]))]);
  return table("odds", words.oddsTitle, heads, rows);
}

export function ofSkill(leads, metric) {
  const others = Object.entries(metric.baselines);
  const heads = [words.columns.lead, words.skillForecast, ...others.map(([name]) => words.baseline(name))];
  const rows = leads.map((lead, at) => [
    String(lead), number(metric.forecast[at], quantity(metric.forecast[at], metric.units)),
    ...others.map(([, values]) => number(values[at], quantity(values[at], metric.units))),
  ]);
  return folded(words.tableOfSkill, table("skill-by-lead", words.tableOfSkill, heads, rows));
}
