// Charts of a place, drawn by uPlot in the colours of the page.

import * as dates from "./dates.js";
import { quantity, unit, words } from "./words.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const pen = (name, width = 1.5, dash) => ({ stroke: () => css(name), width, dash, points: { show: false }, spanGaps: false });
const hidden = { stroke: () => "transparent", width: 0, points: { show: false } };

function axes(xValues, units, xOptions = {}) {
  const common = { stroke: () => css("--ink-soft"), font: `11px ${css("--font")}`, ticks: { show: false } };
  const grid = { stroke: () => css("--rule"), width: 1 };
  return [
    { ...common, grid: { show: false }, values: xValues, size: 30, ticks: { show: true, stroke: () => css("--rule"), size: 4, width: 1 }, ...xOptions },
    { ...common, grid, size: 44, gap: 6, values: (_, ticks) => ticks.map((tick) => tickText(tick, ticks, units)) },
  ];
}

function tickText(tick, ticks, units) {
  const step = Math.abs((ticks[1] ?? tick + 1) - ticks[0]);
  return step >= 1 ? quantity(tick, "d") : tick.toFixed(Math.min(4, Math.max(1, Math.ceil(-Math.log10(step) - 1e-9)))).replace("-", "−");
}

// Draw series over `x` in a box and keep the chart as wide as the box.
function draw(box, options, data) {
  const size = () => ({ width: Math.max(box.clientWidth, 120), height: options.height });
  const chart = new globalThis.uPlot({ ...options, ...size(), legend: { show: false } }, data, box);
  chart.root.setAttribute("aria-hidden", "true");
  const watch = new ResizeObserver(() => box.isConnected && chart.setSize(size()));
  watch.observe(box);
  const theme = matchMedia("(prefers-color-scheme: dark)");
  const again = () => chart.redraw();
  theme.addEventListener("change", again);
  return {
    chart,
    end() {
      watch.disconnect();
      theme.removeEventListener("change", again);
      chart.destroy();
    },
  };
}

// Levels in pairs around the middle, the outermost first: [["0.05", "0.95"], ...].
export function intervals(quantiles) {
  const levels = Object.keys(quantiles ?? {}).sort((a, b) => a - b);
  const mirror = (level) => levels.find((other) => Math.abs(Number(level) + Number(other) - 1) < 1e-6);
  return levels.filter((level) => level < 0.5 && mirror(level)).map((level) => [level, mirror(level)]);
}

// The outermost interval and one of about half: more would not be told apart.
export function shownIntervals(quantiles) {
  const all = intervals(quantiles);
  return all.length < 3 ? all : [all[0], all.find(([low]) => Number(low) >= 0.25) ?? all.at(-1)];
}

export const share = ([low, high]) => Math.round((Number(high) - Number(low)) * 100);

// Past weeks, climate of the season and fan of the coming days of one layer.
const WEEKS = 35; // days of the past that are drawn; the table has all [d]

export class Fan {
  constructor(box, readout, { place, layer, issue, lead, units }) {
    Object.assign(this, { readout, units, issue, lead });
    const part = place.layers[layer];
    const station = place.station?.observations?.[layer];
    const columns = [
      ...climateColumns(part.climate),
      ...shownIntervals(part.coming.quantiles).flatMap((pair, at) => [
        { name: `low${at}`, days: part.coming.days, values: part.coming.quantiles[pair[0]], look: hidden },
        { name: `high${at}`, days: part.coming.days, values: part.coming.quantiles[pair[1]], look: hidden, band: `low${at}`, fill: at ? "--fan-inner" : "--fan-outer" },
      ]),
      { name: "past", days: part.past?.days, values: part.past?.values, look: pen("--ink", 1.75) },
      { name: "station", days: station?.days, values: station?.values, look: { ...pen("--station", 0), points: { show: true, size: 5, width: 1.5, stroke: () => css("--station"), fill: () => css("--paper") } } },
      { name: "median", days: part.coming.days, values: part.coming.median ?? part.coming.mean, look: { ...pen("--fan", 2.25), points: { show: part.coming.days.length < 3, size: 6 } } },
      { name: "changed", days: part.coming.days, values: part.coming.days.map(() => null), look: pen("--changed", 2.25, [6, 4]) },
    ].filter(({ days, values }) => days?.length && values);
    const first = dates.after(issue, -WEEKS);
    const days = [...new Set(columns.flatMap((column) => column.days))].filter((day) => day > first).sort();
    this.days = days;
    this.columns = columns;
    const at = (name) => columns.findIndex((column) => column.name === name) + 1;
    this.at = at;
    const options = {
      height: 226,
      padding: [20, 22, 0, 0],
      tzDate: (stamp) => globalThis.uPlot.tzDate(new Date(stamp * 1000), "Etc/UTC"),
      scales: { y: { range: (_, low, high) => padded(low, high) } },
      axes: axes((_, stamps) => stamps.map(dates.dateOf), units, { space: 62, incrs: [1, 2, 5, 7, 14, 28].map((count) => count * 86400) }),
      series: [{}, ...columns.map(({ look }) => look)],
      bands: columns.flatMap(({ name, band, fill }) => (band ? [{ series: [at(name), at(band)], fill: () => css(fill) }] : [])),
      cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
      hooks: { drawClear: [(chart) => this.drawDays(chart)], setCursor: [(chart) => this.read(chart.cursor.idx)] },
    };
    this.drawn = draw(box, options, [days.map(dates.seconds), ...columns.map((column) => spread(days, column))]);
    this.read(null);
  }

