// Numbers and times for people. Prices come as decimal texts and are never rounded silently where
// the exact one is asked for; what is shown short has the exact one beside it.

const INTEGER = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DIGITS = 7;

export const NONE = "–";

/** Return a whole number with separators. */
export function integer(value) {
  return value === null || value === undefined ? NONE : INTEGER.format(value);
}

/** Return a decimal text with as many digits as people read: about seven, at least two decimals. */
export function price(text) {
  const match = /^(\d{1,20})(?:\.(\d{1,20}))?$/.exec(text ?? "");
  if (!match) return NONE;
  const [, whole, fraction = ""] = match;
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  const lead = whole === "0" ? 0 : whole.length;
  const zeros = lead ? 0 : /^0*/.exec(fraction)[0].length;
  const shown = fraction.slice(0, Math.max(2, DIGITS - lead + zeros));
  return shown ? `${grouped}.${shown}` : grouped;
}

/** Return half the width of the confidence band in the quote currency. */
export function band(text, ppm) {
  const value = Number(text);
  if (!Number.isFinite(value) || ppm === null) return NONE;
  const half = (value * ppm) / 1e6;
  const decimals = half >= 100 ? 0 : Math.min(10, Math.max(2, 1 - Math.floor(Math.log10(half || 1))));
  return `± ${half.toLocaleString("en-GB", { minimumFractionDigits: Math.min(2, decimals), maximumFractionDigits: decimals })}`;
}

/** Return parts per million as basis points or per cent. */
export function relative(ppm) {
  if (ppm === null) return "unknown";
  if (ppm >= 10_000) return `${(ppm / 10_000).toFixed(ppm < 100_000 ? 1 : 0)} %`;
  return `${(ppm / 100).toFixed(ppm < 1000 ? 2 : 1)} bp`;
}

/** Return a change as a signed percentage. */
export function change(ratio) {
  if (ratio === null) return "";
  const percent = ratio * 100;
  const sign = percent >= 0.005 ? "+" : percent <= -0.005 ? "−" : "";
  return `${sign}${Math.abs(percent).toFixed(Math.abs(percent) < 10 ? 2 : 1)} %`;
}

/** Return a duration, short. */
export function span(ms) {
  if (ms === null || ms === undefined || Number.isNaN(ms)) return NONE;
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.floor(seconds)} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}

/** Return a duration in whole seconds or more, for what is read out or stands still. */
export function coarse(ms) {
  return ms === null || ms >= 10_000 ? span(ms) : `${Math.floor(Math.max(0, ms) / 1000)} s`;
}

/** Return the time of day, with the day if it is another. */
export function moment(ms, nowMs) {
  if (ms === null) return NONE;
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return NONE;
  const today = new Date(nowMs).toDateString() === date.toDateString();
  return today ? CLOCK.format(date) : `${DAY.format(date)} ${CLOCK.format(date)}`;
}

/** Return milliseconds with fitting digits. */
export function latency(ms) {
  if (ms === null || ms === undefined) return NONE;
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${integer(ms)} ms` : span(ms);
}

/** Return one or many. */
export function many(count, one, more = `${one}s`) {
  return `${integer(count)} ${count === 1 ? one : more}`;
}
