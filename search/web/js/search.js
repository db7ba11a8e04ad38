// The search view: from the state to results, with the time they took.

import { ApiError, listAssets, search } from "./api.js";
import { button, byId, el, say } from "./dom.js";
import { millis } from "./format.js";
import { wordsOf } from "./highlight.js";
import { addHits, addNewer, dropHits, focusAt, isFolded, lookAhead, renewHits, setBusy, showHits, spread, unfold } from "./hits.js";
import { isEnglish, t, tn } from "./i18n.js";
import { asks, firstCursor, LISTED, mediaOf, PAGE, toRequest } from "./query.js";
import { loadKinds } from "./kinds.js";
import { kept } from "./media_store.js";
import { openingOf } from "./moments.js";
import { clearNotice, showEmpty, showError } from "./notice.js";
import { current, format, NO_FILTERS, update } from "./state.js";
import { pauseAll } from "./player.js";
import { showUnderstood } from "./understood.js";

const REMEMBERED = 8;
const MOST_RENEWED = 1000;
const notice = byId("notice");
const more = byId("more");
const weaker = byId("weaker");
const order = byId("order");
const timing = byId("timing");
const chart = byId("waterfall");

/** Results of the last searches by what was asked, so that Back is immediate. */
const remembered = new Map();
let shown = { key: null, hits: [], cursor: "", newer: "", result: null }; // `newer`: the cursor of what is above
let running = null;
let timed = []; // of the search that is shown
let spokenMs = 0; // when the words ended that are searched for

const keyOf = (state) => {
  const { words, terms, kinds, form, literal, only, order, from } = state;
  return JSON.stringify([words, terms, kinds, form, literal, only, order, asks(state) ? "" : from]);
};

/** The hits on the page, in their order. */
export const shownHits = () => shown.hits.flatMap(spread);

/** The words that are marked in texts. */
export const markedWords = ({ words, terms } = current()) =>
  wordsOf([words, ...terms.filter((term) => term.kind === "text" && term.weight > 0).map((term) => term.value)]);

let chips = null;

/** Load what shows the terms of a question on first use: most have words alone. */
async function loadChips() {
  chips = await import("./chips.js");
  return chips;
}

/** Say with the next results how long after this moment they are there; 0: not. */
export function speechEnded(endedMs) {
  spokenMs = endedMs;
}

/** Show what a state asks for, if it is not shown already. */
export async function showSearch(state) {
  if (chips) chips.showChips(state);
  else if (state.terms.length) loadChips().then(({ showChips }) => showChips(current()));
  const key = keyOf(state);
  if (key === shown.key) return;
  running?.abort();
  running = new AbortController();
  pauseAll();
  more.disabled = false; // the next page of another question, which is given up
  shown = { key, hits: [], cursor: "", newer: "", result: null };
  const known = remembered.get(key);
  if (known) showResult(known);
  else await load(state, key, running.signal);
}

/** Search again, as after an error. */
export function searchAgain() {
  forgetResults();
  return showSearch(current());
}

/** Files were added: ask again for what is shown, and leave the focus and what plays as they are. */
export async function renew() {
  const { view, from } = current();
  if (view !== "search") return forgetResults();
  if (!shown.result) return searchAgain();
  remembered.clear();
  const [{ key }, { signal }] = [shown, running];
  const n = shown.hits.length;
  if (from || n > MOST_RENEWED) return; // one is at a place in the library
  try {
    const result = await pageOf(current(), "", signal, n);
    if (signal.aborted || shown.hits.length > n) return;
    remember(key, result);
    (await scrubber)?.forgetMonths();
    showResult(result, renewHits);
  } catch {
    // What is shown stays; whatever is done next says what is wrong.
  }
}

function forgetResults() {
  remembered.clear();
  shown.key = null;
}

/** An asset is gone: nothing leads to it or asks for what is like it any more. */
export function forgetAsset(id) {
  dropHits(new Set([id]));
  forgetResults();
  const terms = current().terms.filter(({ kind, value }) => kind !== "asset" || value !== id);
  update({ terms, open: null, at: null }, { push: false });
}

