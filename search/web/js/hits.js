// The feed of results: only the cards near the screen are made, however many there are.

import { card } from "./cards.js";
import { byId, el, painted, styled } from "./dom.js";
import { monthName, monthOf } from "./format.js";
import { DENSITIES, rowsAround, rowsWithin, rowWith, shapeOf } from "./grid.js";
import { t } from "./i18n.js";
import { modalityOf, pluralOf } from "./kinds.js";
import { stopLoading } from "./media_elements.js";

const DENSITY = "density";
const GROUPED = "grouped";
/** Up to so many, all cards are made: a browser then finds words in them. */
const FEW = 60;
const OVERSCAN_PX = 900;
const CAPTION_REM = 3.75;
const HEAD_REM = 2.75;
/** How long cards are made in a frame for what is not on the screen. */
const DRAWING_MS = 4;

const feed = byId("hits");
const heads = byId("heads");
const made = new Map(); // cards by their place
const hidden = new Set(); // assets that are about to be removed
const opened = new Set(); // assets whose stacks show all their shots
let hits = [];
let newer = []; // what was added above them
let order = []; // what is shown of them
let context = {};
let folded = true;
let starts = new Map(); // names of groups by the place of their first card
let layout = { rows: [], height: 0, seam: 0 };
const scrolled = [];
let above = 0; // how much of the feed is above the screen, as of the last drawing
let isAsking = false;
let isDrawing = false; // what is on the screen is there, and the rest comes
let onEnd = () => {};
let onStart = () => {};

/** The assets that are picked, shown or not. */
export const picked = new Set();

/** Replace all results. `link(hit)` and `onLike(hit)` are what a card leads to. */
export function showHits(found, given) {
  clear();
  folded = true;
  opened.clear();
  [hits, newer, context] = [found, [], given];
  arrange();
}

/**
 * Replace results by those of the same question, asked again; what is shown. The cards of what has
 * stayed are kept, the focus too, and what is on the screen stays there.
 */
export function renewHits(found, given) {
  const same = given.best === context.best ? new Map(hits.map((hit) => [JSON.stringify(hit), hit])) : new Map();
  const focused = focusedCard()?.dataset.asset;
  const anchor = above > 0 ? (focused ?? topHit()?.asset_id) : null;
  const before = topOf(anchor);
  [hits, context] = [found.map((hit) => same.get(JSON.stringify(hit)) ?? hit), given];
  arrangeAgain();
  scrollBy({ top: topOf(anchor) - before || 0, behavior: "instant" });
  return hits;
}

/** Add a further page, and show its weaker matches too. */
export function addHits(added, given) {
  const before = order.length;
  folded = false;
  hits = [...hits, ...added];
  context = given;
  arrangeAgain();
  return before;
}

/** Add a page above; what is on the screen stays where it is. */
export function addNewer(added) {
  newer = [...added, ...newer];
  arrangeAgain({ holds: true });
}

/** Take assets off the page; what stays. The best shot that is left stands for its stack. */
export function dropHits(ids) {
  const left = (hit) => {
    const [first, ...stack] = spread(hit).filter((shot) => !ids.has(shot.asset_id));
    if (stack.length === spread(hit).length - 1) return first ? hit : [];
    return first ? { ...first, stack } : [];
  };
  [hits, newer] = [hits, newer].map((some) => some.flatMap(left));
  arrangeAgain();
  return [...newer, ...hits];
}

/** The first result of each of these assets. */
export const hitsOf = (ids) => [...ids].map((id) => all().find((hit) => hit.asset_id === id)).filter(Boolean);

/** A hit and the shots that it stands for. */
export const spread = (hit) => [hit, ...(hit.stack ?? [])];

const all = () => [...newer, ...hits].flatMap(spread);

