// Searches that this browser keeps: their names and addresses, the last saved first.

import { button, byId, el, icon, say } from "./dom.js";
import { t } from "./i18n.js";
import { pluralOf } from "./kinds.js";
import { asks } from "./query.js";
import { current, format, NO_FILTERS, parse, update } from "./state.js";

const SAVED = "saved"; // early.js reads it too
const list = byId("saved");
const toggle = byId("save");

const saved = () => JSON.parse(localStorage.getItem(SAVED) ?? "[]");

function store(searches) {
  if (searches.length) localStorage.setItem(SAVED, JSON.stringify(searches));
  else localStorage.removeItem(SAVED);
  showSaved();
}

const addressOf = (state) => format({ ...state, view: "search", order: "", from: "", open: null });

/** Show the saved searches, and whether what is shown is one of them. */
export function showSaved() {
  const [all, here] = [saved(), addressOf(current())];
  document.documentElement.classList.toggle("saving", all.length > 0);
  list.replaceChildren(...all.map((search) => chip(search, here)));
  toggle.hidden = !here;
  toggle.setAttribute("aria-pressed", String(all.some(({ address }) => address === here)));
}

function chip({ name, address }, here) {
  const open = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    update(parse(address));
  };
  return el(
    "li",
    {},
    el("a", { class: "chip", href: address, "aria-current": address === here ? "true" : null, on: { click: open } }, el("bdi", { class: "label" }, name)),
    button("remove", icon("close"), () => forget(address), { "aria-label": t("Forget the search “{name}”", { name }) }),
  );
}

function forget(address) {
  const at = saved().findIndex((search) => search.address === address);
  store(saved().filter((search) => search.address !== address));
  const left = list.querySelectorAll("a");
  (left[Math.min(at, left.length - 1)] ?? byId("words")).focus();
}

/** Save what is asked for, or forget it; false where nothing is. */
export function toggleSaved() {
  const address = addressOf(current());
  if (!address) return false;
  const others = saved().filter((search) => search.address !== address);
  const isNew = others.length === saved().length;
  store(isNew ? [{ name: nameOf(current()), address }, ...others] : others);
  say(isNew ? t("Saved") : t("No longer saved"));
  return true;
}

/** What a person typed, dropped and chose. */
function nameOf(state) {
  const { words, kinds, form } = state;
  const terms = asks(state) ? [...document.querySelectorAll("#chips .chip")].map((term) => term.textContent) : [];
  const narrowed = Object.keys(NO_FILTERS).filter((name) => form[name] !== NO_FILTERS[name]);
  return [words, ...terms, ...kinds.map(pluralOf), ...narrowed.map((name) => form[name])].filter(Boolean).join(", ");
}

toggle.addEventListener("click", toggleSaved);
addEventListener("storage", ({ key }) => key === SAVED && showSaved());