/** Assets are gone: what else is shown stays. */
export function forgetAssets(ids) {
  remembered.clear();
  shown.hits = dropHits(ids);
  const terms = current().terms.filter(({ kind, value }) => kind !== "asset" || !ids.has(value));
  if (terms.length < current().terms.length) update({ terms }, { push: false });
  else if (!shown.hits.length) searchAgain();
}

async function load(state, key, signal) {
  setBusy(true);
  try {
    const [result] = await Promise.all([pageOf(state, "", signal), loadKinds()]);
    if (signal.aborted) return;
    remember(key, result);
    showResult(result);
    countAll(result, signal);
  } catch (error) {
    if (error.name === "AbortError" || signal.aborted) return;
    clearResults();
    showError(notice, error, searchAgain);
  } finally {
    if (!signal.aborted) setBusy(false);
  }
}

/** A page of what is found; without a question, of what there is. */
async function pageOf(state, cursor, signal, least = 0) {
  if (asks(state)) return ask(state, cursor, signal, { limit: Math.max(PAGE, least) });
  const order = ["oldest", "added"].includes(state.order) ? state.order : "auto";
  const start = order === "auto" ? firstCursor(state) : "";
  const { filter } = toRequest(state);
  const { assets, next_cursor, sort, warnings } = await listAssets(Math.max(LISTED, least), filter, cursor || start, signal, order);
  if (!filter && !cursor) {
    document.documentElement.classList.toggle("bare", !assets.length);
    localStorage.setItem("bare", assets.length ? "" : "1"); // for early.js
  }
  return { hits: assets.map(toHit), asked: false, next_cursor, sort, warnings };
}

async function ask(state, cursor, signal, changes = {}) {
  const files = await filesOf(state);
  const began = performance.now();
  const answer = await search({ ...toRequest(state, cursor), ...changes }, files, signal);
  return { ...answer, asked: true, roundTripMs: performance.now() - began };
}

async function filesOf(state) {
  const files = new Map();
  for (const id of mediaOf(state)) {
    const blob = await kept(id);
    if (!blob) {
      throw new ApiError(0, {
        message: t("A file of this search is not on this device."),
        remedy: t("A link cannot contain it. Remove its term above, and drop the file here again."),
      });
    }
    files.set(id, blob);
  }
  return files;
}

/** An asset as a hit without a score. */
export const toHit = (asset) => ({ snippet: "", moments: [], start_s: null, ...asset, stack: asset.stack?.map(toHit), segment_id: asset.asset_id });

/** The same question, to know how the score of a hit came about; null if it is no longer found. */
export async function explained(hit, signal) {
  const place = shown.hits.findIndex((one) => spread(one).some((shot) => shot.asset_id === hit.asset_id));
  const limit = Math.max(PAGE, place + 1);
  const { hits } = await ask(current(), "", signal, { explain: true, limit });
  return hits.flatMap(spread).find((one) => one.asset_id === hit.asset_id)?.explanation ?? null;
}

/** The next page of the same question; `focus` its first card. */
export async function showMore({ focus = true } = {}) {
  const { cursor } = shown;
  if (!cursor || more.disabled) return;
  const { signal } = running;
  more.disabled = true;
  try {
    const page = await pageOf(current(), cursor, signal);
    if (signal.aborted) return;
    const fresh = notShown(page.hits);
    shown.hits = [...shown.hits, ...fresh];
    shown.cursor = page.next_cursor;
    const total = page.total ?? shown.result.total;
    shown.result = { ...shown.result, total, hits: [...shown.result.hits, ...fresh], next_cursor: page.next_cursor };
    remember(shown.key, shown.result);
    const first = addHits(fresh, context(shown.hits, page));
    // Who does something else meanwhile is not taken away from it.
    if (focus && [document.body, more].includes(document.activeElement)) focusAt(first);
    clearNotice(notice);
    showSummary(shown.result);
    more.disabled = false;
    lookAhead();
  } catch (error) {
    if (!signal.aborted) showError(notice, error, showMore);
  } finally {
    if (!signal.aborted) more.disabled = false;
  }
}

function notShown(hits) {
  const known = new Set(shown.hits.map((hit) => hit.segment_id));
  return hits.filter((hit) => !known.has(hit.segment_id));
}