/** Show an asset with other tags. */
export function setTags(id, tags) {
  for (const hit of all()) if (hit.asset_id === id) hit.tags = tags;
  const isFocused = focusedCard()?.dataset.asset === id;
  for (const [at, one] of made) if (one.dataset.asset === id) letGo(at);
  place();
  if (isFocused) cardAt(order.findIndex((hit) => hit.asset_id === id))?.focus({ preventScroll: true });
}

/** Hide assets for a while. */
export function hide(ids) {
  for (const id of ids) hidden.add(id);
  arrangeAgain();
}

/** Show them again where they were. */
export function unhide(ids) {
  for (const id of ids) hidden.delete(id);
  arrangeAgain();
}

/** The assets from one to another, in the order in which they are shown. */
export function between(id, other) {
  const places = [id, other].map((one) => order.findIndex((hit) => hit.asset_id === one)).sort((a, b) => a - b);
  return places[0] < 0 ? [other] : order.slice(places[0], places[1] + 1).map((hit) => hit.asset_id);
}

/** Show on the cards which are picked. */
export function markPicked() {
  feed.classList.toggle("picking", picked.size > 0);
  for (const one of made.values()) {
    one.querySelector(".pick").setAttribute("aria-pressed", String(picked.has(one.dataset.asset)));
  }
}

/** Show the cards of weaker matches, which are folded away at first; the place of the first. */
export function unfold() {
  folded = false;
  arrangeAgain();
  return order.findIndex(({ weak }) => weak);
}

/** Whether weaker matches are folded away. */
export const isFolded = () => folded;

/** The card of an asset, if it is near the screen. */
export const cardOf = (id) => feed.querySelector(`.hit[data-asset="${CSS.escape(id)}"]`);

/** Show that a search is under way. */
export function setBusy(busy) {
  isAsking = busy;
  showBusy();
}

function showBusy() {
  feed.setAttribute("aria-busy", String(isAsking || isDrawing));
  feed.classList.toggle("asking", isAsking);
}

/** Draw again when the window, the density or the grouping changes; ask for more near both ends. */
export function startHits(onNearEnd, onNearStart) {
  [onEnd, onStart] = [onNearEnd, onNearStart];
  addEventListener("scroll", soon, { passive: true });
  new ResizeObserver(() => feed.clientWidth !== layout.width && place()).observe(feed);
  const choices = [...byId("density").children];
  const press = () => choices.forEach((one) => one.setAttribute("aria-pressed", String(one.value === density())));
  for (const one of choices) {
    one.addEventListener("click", () => {
      localStorage.setItem(DENSITY, one.value);
      press();
      painted(place);
    });
  }
  press();
  const grouping = byId("grouped");
  grouping.setAttribute("aria-pressed", String(isGrouped()));
  grouping.addEventListener("click", () => {
    localStorage.setItem(GROUPED, isGrouped() ? "" : "1");
    grouping.setAttribute("aria-pressed", String(isGrouped()));
    painted(arrangeAgain);
  });
}

let waits = false;

/** Draw again in the next frame. */
function soon() {
  if (waits) return;
  waits = true;
  requestAnimationFrame(() => {
    waits = false;
    render();
    for (const listener of scrolled) listener();
  });
}

const density = () => (DENSITIES[localStorage.getItem(DENSITY)] ? localStorage.getItem(DENSITY) : "medium");
const isGrouped = () => localStorage.getItem(GROUPED) === "1";

function clear() {
  stopLoading(feed);
  feed.replaceChildren();
  made.clear();
}

function letGo(at) {
  const one = made.get(at);
  stopLoading(one);
  one.remove();
  made.delete(at);
}

/**
 * Arrange what has changed: a card that stays is the same, with its focus and what it loads or plays;
 * the focus of one that is gone goes to what took its place.
 */
