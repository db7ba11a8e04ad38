// The feed of results: filled, extended, walked with the arrow keys.

import { card } from "./cards.js";
import { byId } from "./dom.js";
import { stopLoading } from "./media_elements.js";

const feed = byId("hits");

/** Replace all results. `link(hit)` and `onLike(hit)` are what a card leads to. */
export function showHits(hits, context) {
  stopLoading(feed);
  feed.classList.add("folded");
  feed.replaceChildren(...cards(hits, context, 1));
}

/** Show the cards of weaker matches, which are folded away at first; the first of them. */
export function unfold() {
  feed.classList.remove("folded");
  return feed.querySelector(".weak");
}

/** Whether weaker matches are folded away. */
export const isFolded = () => feed.classList.contains("folded");

/** The card of an asset, if it is shown. */
export const cardOf = (id) => feed.querySelector(`.hit[data-asset="${CSS.escape(id)}"]`);

/** Add a further page; the first new card. */
export function addHits(hits, context) {
  const added = cards(hits, context, feed.children.length + 1);
  feed.append(...added);
  return added[0];
}

function cards(hits, { words, best, link, onLike }, first) {
  return hits.map((hit, n) =>
    card(hit, { words, best, place: first + n, link: link(hit), onLike: () => onLike(hit) }),
  );
}

/** Show that a search is under way. */
export function setBusy(busy) {
  feed.setAttribute("aria-busy", String(busy));
}

/** The card that has, or holds, the focus. */
export const focusedCard = () => document.activeElement?.closest?.(".hit") ?? null;

/** Go to the first card; false if there is none. */
export function focusFirst() {
  const first = [...feed.children].find((one) => one.offsetParent);
  first?.focus();
  return Boolean(first);
}

/** Move the focus from card to card by an arrow key; false at the feed's edge. */
export function moveFocus(key) {
  const all = [...feed.children].filter((one) => one.offsetParent);
  const at = all.indexOf(focusedCard());
  if (at < 0) return false;
  const target = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + columns(all), ArrowUp: at - columns(all), Home: 0, End: all.length - 1 }[key];
  if (!all[target]) return false;
  all[target].focus();
  all[target].scrollIntoView({ block: "nearest" });
  return true;
}

/** How many cards stand side by side. */
function columns(all) {
  const below = all.findIndex((one) => one.offsetTop > all[0].offsetTop);
  return below < 0 ? all.length : below;
}