/** What is newer than the month at which a library was opened. */
export async function showNewer() {
  const { newer } = shown;
  if (!newer) return;
  const { signal } = running;
  shown.newer = ""; // not asked for twice
  try {
    const { assets, next_cursor: next } = await listAssets(LISTED, toRequest(current()).filter, newer, signal, "oldest");
    if (signal.aborted) return;
    const fresh = notShown(assets.map(toHit)).reverse();
    shown.hits = [...fresh, ...shown.hits];
    shown.newer = next;
    addNewer(fresh);
  } catch (error) {
    if (signal.aborted) return;
    showError(notice, error, () => {
      clearNotice(notice);
      shown.newer = newer;
      showNewer();
    });
  }
}

/** A library goes on by itself; further answers to a question come when they are wanted. */
export const goOn = () => (asks(current()) ? null : showMore({ focus: false }));

function remember(key, result) {
  remembered.delete(key);
  remembered.set(key, result);
  if (remembered.size > REMEMBERED) remembered.delete(remembered.keys().next().value);
}

function showResult(result, draw = showHits) {
  const { from } = current();
  const isDated = !result.asked && result.sort === "newest";
  if (from && isDated && !result.hits.length) return void update({ from: "" }, { push: false }); // nothing is older
  shown.hits = result.hits;
  shown.newer = isDated ? firstCursor(current()) : "";
  shown.cursor = result.next_cursor ?? "";
  shown.result = result;
  clearNotice(notice);
  shown.hits = draw(result.hits, context(result.hits, result)) ?? result.hits;
  showSummary(result);
  if (!result.hits.length) showNothing(result.asked);
  showDates(isDated);
}

let scrubber = null;

/** Load what shows dates on first use; there are none beside results. */
async function showDates(isDated) {
  if (!isDated && !scrubber) return;
  scrubber ??= import("./scrubber.js");
  const { showScrubber, hideScrubber } = await scrubber;
  if (isDated) showScrubber(current());
  else hideScrubber();
}

function context(hits, { asked, sort }) {
  return {
    asked,
    isDated: !asked && ["newest", "oldest"].includes(sort),
    words: markedWords(),
    best: hits.reduce((best, { score }) => Math.max(best, score ?? 0), 0),
    link: (hit) => format({ ...current(), open: hit.asset_id, at: openingOf(hit, markedWords()).start_s }),
    onLike: moreLike,
  };
}

/** Search for what is like a hit; filters stay. */
export async function moreLike(hit) {
  const { nameAsset } = await loadChips();
  nameAsset(hit.asset_id, hit.title || hit.name);
  byId("words").value = "";
  update({ view: "search", words: "", terms: [{ kind: "asset", value: hit.asset_id, weight: 1 }], open: null });
  scrollTo({ top: 0 });
}

/** Show in which order things are; the best come first where something is asked for. */
function showOrder(asked, sort) {
  order.options[0].textContent = asked ? t("Best first") : t("Newest first");
  for (const option of order.options) option.hidden = (asked ? ["added"] : ["newest", "name", "size"]).includes(option.value);
  order.value = current().order;
  if (order.selectedOptions[0].hidden) order.value = "";
  order.hidden = !asked && sort === "id";
}

function showSummary({ hits, asked, sort, latency_ms: latency, roundTripMs, next_cursor: next, understood, total, warnings = [] }) {
  showUnderstood(understood);
  const count = countOf(hits, next, total);
  document.documentElement.classList.toggle("asked", Boolean(asked));
  byId("summary").hidden = !hits.length && !asked && !warnings.length;
  if (!isEnglish) warnings = warnings.map((reason) => t("Something is missing ({reason})", { reason: reason.replace(/\.$/, "") }));
  if (asked && spokenMs) warnings = [...warnings, t("{time} after the last words", { time: millis(performance.now() - spokenMs) })];
  spokenMs = 0;
  byId("summary-text").textContent = [asked ? count : t("In the library"), ...warnings].join(". ");
  more.hidden = !next || !asked;
  byId("grouped").hidden = !asked;
  showOrder(asked, sort);
  showFold(hits);
  timing.hidden = !latency;
  if (!latency) {
    chart.hidden = true;
    return;
  }
  timing.textContent = millis(latency.total ?? roundTripMs);
  timing.setAttribute("aria-label", t("{time}; show where the time went", { time: timing.textContent }));
  timing.setAttribute("aria-expanded", String(!chart.hidden));
  timed = [latency, roundTripMs];
  if (!chart.hidden) drawChart();
  say(t("{count} in {time}", { count, time: timing.textContent }));
}

