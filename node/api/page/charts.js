// Small charts: a price of the last minutes with its confidence band, and a strip of certificates.

import { put, svg } from "./dom.js";
import { WINDOW_MS } from "./model.js";

const WIDTH = 200;
const HEIGHT = 40;
const GAP_MS = 6500;
const PAD = 3;

/** Return a chart to be drawn later; it is for the eye, the change beside it is for everyone. */
export function sparkline() {
  const area = svg("path", { class: "band" });
  const line = svg("path", { class: "line" });
  const end = svg("circle", { class: "end", r: 2.5 });
  const node = svg(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area,
    line,
  );
  const dot = svg("svg", { class: "sparkline-end", "aria-hidden": "true", width: 8, height: 8 }, end);
  put(end, "cx", 4);
  put(end, "cy", 4);
  return { node, area, line, dot };
}

/** Draw the points; time runs to now, so that silence shows as an empty right end. */
export function draw(chart, points, nowMs, isLive) {
  const begin = nowMs - WINDOW_MS;
  const shown = points.filter((point) => point.at >= begin);
  let low = Infinity;
  let high = -Infinity;
  for (const { value, ppm } of shown) {
    if (value === null) continue;
    const half = (value * Math.min(ppm, 500_000)) / 1e6;
    low = Math.min(low, value - half);
    high = Math.max(high, value + half);
  }
  const range = high - low || high * 1e-6 || 1;
  const x = (at) => Math.min(WIDTH, ((at - begin) / WINDOW_MS) * WIDTH);
  const y = (value) => HEIGHT - PAD - ((value - low) / range) * (HEIGHT - 2 * PAD);
  const lines = [];
  const bands = [];
  for (const run of runs(shown)) {
    lines.push("M" + run.map((p) => `${x(p.at).toFixed(1)} ${y(p.value).toFixed(1)}`).join("L"));
    const edge = (sign) => (p) => `${x(p.at).toFixed(1)} ${y(p.value + (sign * p.value * Math.min(p.ppm, 500_000)) / 1e6).toFixed(1)}`;
    bands.push("M" + [...run.map(edge(1)), ...run.map(edge(-1)).reverse()].join("L") + "Z");
  }
  put(chart.line, "d", lines.join("") || null);
  put(chart.area, "d", bands.join("") || null);
  const last = shown.at(-1);
  const lasts = Boolean(last && last.value !== null && isLive);
  put(chart.dot, "hidden", !lasts);
  if (lasts) {
    chart.dot.style.left = `${(x(last.at) / WIDTH) * 100}%`;
    chart.dot.style.top = `${(y(last.value) / HEIGHT) * 100}%`;
  }
}

/** Return the parts without a gap. */
function runs(points) {
  const found = [];
  let run = [];
  let before = -Infinity;
  for (const point of points) {
    if (point.value === null || point.at - before > GAP_MS) {
      if (run.length) found.push(run);
      run = [];
    }
    if (point.value !== null) run.push(point);
    before = point.at;
  }
  if (run.length) found.push(run);
  return found;
}

/** Return the change over the window as a ratio, null if too little of it is known. */
export function changeOf(points, nowMs) {
  const known = points.filter((point) => point.value !== null && point.at >= nowMs - WINDOW_MS);
  if (known.length < 2) return null;
  return known.at(-1).value / known[0].value - 1;
}

/** How many certificates a strip shows. */
export const STRIP = 32;

/** Return the path of all cells of a strip that have one mark. */
export function cells(strip, mark) {
  const shown = strip.slice(-STRIP);
  const shift = STRIP - shown.length;
  return shown.map((one, place) => (one === mark ? `M${(place + shift) * 4} 0h3v12h-3z` : "")).join("");
}