  // The day of issue as a line, the day that the map shows as a stripe.
  drawDays(chart) {
    const { ctx, bbox } = chart;
    const x = (day) => Math.round(chart.valToPos(dates.seconds(day), "x", true));
    ctx.save();
    const shown = x(dates.after(this.issue, this.lead));
    ctx.fillStyle = css("--stripe");
    ctx.fillRect(shown - 4 * devicePixelRatio, bbox.top, 8 * devicePixelRatio, bbox.height);
    ctx.strokeStyle = css("--ink-soft");
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x(this.issue), bbox.top);
    ctx.lineTo(x(this.issue), bbox.top + bbox.height);
    ctx.stroke();
    ctx.fillStyle = css("--ink-soft");
    ctx.font = `${11 * devicePixelRatio}px ${css("--font")}`;
    ctx.textAlign = "right";
    ctx.textBaseline = "top";
    ctx.fillText(words.issuedLine, x(this.issue) - 5 * devicePixelRatio, bbox.top + devicePixelRatio);
    ctx.textAlign = "left";
    ctx.textBaseline = "bottom";
    ctx.fillText(unit(this.units), bbox.left, bbox.top - 4 * devicePixelRatio);
    ctx.restore();
  }

  read(index) {
    if (index === null || index === undefined) return void (this.readout.textContent = words.hover);
    const value = (name) => (this.at(name) ? this.drawn.chart.data[this.at(name)][index] : null);
    const parts = [["past", words.key.past], ["station", words.key.station], ["median", words.key.median], ["changed", words.key.changed], ["usual", words.key.usualMiddle]]
      .filter(([name]) => value(name) !== null && value(name) !== undefined)
      .map(([name, label]) => `${label} ${quantity(value(name), this.units)}`);
    this.readout.textContent = `${dates.short(this.days[index])}: ${parts.join(" · ")} ${unit(this.units)}`;
  }

  show(lead) {
    this.lead = lead;
    this.drawn.chart.redraw(false);
  }

  // Draw the forecast under changed weather; null takes it away.
  change(values) {
    const at = this.at("changed");
    const data = [...this.drawn.chart.data];
    const { days } = this.columns[at - 1];
    data[at] = spread(this.days, { days, values: values ?? days.map(() => null) });
    this.drawn.chart.setData(data);
  }

  end() {
    this.drawn.end();
  }
}

function climateColumns(climate) {
  if (!climate) return [];
  const of = (level) => climate.values[climate.percentiles.indexOf(level)];
  const column = (name, level, look, band, fill) => ({ name, days: climate.days, values: of(level), look, band, fill });
  return [
    column("usual-low", 5, hidden), column("usual-high", 95, hidden, "usual-low", "--usual-outer"),
    column("usual-lower", 25, hidden), column("usual-upper", 75, hidden, "usual-lower", "--usual-inner"),
    column("usual", 50, pen("--usual", 1.25, [2, 3])),
  ];
}

function spread(days, { days: own, values }) {
  const at = new Map(own.map((day, index) => [day, values[index]]));
  return days.map((day) => at.get(day) ?? null);
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = Math.max((high - low) * 0.08, 1e-4);
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}

// A score by days ahead: the forecast's line and one of each baseline.
export function skill(box, leads, metric) {
  const lines = [["--fan", metric.forecast, 2.25], ...Object.values(metric.baselines).map((values, at) => ["--baseline", values, 1.75, [[6, 4], [2, 3], [8, 3, 2, 3]][at % 3]])];
  const options = {
    height: 168,
    padding: [10, 12, 0, 0],
    scales: { x: { time: false, range: (_, low, high) => (low === high ? [low - 0.5, high + 0.5] : [low, high]) }, y: { range: (_, low, high) => padded(low, high) } },
    axes: axes((_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? String(tick) : "")), metric.units, { incrs: [1, 2, 5, 10, 30], space: 30, label: words.columns.lead, labelSize: 18, labelGap: 0, labelFont: `11px ${css("--font")}` }),
    series: [{}, ...lines.map(([name, , width, dash]) => ({ ...pen(name, width, dash), points: { show: true, size: 5 } }))],
    cursor: { show: false },
  };
  return draw(box, options, [leads, ...lines.map(([, values]) => values)]);
}
