// Several files at once: picked by their checks, with shift from one to another, or by a key.

import { deleteAsset } from "./api.js";
import { button, byId, el, icon, say } from "./dom.js";
import { between, hide, markPicked, picked, unhide } from "./hits.js";
import { t, tn } from "./i18n.js";
import { showError } from "./notice.js";
import { forgetAssets } from "./search.js";

const UNDO_MS = 8000;
const bar = byId("selection");
let anchor = null;
let removing = null; // {ids, timer} until it is too late to undo

/** Pick a card's file, or leave it; with `range`, all from the last one to it. */
export function pick(card, range = false) {
  const id = card.dataset.asset;
  const isNew = !picked.has(id);
  const ids = range && anchor ? between(anchor, id) : [id];
  for (const one of ids) picked[isNew ? "add" : "delete"](one);
  anchor = id;
  draw();
}

/** Pick nothing any more; false if nothing was picked. */
export function clearPicked() {
  if (!picked.size) return false;
  picked.clear();
  anchor = null;
  draw();
  return true;
}

function draw() {
  markPicked();
  if (!picked.size) {
    if (!removing) bar.hidden = true;
    return;
  }
  finish();
  const count = tn(picked.size, "{n} file selected", "{n} files selected");
  show(count, button("small", [icon("trash"), t("Remove")], remove), button("plain", t("Clear"), clearPicked));
}

function show(text, ...acts) {
  bar.replaceChildren(el("span", {}, text), ...acts);
  bar.hidden = false;
  say(text);
}

/** Take them off the page at once, and out of the library when it is too late to undo. */
function remove() {
  const ids = new Set(picked);
  picked.clear();
  hide(ids);
  removing = { ids, timer: setTimeout(finish, UNDO_MS) };
  show(tn(ids.size, "{n} file removed", "{n} files removed"), button("small", t("Undo"), undo));
  bar.querySelector("button").focus();
}

function undo() {
  clearTimeout(removing.timer);
  unhide(removing.ids);
  removing = null;
  bar.hidden = true;
}

/** Remove what waits for it; the first that could not be removed says why, and all such come back. */
async function finish({ keepalive = false } = {}) {
  if (!removing) return;
  const { ids, timer } = removing;
  clearTimeout(timer);
  removing = null;
  if (!picked.size) bar.hidden = true;
  const kept = new Map();
  const remove = (id) => deleteAsset(id, { keepalive }).catch((error) => kept.set(id, error));
  if (keepalive) [...ids].forEach(remove); // the page leaves
  else for (const id of ids) await remove(id);
  if (keepalive) return;
  forgetAssets(new Set([...ids].filter((id) => !kept.has(id))));
  unhide(ids);
  if (kept.size) showError(byId("notice"), kept.values().next().value);
}

addEventListener("pagehide", () => finish({ keepalive: true }));