function arrangeAgain({ holds = false } = {}) {
  const cards = new Map([...made].map(([at, one]) => [order[at], one]));
  const focused = focusedCard();
  choose();
  made.clear();
  for (const [at, hit] of order.entries()) {
    const one = cards.get(hit);
    if (!one) continue;
    one.ariaPosInSet = String(at + 1);
    made.set(at, one);
    cards.delete(hit);
  }
  for (const one of cards.values()) {
    stopLoading(one);
    one.remove();
  }
  const sorted = [...made.values()];
  if (sorted.some((one, n) => one !== feed.children[n])) feed.append(...sorted);
  place({ holds });
  if (!focused || focused.isConnected) return;
  const next = cardOf(focused.dataset.asset) ?? cardAt(Math.min(focused.ariaPosInSet, order.length) - 1);
  next?.focus({ preventScroll: true });
}

function arrange() {
  choose();
  place();
}

/** When a file was taken, or else changed, in epoch seconds. */
export const dateOf = ({ metadata }) => [metadata?.taken, metadata?.modified].find((date) => typeof date === "number") ?? -Infinity;

/** Which hits are shown in which order. */
function choose() {
  const shots = [...newer, ...hits].flatMap((hit) => (opened.has(hit.asset_id) || hidden.has(hit.asset_id) ? spread(hit) : hit));
  order = shots.filter(({ asset_id: id, weak }) => !(folded && weak) && !hidden.has(id));
  feed.role = order.length ? "feed" : "group"; // a feed has articles
  starts = new Map();
  if (context.isDated) nameMonths();
  if (isGrouped() && context.asked) {
    const groups = Map.groupBy(order, modalityOf); // the group of the best hit comes first
    order = [...groups.values()].flat();
    let at = 0;
    for (const [modality, members] of groups) {
      starts.set(at, `${pluralOf(modality)} · ${members.length}`);
      at += members.length;
    }
  }
}

/** Each month of a library begins a group. */
function nameMonths() {
  let last = null;
  for (const [at, hit] of order.entries()) {
    const month = monthOf(dateOf(hit));
    if (month !== last) starts.set(at, month ? monthName(month) : t("Without a date"));
    last = month;
  }
}

/** Where they are shown; `holds` what was shown, though there is more above it. */
function place({ holds = false } = {}) {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const width = feed.clientWidth;
  if (!width) return; // another view is shown
  measure();
  const measures = { width, height: DENSITIES[density()], gap: width < 600 ? 12 : 18, caption: CAPTION_REM * rem, head: HEAD_REM * rem };
  const { seam } = layout;
  const added = newer.filter((hit) => !hidden.has(hit.asset_id)).length;
  layout = { ...rowsAround(order.map(shapeOf), measures, [...starts.keys()], added), width, gap: measures.gap };
  styled(feed, { height: `${layout.height}px` });
  if (holds) {
    scrollBy({ top: layout.seam - seam, behavior: "instant" });
    measure();
  }
  for (const [at, one] of made) moveTo(one, at);
  heads.replaceChildren(
    ...[...starts].map(([at, name]) => styled(el("p", {}, name), { top: `${layout.rows[rowOf(at)].top - measures.head}px` })),
  );
  draw();
}

const rowOf = (at) => rowWith(layout.rows, at);

const topOf = (id) => layout.rows.find(({ first, end }) => order.slice(first, end).some((hit) => hit.asset_id === id))?.top;

function moveTo(one, at, row = layout.rows[rowOf(at)]) {
  const widths = order.slice(row.first, at).map((hit) => shapeOf(hit) * row.height + layout.gap);
  styled(one, {
    "--x": `${widths.reduce((sum, wide) => sum + wide, 0)}px`,
    "--y": `${row.top}px`,
    "--wide": `${Math.min(layout.width, shapeOf(order[at]) * row.height)}px`,
    "--high": `${row.height}px`,
  });
}

/** Call a listener when other cards are on the screen. */
export const onScroll = (listener) => scrolled.push(listener);

/** What the first row on the screen begins with. */
export const topHit = () => order[layout.rows[rowsWithin(layout.rows, above, above)[0]]?.first];

/** Ask for more if the end is near, as after a short page. */
export const lookAhead = () => render();

/** Before anything changes, since the browser would lay the page out twice otherwise. */
function measure() {
  above = -feed.getBoundingClientRect().top;
}

