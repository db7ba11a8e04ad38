// What was understood in the words: a chip for each filter, which can be taken off.

import { button, byId, el, icon } from "./dom.js";
import { day } from "./format.js";
import { t } from "./i18n.js";
import { current, update } from "./state.js";

const list = byId("understood");
const DAY_MS = 86_400_000;

/** Show what an answer says was understood. */
export function showUnderstood(found = []) {
  list.replaceChildren(...found.map(chip));
  list.hidden = !found.length;
}

function chip({ kind, text, filter }) {
  return el(
    "li",
    {},
    el("span", { class: "chip", title: t("“{text}” is a filter; the other words are searched for", { text }) }, el("span", { class: "label" }, labelOf(kind, filter))),
    button("remove", icon("close"), () => takeOff(kind), { "aria-label": t("Search for “{text}” as words", { text }) }),
  );
}

/** Exported for tests. */
export function labelOf(kind, { gte, lt, contains }) {
  if (kind === "place") return t("Place: {place}", { place: contains });
  const last = lt && new Date(Date.parse(lt) - DAY_MS).toISOString().slice(0, 10);
  const [from, to] = [gte, last].map((date) => date && day(Date.parse(date) / 1000, "UTC"));
  if (from === to) return t("Taken on {from}", { from });
  if (!to) return t("Taken from {from}", { from });
  return from ? t("Taken from {from} to {to}", { from, to }) : t("Taken to {to}", { to });
}

function takeOff(kind) {
  update({ literal: [...new Set([...current().literal, kind])].sort() });
  byId("words").focus();
}
