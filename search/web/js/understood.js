// What was understood in the words: a chip for each date or place, which can become a filter, or
// words again.

import { button, byId, el, icon } from "./dom.js";
import { day } from "./format.js";
import { t } from "./i18n.js";
import { withoutPhrase } from "./query.js";
import { current, update } from "./state.js";

const list = byId("understood");
const DAY_MS = 86_400_000;

/** Show what an answer says was understood. */
export function showUnderstood(found = []) {
  list.replaceChildren(...found.map(chip), ...found.map(dropping).filter(Boolean));
  list.hidden = !found.length;
}

/** Search again without it, where something else is asked for. */
function dropping({ kind, text }) {
  const { words } = current();
  const rest = withoutPhrase(words, text);
  if (!rest || rest === words) return null;
  const label = kind === "place" ? t("Search again without the place") : t("Search again without the date");
  return el("li", { class: "dropping" }, button("chip", el("span", { class: "label" }, label), () => choose({ words: rest })));
}

function chip({ kind, text, filter, only }) {
  const label = el("span", { class: "label" }, labelOf(kind, filter));
  const chosen = current().only;
  const isChosen = chosen.includes(kind);
  const toggle = () => choose({ only: isChosen ? chosen.filter((one) => one !== kind) : [...chosen, kind].sort() });
  return el(
    "li",
    { class: only && "only" },
    only && !isChosen // nothing else is asked for
      ? el("span", { class: "chip" }, label)
      : button("chip", label, toggle, { "aria-pressed": String(isChosen), title: t("Show only what fits “{text}”", { text }) }),
    button("remove", icon("close"), () => choose({ literal: [...current().literal, kind].sort(), only: chosen.filter((one) => one !== kind) }), {
      "aria-label": t("Search for “{text}” as words", { text }),
    }),
  );
}

/** Exported for tests. */
export function labelOf(kind, { gte, lt, contains }) {
  if (kind === "place") return t("Place: {place}", { place: contains });
  const last = lt && new Date(Date.parse(lt) - DAY_MS).toISOString().slice(0, 10);
  const [from, to] = [gte, last].map((date) => date && day(Date.parse(date) / 1000, "UTC"));
  if (from === to) return t("Date: {from}", { from });
  if (!to) return t("Date: from {from}", { from });
  return from ? t("Date: {from} to {to}", { from, to }) : t("Date: to {to}", { to });
}

function choose(changes) {
  update(changes);
  byId("words").focus();
}
