// All words of the page, and how numbers are written. To translate the page, translate this file.

export const LANGUAGE = "en-GB";

const plural = (count, one, many) => (count === 1 ? one : many);
const UNITS = { "m3 m-3": "m³ m⁻³", 1: "", "": "", "mm d-1": "mm a day" };
const DIGITS = { "m3 m-3": 3, "%": 0, d: 0 };

export const unit = (units) => UNITS[units] ?? units;

// A number with as many digits as its unit is worth, without the unit.
export function quantity(value, units) {
  if (value === null || value === undefined) return "–";
  const digits = DIGITS[units] ?? 2;
  return value
    .toFixed(digits)
    .replace(/^-(?=0(\.0*)?$)/, "")
    .replace("-", "−");
}

export const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}`;

export const measured = (value, units) => {
  const name = unit(units);
  return name && value !== null ? `${quantity(value, units)} ${name}` : quantity(value, units);
};

// A probability between 0 and 1 as percent; what is possible but rounds to nothing says so.
export function percent(share) {
  if (share === null || share === undefined) return "–";
  if (share > 0 && share < 0.005) return "< 1 %";
  if (share < 1 && share > 0.995) return "> 99 %";
  return `${Math.round(share * 100)} %`;
}

const degrees = (value, sides) => `${Math.abs(value).toFixed(2)}° ${sides[value < 0 ? 1 : 0]}`;
const days = (lead) => `${lead} ${plural(lead, "day", "days")} ahead`;

const PRODUCTS = {
  drought: "Drought class",
  drought_probability: "Odds of drought",
  percentile: "Percentile of the season",
  "": "Soil moisture",
  mean: "Soil moisture, mean",
  anomaly: "Departure from usual",
  days_to_dry: "Days until dry",
  probability_dry: "Odds of dry soil",
  probability_dry_by: "Odds of dry soil by that day",
};
const OTHERS = { soil_moisture_age: "Age of the newest observation" };

const productOf = ({ name, layer }) =>
  layer && name.startsWith(layer) ? name.slice(layer.length).replace(/^_/, "") : null;

// Name and rank of a variable among others; one that the page does not know keeps the title that the server gives.
export const nameOf = (variable) => PRODUCTS[productOf(variable)] ?? OTHERS[variable.name] ?? variable.title;
export function rankOf(variable) {
  const known = Object.keys(PRODUCTS).indexOf(productOf(variable));
  return known < 0 ? Infinity : known;
}
export const isShare = (variable) => /probability/.test(variable.name);

export const words = {
  title: (collection) => `${collection} – soilcast map`,
  skipToMap: "Skip to the map",
  stage: "Map of the forecast",
  mapRegion: "Map. Arrow keys move it, plus and minus zoom, Enter opens the place under the crosshair.",
  controls: "What the map shows",
  timeline: "Issue day and day ahead",
  place: "Forecast of the chosen place",
  close: "Close",
  closePlace: "Close the forecast of this place",

  forecast: "Forecast",
  variable: "Map shows",
  layerOf: ({ name, title, depth_from: from, depth_to: to }) => {
    const plain = name === "root_zone" ? "Root zone" : /^swvl\d$/.test(name) ? `Layer ${name.at(-1)}` : title;
    return from === null || from === undefined
      ? plain
      : `${plain} (${Math.round(from * 100)}–${Math.round(to * 100)} cm)`;
  },
  legendTitle: ({ variable, layer, quantile, droughtClass, change }) =>
    [
      droughtClass ? `Odds of ${droughtClass} or drier` : nameOf(variable),
      layer,
      quantile ? `${Math.round(quantile * 100)} % quantile` : null,
      change ? "change since a week ago" : null,
    ]
      .filter(Boolean)
      .join(", "),
  quantile: "Value",
  central: "Median (as likely drier as wetter)",
  quantileOf: (level) =>
    `${Math.round(level * 1000) / 10} % quantile (drier in ${Math.round(level * 1000) / 10} of 100 cases)`,
  droughtClass: "Class",
  orDrier: (name) => `${name} or drier`,
  change: "Change since a week ago",
  missing: "no forecast",
  legendOf: (title) => `Legend: ${title}`,

  issued: "Issued",
  issueDay: "Issue day",
  earlier: "Earlier issue day",
  later: "Later issue day",
  ahead: "Day shown",
  days,
  valid: (day, lead) => `${day} · ${days(lead)}`,
  issuedOf: (day, at, count) => `${day}, ${at} of ${count}`,
  sameForAllLeads: "One value for all days ahead",

  search: "Search a place or coordinates",
  searchHint: "Place, or 49.12, 6.18",
  country: "country",
  kinds: { station: "station", region: "region", cell: "cell of the forecast" },
  noPlace: (text) => `No place named “${text}” in Natural Earth's list. Coordinates work everywhere: 49.12, 6.18`,
  found: (count) => `${count} ${plural(count, "place", "places")} found`,
  coordinates: (lat, lon) => `${degrees(lat, ["N", "S"])}, ${degrees(lon, ["E", "W"])}`,

  copyLink: "Copy link",
  linkCopied: "Link copied",
  linkFailed: "The link is in the address bar",
  about: "About",

  notObserved: "Model forecast, not an observation",
  synthetic: "Synthetic data",
  credit: { nature: "Data", source: "Source", license: "Licence" },
  weatherTitle: "Weather ahead",
  weather: {
    none: "The model knows no weather of the coming days.",
    observed:
      "The model was given the observed weather of the coming days: a perfect weather forecast, which nobody has.",
    degraded:
      "The model was given observed weather of the coming days with the errors of a stated model, not a weather forecast.",
    forecast: "The model was given a weather forecast for the coming days.",
  },
  noLicense: "not stated by the data",
  naturalEarth: "Map: Natural Earth",
  aboutTitle: "About this map",
  aboutText: [
    "Every value is the forecast of a trained model for the day named. It is not a measurement. Cells of the map are those of the model; nothing is smoothed between them.",
    "Quantiles and odds are calibrated on past days. How good the forecast was at a place is shown when you choose it.",
    "Borders and names are those of Natural Earth and say nothing on the legal status of any place.",
    "Keyboard: Tab moves between the controls. On the map, arrow keys move, + and − zoom, Enter opens the place under the crosshair, Escape closes it.",
    "Programs read the same forecasts from",
  ],
  brokenTitle: "Forecasts that could not be read",
  broken: (count) => `${count} ${plural(count, "forecast", "forecasts")} could not be read; all others are shown.`,
  brokenMore: "Which, and why",
  newer: (day) => `A newer forecast is here: issued ${day}.`,
  showNewer: "Show it",

  pictureFailed: "Parts of the map could not be fetched.",
  empty: "There is no forecast here yet. The page looks again every minute.",
  noServer: "The server does not answer. Is it still running?",
  noMap:
    "This browser cannot draw the map: WebGL 2 is missing or turned off. Search for a place or coordinates, and all of its numbers are shown.",
  wait: "Loading the forecast of this place …",
  opened: (name, text) => `${name}. ${text}`,
  near: (town, country) => (country ? `Near ${town}, ${country}` : `Near ${town}`),
  remote: "Far from any town",
  located: (cell, near) => (near ? `${cell}, ${near[0].toLowerCase()}${near.slice(1)}` : cell),
  cellAt: (where) => `Cell centred at ${where}`,
  regionMean: "Mean of the region",
  stationAt: (where) => `Station at ${where}`,
  layer: "Soil layer",

  soilMoisture: "Soil moisture",
  percentile: "Percentile",
  compared(value) {
    if (value === null) return "no climate to compare with";
    const [word, share] = value > 50 ? ["wetter", value] : ["drier", 100 - value];
    return `${word} than ${Math.min(99, Math.round(share))} of 100 days at this time of the year`;
  },
  odds: (name) => `Odds of ${name} or drier`,
  interval: (share, low, high) => `${share} % interval ${low} to ${high}`,
  noInterval: "a single number: this model gives no interval",

  fanTitle: "Past weeks and coming days",
  fanLabel: (name, from, to) =>
    `Chart of soil moisture at ${name} from ${from} to ${to}. The same numbers follow as a table.`,
  key: {
    past: "Record",
    single: "Forecast",
    median: "Forecast, median",
    mean: "Forecast, mean",
    interval: (share) => `${share} % interval`,
    usual: "Usual: 5 to 95 %, darker 25 to 75 %",
    usualMiddle: "Usual, median",
    station: "Station",
    changed: "With your weather",
  },
  issuedLine: "issued",
  hover: "Point at the chart to read a day",
  tableOfDays: "Coming days as a table",
  tableOfPast: "Past weeks as a table",
  columns: {
    day: "Day",
    lead: "Days ahead",
    median: "Median",
    mean: "Mean",
    percentile: "Percentile",
    record: "Record",
    usual: "Usual (median)",
    station: "Station",
    quantile: (level) => `${Math.round(Number(level) * 1000) / 10} %`,
  },
  unitsNote: (units) => `All in ${unit(units)}`,

  oddsTitle: "Odds of drought",
  oddsText: "Probability that the day is in the class or a drier one. Classes as in the U.S. Drought Monitor.",
  skillTitle: "How good is the forecast here?",
  skillMetric: "Score",
  metrics: {
    rmse: "Typical error (RMSE)",
    skill: "Skill against no change",
    r: "Correlation",
    crps: "Error of the distribution (CRPS)",
    bias: "Bias: mean of forecast less observed",
    coverage_90: "Days within the 90 % interval",
  },
  skillText: (forecast, persistence, units, lead) =>
    `${days(lead)[0].toUpperCase()}${days(lead).slice(1)}, the typical error was ${measured(forecast, units)} in the test period; a forecast of no change errs by ${measured(persistence, units)}. `,
  skillBetter: (share) => `The forecast's error is ${share} % smaller.`,
  skillWorse: (share) => `The forecast's error is ${share} % larger: here no change is the better forecast.`,
  skillEven: "Neither is better.",
  skillLabel: (metric) => `Chart of ${metric} by days ahead. The same numbers follow as a table.`,
  skillForecast: "Forecast",
  tableOfSkill: "Scores as a table",
  baselines: {
    persistence: "No change (persistence)",
    "damped anomaly": "Damped anomaly",
    climatology: "Usual for the season (climatology)",
  },
  baseline: (name) => words.baselines[name] ?? name[0].toUpperCase() + name.slice(1),

  whatIfTitle: "What if the weather turns out otherwise?",
  whatIfText: "Add rain or heat to the forecast's own weather of a day; the model is run again for this cell.",
  rain: "Rain [mm]",
  heat: "Heat [K]",
  rainOn: (day) => `Rain added on ${day}, in millimetres`,
  heatOn: (day) => `Heat added on ${day}, in kelvin`,
  wetter: "10 mm every day",
  hotter: "3 K hotter",
  reset: "Reset",
  computing: "The model is run …",
  unchanged: "As forecast: nothing is added.",
  changedText: (day, before, after, difference, units) =>
    `${day}: ${quantity(before, units)} becomes ${measured(after, units)} (${difference > 0 ? "+" : ""}${quantity(difference, units)}).`,
  noPart: "Not available for this forecast.",
};

export const LOCALE = {
  "Map.Title": "Map",
  "NavigationControl.ZoomIn": "Zoom in",
  "NavigationControl.ZoomOut": "Zoom out",
  "ScaleControl.Meters": "m",
  "ScaleControl.Kilometers": "km",
};