/** How many results there are, as far as that is known, and on how many pages. */
function countOf(hits, next, total) {
  const found = tn(total ?? hits.length, "{n} result", "{n} results");
  if (total == null) return next ? t("{found}, and more", { found }) : found;
  return total > PAGE ? tn(Math.ceil(total / PAGE), "{found}, in {n} page", "{found}, in {n} pages", { found }) : found;
}

/** Ask how many results a list has that goes on behind its first page; one that nothing ends is not counted. */
async function countAll({ asked, total, judged, understood = [], next_cursor: next }, signal) {
  const hasEnd = judged || current().form.threshold || understood.some(({ only }) => only);
  if (!asked || total != null || !next || !hasEnd) return;
  try {
    const { total: counted } = await ask(current(), "", signal, { count: true, moments: 0 });
    if (signal.aborted || counted == null) return;
    shown.result = { ...shown.result, total: counted };
    remember(shown.key, shown.result);
    showSummary(shown.result);
  } catch {
    // What is shown stays.
  }
}

/** All that a list holds, without the weaker matches: what is shown, where nothing ends it. */
export async function wholeList() {
  const { signal } = running;
  const { asked, total, next_cursor: next } = shown.result;
  const hits = shownHits().filter(({ weak }) => !weak);
  if (!next || (asked && total == null)) return hits;
  const all = [];
  for (let cursor = ""; ; ) {
    const page = await (asked ? ask(current(), cursor, signal, { sort: "name", limit: MOST_RENEWED, moments: 0 }) : pageOf({ ...current(), from: "" }, cursor, signal, MOST_RENEWED));
    all.push(...page.hits.filter(({ weak }) => !weak));
    cursor = page.next_cursor;
    if (!cursor || page.hits.some(({ weak }) => weak)) return all;
  }
}

/** Weaker matches are folded away, behind a button with their number. */
function showFold(hits) {
  const n = hits.filter(({ weak }) => weak).length;
  weaker.hidden = !n || !isFolded();
  weaker.textContent = tn(n, "Show {n} weaker match", "Show {n} weaker matches");
  const isEmpty = n && n === hits.length && isFolded();
  if (isEmpty) byId("summary-text").replaceChildren(t("Nothing stands out."));
  (isEmpty ? byId("summary-text") : byId("behind")).after(weaker);
}

/** Show the weaker matches, too. */
export function showWeaker() {
  weaker.hidden = true;
  clearNotice(notice);
  focusAt(unfold());
}

/** Load the chart on first use. */
async function drawChart() {
  const { waterfall } = await import("./waterfall.js");
  chart.replaceChildren(waterfall(...timed));
}

/** Show or hide where the time went; false where there is nothing to show. */
export function toggleWaterfall() {
  if (timing.hidden) return false;
  chart.hidden = !chart.hidden;
  if (!chart.hidden) drawChart();
  timing.setAttribute("aria-expanded", String(!chart.hidden));
  return true;
}

function clearResults() {
  showHits([], context([], {}));
  showUnderstood();
  byId("summary").hidden = true;
  chart.hidden = true;
  more.hidden = true;
  weaker.hidden = true;
}

function showNothing(asked) {
  const { kinds, form } = current();
  const filtered = kinds.length || Object.keys(NO_FILTERS).some((name) => form[name] !== NO_FILTERS[name]);
  if (filtered) {
    showEmpty(
      notice,
      t("No files match the filters."),
      el("p", {}, t("Widen them, lower the minimum score, or search without them.")),
      button("small", t("Clear the filters"), () => update({ kinds: [], form: { ...NO_FILTERS } })),
    );
  } else if (asked) {
    showEmpty(notice, t("Nothing was found."), el("p", {}, t("Try other words, or add files to search.")), el("a", { href: "?view=add", class: "small", "data-nav": "add" }, t("Add files")));
  } else {
    showEmpty(notice, t("The library is empty."), el("p", {}, t("Drop files anywhere on this page, and search them seconds later.")), el("a", { href: "?view=add", class: "small", "data-nav": "add" }, t("Add files")));
  }
}