function render() {
  if (!feed.offsetParent) return;
  measure();
  draw();
}

/**
 * Make the cards on the screen, then those near it as far as the time of a frame goes, and let go of
 * the others, unless one plays or has the focus.
 */
function draw() {
  const near = order.length <= FEW ? layout.rows : rowsNear(OVERSCAN_PX);
  const [first, end] = [near[0]?.first ?? 0, near.at(-1)?.end ?? 0];
  for (const [at, one] of made) {
    if ((at >= first && at < end) || one.contains(document.activeElement) || one.querySelector("video, audio")) continue;
    letGo(at);
  }
  const seen = near.filter(isSeen);
  for (const row of seen) for (const at of missing(row)) insert(at, row, true);
  const until = performance.now() + DRAWING_MS;
  isDrawing = near.some((row) => missing(row).some((at) => performance.now() > until || insert(at, row)));
  showBusy();
  if (isDrawing) return soon();
  if (order.length && layout.height - above < 3 * innerHeight) onEnd();
  if (order.length && above < innerHeight) onStart();
}

const rowsNear = (px) => layout.rows.slice(...rowsWithin(layout.rows, above - px, above + innerHeight + px));
const isSeen = ({ top, height }) => top < above + innerHeight && top + height > above;

/** The places of a row that have no card. */
function missing({ first, end }) {
  const places = [];
  for (let at = first; at < end; at += 1) if (!made.has(at)) places.push(at);
  return places;
}

/** Make a card; false, since it is there then. */
function insert(at, row, isOnScreen = false) {
  const hit = order[at];
  const { words, best, link, onLike } = context;
  const [isOpen, onStack] = [opened.has(hit.asset_id), () => toggleStack(hit)];
  const one = card(hit, { words, best, place: at + 1, isOnScreen, isOpen, link: link(hit), onLike: () => onLike(hit), onStack });
  one.querySelector(".pick").setAttribute("aria-pressed", String(picked.has(hit.asset_id)));
  moveTo(one, at, row);
  const next = Math.min(...[...made.keys()].filter((other) => other > at));
  feed.insertBefore(one, made.get(next) ?? null);
  made.set(at, one);
  return false;
}

/** Show a hit's further shots beside it, or put them away. */
function toggleStack({ asset_id: id }) {
  opened[opened.has(id) ? "delete" : "add"](id);
  cardOf(id).querySelector(".alike").setAttribute("aria-expanded", String(opened.has(id)));
  arrangeAgain();
}

/** The card that has, or holds, the focus. */
export const focusedCard = () => document.activeElement?.closest?.(".hit") ?? null;

/** The card at a place, made now if it is not there; null if there is none. */
function cardAt(at) {
  if (!order[at]) return null;
  if (!made.has(at)) insert(at, layout.rows[rowOf(at)]);
  return made.get(at);
}

/** Go to the card at a place, which may be far away; false if there is none. */
export function focusAt(at) {
  const one = cardAt(at);
  one?.focus({ preventScroll: true });
  one?.scrollIntoView({ block: "nearest" });
  return Boolean(one);
}

/** Go to the first card; false if there is none. */
export const focusFirst = () => focusAt(0);

/** Move the focus from card to card by an arrow key; false at the feed's edge. */
export function moveFocus(key) {
  const at = Number(focusedCard().ariaPosInSet) - 1;
  const target = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: beside(at, 1), ArrowUp: beside(at, -1), Home: 0, End: order.length - 1 }[key];
  return focusAt(target);
}

/** The place in the next or previous row that lies at about the same share of it. */
function beside(at, step) {
  const here = layout.rows[rowOf(at)];
  const there = layout.rows[rowOf(at) + step];
  if (!there) return -1;
  const share = (at - here.first + 0.5) / (here.end - here.first);
  return there.first + Math.min(there.end - there.first - 1, Math.floor(share * (there.end - there.first)));
}

