// The terms of a query as chips: weight, more or less of it, remove; all by keyboard too.

import { button, byId, el, icon } from "./dom.js";
import { t } from "./i18n.js";
import { loadKinds, signOf } from "./kinds.js";
import { kept } from "./media_store.js";
import { LESS } from "./query.js";
import { current, update } from "./state.js";

const list = byId("chips");
const input = byId("words");
const pictures = new Map();
const names = new Map();
let drawn = null; // the terms, as JSON
const WEIGHTS = [0.25, 0.5, 1, 2, 4];

/** Name an asset that is searched with, so that its chip can say more than its id. */
export function nameAsset(id, name) {
  names.set(id, name);
}

/** Draw the chips of a state; those that are drawn keep the focus. */
export function showChips({ terms }) {
  if (JSON.stringify(terms) === drawn) return;
  drawn = JSON.stringify(terms);
  const open = list.querySelector(".chip-menu:popover-open");
  open?.hidePopover();
  list.replaceChildren(...terms.map(chip));
  list.hidden = !terms.length;
}

/** Add a term. */
export function addTerm(term) {
  update({ view: "search", terms: [...current().terms, { weight: 1, ...term }], open: null });
}

const replaceTerm = (place, changes) =>
  update({ terms: current().terms.map((term, n) => (n === place ? { ...term, ...changes } : term)) });

function removeTerm(place) {
  update({ terms: current().terms.filter((_, n) => n !== place) });
  const left = list.querySelectorAll(".chip");
  (left[Math.min(place, left.length - 1)] ?? input).focus();
}

function chip(term, place) {
  const id = `chip-menu-${place}`;
  const label = el("span", { class: "label" });
  const face = el("span", { class: "face" });
  nameChip(term, label, face);
  const weight = Math.abs(term.weight);
  return el(
    "li",
    { class: term.weight < 0 ? "less" : null },
    el(
      "button",
      {
        type: "button",
        class: "chip",
        popovertarget: id,
        "aria-haspopup": "dialog",
        title: t("Weight, more or less of it, remove"),
        on: { keydown: (event) => onKey(event, place) },
      },
      term.weight < 0 ? el("span", { class: "sign" }, el("span", { class: "unseen" }, `${t("without")} `), "−") : null,
      face,
      label,
      [1, LESS].includes(term.weight) ? null : el("span", { class: "weight" }, `×${weight}`),
    ),
    button("remove", icon("close"), () => removeTerm(place), { "aria-label": t("Remove this term"), tabindex: "-1" }),
    menu(id, term, place),
  );
}

async function nameChip({ kind, value }, label, face) {
  if (kind === "text") {
    label.textContent = value;
    return;
  }
  if (kind === "asset") {
    face.append(icon("like"));
    label.textContent = t("like {name}", { name: names.get(value) ?? `${value.slice(0, 8)}…` });
    return;
  }
  const blob = await kept(value);
  label.textContent = blob ? blob.name || t("file") : t("File that is not on this device");
  if (blob?.type.startsWith("image/")) showPicture(blob, value, face);
  else showSign(blob, face);
}

function showPicture(blob, value, face) {
  if (!pictures.has(value)) pictures.set(value, URL.createObjectURL(blob));
  const shown = el("img", { src: pictures.get(value), alt: "" });
  // Most browsers cannot show HEIC and TIFF, which the server reads.
  shown.addEventListener("error", () => showSign(blob, face));
  face.replaceChildren(shown);
}

/** Show the sign of a file, and again when the kinds are known: a chip may come before them. */
async function showSign(blob, face) {
  face.replaceChildren(signOf(blob));
  await loadKinds().catch(() => {}); // a search says what is wrong
  face.replaceChildren(signOf(blob));
}

function menu(id, term, place) {
  const weight = Math.abs(term.weight);
  const sign = Math.sign(term.weight);
  const choice = (name, changes, pressed) =>
    button("choice", name, () => replaceTerm(place, changes), { "aria-pressed": String(pressed) });
  return el(
    "div",
    { id, popover: "auto", class: "chip-menu", role: "dialog", "aria-label": t("Term") },
    el("div", { class: "segmented" }, choice(t("More of it"), { weight: sign > 0 ? weight : 1 }, sign > 0), choice(t("Less of it"), { weight: sign < 0 ? -weight : LESS }, sign < 0)),
    el("p", {}, t("Weight")),
    el("div", { class: "segmented" }, WEIGHTS.map((one) => choice(`×${one}`, { weight: sign * one }, one === weight))),
    button("plain", t("Remove"), () => removeTerm(place)),
  );
}

function onKey(event, place) {
  const all = [...list.querySelectorAll(".chip")];
  if (event.key === "Delete" || event.key === "Backspace") {
    event.preventDefault();
    removeTerm(place);
  } else if (event.key === "ArrowLeft") {
    all[place - 1]?.focus();
  } else if (event.key === "ArrowRight") {
    (all[place + 1] ?? input).focus();
  }
}

/** From the beginning of the words, Left and Backspace lead back to the last chip. */
input.addEventListener("keydown", (event) => {
  const atStart = input.selectionStart === 0 && input.selectionEnd === 0;
  if (atStart && (event.key === "Backspace" || event.key === "ArrowLeft")) {
    [...list.querySelectorAll(".chip")].at(-1)?.focus();
  }
});
