// What was understood in the words: a chip for each filter, which can be taken off.

import { button, byId, el, icon } from "./dom.js";
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
    el("span", { class: "chip", title: `“${text}” is a filter; the other words are searched for` }, el("span", { class: "label" }, labelOf(kind, filter))),
    button("remove", icon("close"), () => takeOff(kind), { "aria-label": `Search for “${text}” as words` }),
  );
}

/** Exported for tests. */
export function labelOf(kind, { gte, lt, contains }) {
  if (kind === "place") return `Place: ${contains}`;
  const last = lt && new Date(Date.parse(lt) - DAY_MS).toISOString().slice(0, 10);
  if (gte === last) return `Taken on ${gte}`;
  return ["Taken", gte && `from ${gte}`, last && `to ${last}`].filter(Boolean).join(" ");
}

function takeOff(kind) {
  update({ literal: [...new Set([...current().literal, kind])].sort() });
  byId("words").focus();
}
