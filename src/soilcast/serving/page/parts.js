// The parts of what is said of a place, in their order. Each makes its content from what the server gave, and may keep
// up with the day that the map shows; where there is nothing to show it gives null, and the reason stands in its stead.

import * as dates from "./dates.js";
import { Fan, share, shownIntervals, skill } from "./chart.js";
import { element, field, number } from "./dom.js";
import * as numbers from "./numbers.js";
import * as whatIf from "./what_if.js";
import { percent, quantity, sentence, unit, words } from "./words.js";

function tile(id, title) {
  const [value, note] = [element("dd", { class: "tile-value", id }), element("dd", { class: "tile-note" })];
  return {
    node: element("div", { class: "tile" }, element("dt", {}, title), value, note),
    say: (main, more) => {
      value.replaceChildren(main);
      note.textContent = more;
    },
  };
}

const inUnits = (value, units) =>
  element("span", {}, number(value, quantity(value, units)), element("small", {}, ` ${unit(units)}`));

function glance({ part, units, droughtClass, classes }) {
  const { coming, odds, percentile } = part;
  const widest = shownIntervals(coming.quantiles)[0];
  const [moisture, rank, chance] = [
    tile("glance-moisture", words.soilMoisture),
    tile("glance-percentile", words.percentile),
    tile("glance-odds", words.odds(droughtClass)),
  ];
  const column = odds?.classes.indexOf(droughtClass) ?? -1;

  function show({ lead }) {
    const at = coming.leads.indexOf(lead);
    node.parentElement.querySelector("h3").textContent = words.valid(dates.medium(coming.days[at]), lead);
    const value = (coming.median ?? coming.mean)[at];
    const [low, high] = widest ? widest.map((level) => quantity(coming.quantiles[level][at], units)) : [];
    moisture.say(
      inUnits(value, units),
      value === null
        ? (sentence(part.reasons?.coming) ?? "")
        : widest
          ? words.interval(share(widest), low, high)
          : words.noInterval,
    );
    if (percentile) {
      const here = percentile[at];
      rank.say(inUnits(here, "%"), words.compared(here));
    }
    if (column >= 0)
      chance.say(
        number(odds.by_lead[at][column], percent(odds.by_lead[at][column])),
        classes.get(droughtClass)?.title ?? "",
      );
  }

  const node = element(
    "dl",
    { class: "tiles" },
    moisture.node,
    percentile ? rank.node : null,
    column >= 0 ? chance.node : null,
  );
  return { node, show };
}

const observed = (place, layer) => place.station?.observations?.[layer] ?? null;

// What the line of the forecast is.
const central = ({ median, mean, quantiles }) =>
  Object.keys(quantiles ?? {}).length ? (median ? "median" : "mean") : "single";

function key(part, station) {
  const item = (look, label) => element("li", {}, element("span", { class: `key ${look}` }), label);
  const drawn = shownIntervals(part.coming.quantiles);
  return element(
    "ul",
    { class: "chart-key" },
    part.past ? item("line past", words.key.past) : null,
    station ? item("dot station", words.key.station) : null,
    item("line fan", words.key[central(part.coming)]),
    drawn.map((pair, at) => item(at ? "band inner" : "band outer", words.key.interval(share(pair)))),
    part.climate ? item("band usual", words.key.usual) : null,
    element("li", { class: "only-changed" }, element("span", { class: "key line changed" }), words.key.changed),
  );
}

function fan(context) {
  const { place, part, layer, units, state, name } = context;
  const days = [...(part.past?.days ?? []), ...part.coming.days];
  const label = words.fanLabel(name, dates.long(days[0]), dates.long(days.at(-1)));
  const box = element("div", { class: "chart", role: "img", "aria-label": label });
  const readout = element("p", { class: "readout", "aria-hidden": "true" });
  const legend = key(part, observed(place, layer));
  const node = element(
    "div",
    {},
    box,
    readout,
    legend,
    numbers.ofComingDays(part, units),
    numbers.ofPastDays(part, observed(place, layer), units),
  );
  let chart = null;
  return {
    node,
    start() {
      chart = new Fan(box, readout, { place, layer, issue: state.issue, lead: state.lead, units });
      context.change = (values) => {
        legend.classList.toggle("changed", Boolean(values));
        chart.change(values);
      };
    },
    show: ({ lead }) => chart?.show(lead),
    end: () => chart?.end(),
  };
}

function odds({ part, classes }) {
  if (!part.odds) return null;
  return {
    node: element(
      "div",
      {},
      element("p", { class: "note" }, words.oddsText),
      numbers.ofOdds(part.odds, part.coming, classes),
    ),
  };
}

function howGood({ part, state, collection }) {
  if (!part.skill || !Object.keys(part.skill.metrics).length) return null;
  const { leads, metrics } = part.skill;
  const sentenceOfScore = element("p", {});
  const picture = element("div", {});
  const select = element(
    "select",
    { id: "skill-metric", on: { change: () => draw() } },
    Object.entries(metrics).map(([name, { title }]) =>
      element("option", { value: name }, words.metrics[name] ?? title),
    ),
  );
  let [chart, lead] = [null, state.lead];

  function draw() {
    const metric = metrics[select.value];
    chart?.end();
    const box = element("div", {
      class: "chart",
      role: "img",
      "aria-label": words.skillLabel(words.metrics[select.value] ?? metric.title),
    });
    const line = (look, label) => element("li", {}, element("span", { class: `key line ${look}` }), label);
    const names = Object.keys(metric.baselines).map((name, at) => line(`baseline dash${at % 3}`, words.baseline(name)));
    picture.replaceChildren(
      box,
      element("ul", { class: "chart-key" }, line("fan", words.skillForecast), names),
      numbers.ofSkill(leads, metric),
    );
    chart = skill(box, leads, metric);
  }

  function say() {
    const at = leads.indexOf(lead);
    const [own, other] = [metrics.rmse?.forecast[at], metrics.rmse?.baselines.persistence?.[at]];
    sentenceOfScore.hidden = !(own > 0 && other > 0);
    if (sentenceOfScore.hidden) return;
    const gain = Math.round((1 - own / other) * 100);
    const verdict = gain > 0 ? words.skillBetter(gain) : gain < 0 ? words.skillWorse(-gain) : words.skillEven;
    sentenceOfScore.textContent = words.skillText(own, other, metrics.rmse.units, lead) + verdict;
  }

  return {
    node: element(
      "div",
      {},
      sentenceOfScore,
      element("p", { class: "note" }, words.weather[collection.weather]),
      field(words.skillMetric, select, { hidden: Object.keys(metrics).length < 2 }),
      picture,
    ),
    start: () => {
      draw();
      say();
    },
    show: (next) => {
      lead = next.lead;
      say();
    },
    end: () => chart?.end(),
  };
}

function otherwise(context) {
  const { part, collection, state, place, units, layer } = context;
  if (!collection.can_what_if || place.reasons?.what_if) return null;
  return {
    node: whatIf.build({ ...state, lat: place.lat, lon: place.lon }, part.coming, units, layer, (values) =>
      context.change?.(values),
    ),
  };
}

// What a part is called, who makes it, and whether it is folded until the reader opens it.
export const PARTS = [
  { name: "glance", title: "", make: glance },
  { name: "coming", title: words.fanTitle, make: fan },
  { name: "what_if", title: words.whatIfTitle, make: otherwise, folded: true },
  { name: "odds", title: words.oddsTitle, make: odds },
  { name: "skill", title: words.skillTitle, make: howGood },
];
