// The dates of the library on a strip at its edge: a click, a drag or a key goes to a month.

import { getFacets } from "./api.js";
import { byId, debounced, el, styled } from "./dom.js";
import { toFilter } from "./filter_tree.js";
import { monthName, monthOf } from "./format.js";
import { dateOf, onScroll, topHit } from "./hits.js";
import { tn } from "./i18n.js";
import { asks } from "./query.js";
import { current, update } from "./state.js";

const SETTLED_MS = 200;
const AGAIN_MS = 5000;
const YEAR_SHARE = 0.04; // of the strip, between two years that are named
const STEPS = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 12, PageUp: -12, Home: -Infinity, End: Infinity };
const strip = byId("scrubber");
const bubble = strip.querySelector(".bubble");
let months = []; // {value, count, at: its share of the strip}, newest first
let asked = null;
let isShown = false;
let at = 0;

/** Show the months of the library that a state shows; not where there is only one. */
export async function showScrubber(state) {
  isShown = true;
  const filter = toFilter(state);
  const key = JSON.stringify(filter);
  if (key !== asked) {
    asked = key;
    const { months: found } = await getFacets(filter).catch((error) => failed(error, key));
    if (key !== asked && asked !== null) return;
    months = placed(found);
    strip.querySelector(".years").replaceChildren(...years(months).map(({ year, at: share }) => styled(el("span", {}, year), { "--at": share })));
  }
  strip.hidden = months.length < 2 || asks(current());
  if (!strip.hidden) point(placeOf(current().from || months[0].value));
}

/** No months; they are asked for again by the next library, or soon if a server is away or busy. */
function failed({ status, retryAfterS }, key) {
  if (key === asked) asked = null;
  const soon = () => isShown && asked === null && showScrubber(current());
  if (!status || status === 429 || status >= 500) setTimeout(soon, Math.max(AGAIN_MS, 1000 * (retryAfterS ?? 0)));
  return { months: [] };
}

/** Ask for the months again when they are shown next. */
export function forgetMonths() {
  asked = null;
}

/** Hide it, as beside results. */
export function hideScrubber() {
  isShown = false;
  strip.hidden = true;
}

/** Months with their places: each has as much of the strip as it has files. Exported for tests. */
export function placed(found) {
  const all = found.reduce((sum, { count }) => sum + count, 0);
  let before = 0;
  return found.map((month) => {
    const share = before / all;
    before += month.count;
    return { ...month, at: share };
  });
}

function years(all) {
  const named = [];
  for (const { value, at: share } of all) {
    const year = value.slice(0, 4);
    const last = named.at(-1);
    if (!last || (year !== last.year && share - last.at > YEAR_SHARE)) named.push({ year, at: share });
  }
  return named;
}

/** The place of a month, or of the next older one that has files. */
function placeOf(month) {
  const found = months.findIndex(({ value }) => value <= month);
  return found < 0 ? months.length - 1 : found;
}

function point(place) {
  at = Math.max(0, Math.min(months.length - 1, place));
  const { value, count, at: share } = months[at];
  const text = `${monthName(value)}, ${tn(count, "{n} file", "{n} files")}`;
  bubble.textContent = text;
  styled(strip, { "--now": share });
  strip.setAttribute("aria-valuemax", months.length - 1);
  strip.setAttribute("aria-valuenow", at);
  strip.setAttribute("aria-valuetext", text);
}

const go = debounced(() => {
  update({ from: at ? months[at].value : "" }, { push: false });
  scrollTo({ top: 0 });
}, SETTLED_MS);

function drag(event) {
  const { top, height } = strip.getBoundingClientRect();
  const share = (event.clientY - top) / height;
  const next = months.findIndex((month) => month.at > share);
  point((next < 0 ? months.length : next) - 1);
  go();
}

strip.addEventListener("pointerdown", (event) => {
  strip.setPointerCapture(event.pointerId);
  drag(event);
});
strip.addEventListener("pointermove", (event) => {
  if (strip.hasPointerCapture(event.pointerId)) drag(event);
});
strip.addEventListener("keydown", (event) => {
  const step = STEPS[event.key];
  if (step === undefined) return;
  event.preventDefault();
  event.stopPropagation(); // arrows walk through cards elsewhere
  point(at + step);
  go();
});

/** The mark goes with what is on the screen. */
onScroll(() => {
  const month = topHit() && monthOf(dateOf(topHit()));
  if (!month || strip.hidden || strip.matches(":focus, :active")) return;
  const place = placeOf(month);
  if (place !== at) point(place);
});
