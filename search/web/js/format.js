// Numbers as people read them, in their own way of writing.

import { locale, t } from "./i18n.js";

/** A number with so many decimals. */
export const fixed = (n, digits) => n.toLocaleString(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits });

let percents = null;

/** A probability as a percentage; never as certainty. */
export function percent(share) {
  percents ??= new Intl.NumberFormat(locale, { style: "percent" });
  return percents.format(Math.min(share, 0.99));
}

const [VERY_LIKELY, LIKELY, POSSIBLE] = [0.75, 0.4, 0.15];

/** How likely a hit answers, in words as in `search/likelihood.py`; a strong one is possible at least. */
export function likelihood({ probability, weak }) {
  if (probability >= VERY_LIKELY) return t("very likely");
  if (probability >= LIKELY) return t("likely");
  return probability >= POSSIBLE || !weak ? t("possible") : t("unlikely");
}

/** Seconds as 1:05 or 1:02:05. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (n) => String(n).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Where in a document something stands: "page 3", or the headings above it. */
export function placeName(place) {
  return Object.entries(place ?? {})
    .map(([name, value]) => (name === "heading" ? value : `${t(name)} ${value}`))
    .join(", ");
}

/** Milliseconds with two or three significant digits and their unit. */
export function millis(ms) {
  if (ms >= 9999.5) return `${fixed(ms / 1000, 0)} s`;
  if (ms >= 999.5) return `${fixed(ms / 1000, 1)} s`;
  if (ms >= 9.95) return `${Math.round(ms)} ms`;
  return `${fixed(ms, ms >= 0.995 ? 1 : 2)} ms`;
}

/** Bytes with a binary unit. */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let step = 0;
  while (n >= 1024 && step < units.length - 1) {
    n /= 1024;
    step += 1;
  }
  return `${step && n < 10 ? fixed(n, 1) : Math.round(n)} ${units[step]}`;
}

/** The month of epoch seconds, such as "2024-05", in UTC like the server's; "" of what is no date. */
export function monthOf(epochSeconds) {
  const date = new Date(epochSeconds * 1000);
  const [year, month] = [date.getUTCFullYear(), date.getUTCMonth() + 1];
  return year ? `${year}-${String(month).padStart(2, "0")}` : "";
}

/** A month such as "2024-05", in words. */
export function monthName(month) {
  if (!months.has(month)) months.set(month, new Date(`${month}-01T00:00Z`).toLocaleDateString(locale, { month: "long", year: "numeric", timeZone: "UTC" }));
  return months.get(month);
}

const months = new Map();

/** Epoch seconds as a day, in the reader's own language. */
export const day = (epochSeconds, timeZone = undefined) => daysIn(timeZone).format(epochSeconds * 1000);

/** A language by its code, in the reader's own; a code that is none stays. */
export function languageName(code) {
  try {
    return new Intl.DisplayNames(locale, { type: "language" }).of(code);
  } catch {
    return code;
  }
}

const days = new Map();

/** Kept: to make one costs more than all that it formats. */
function daysIn(timeZone) {
  if (!days.has(timeZone)) days.set(timeZone, new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeZone }));
  return days.get(timeZone);
}
