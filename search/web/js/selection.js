// Several files at once: picked by their checks, with shift from one to another, or by a key.

import { address, changeTags, deleteAsset, getAsset } from "./api.js";
import { button, byId, el, icon, say } from "./dom.js";
import { between, focusAt, hide, hitsOf, markPicked, picked, setTags, unhide } from "./hits.js";
import { t, tn } from "./i18n.js";
import { showError } from "./notice.js";
import { forgetAssets, wholeList } from "./search.js";

const UNDO_MS = 8000;
/** Browsers take some downloads at once and drop the rest. */
const BETWEEN_DOWNLOADS_MS = 400;
const bar = byId("selection");
let anchor = null;
let last = 0; // the place of the card picked last
let removing = null; // {ids, timer} until it is too late to undo

/** Pick a card's file, or leave it; with `range`, all from the last one to it. */
export function pick(card, range = false) {
  const id = card.dataset.asset;
  const isNew = !picked.has(id);
  const ids = range && anchor ? between(anchor, id) : [id];
  for (const one of ids) picked[isNew ? "add" : "delete"](one);
  anchor = id;
  last = card.ariaPosInSet - 1;
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
    if (!removing) close();
    return;
  }
  finish();
  const count = tn(picked.size, "{n} file selected", "{n} files selected");
  show(
    count,
    button("small", t("Tags"), tagPicked),
    button("small", [icon("download"), t("Download")], download),
    button("small", [icon("trash"), t("Remove")], remove),
    button("plain", t("Select all"), pickAll),
    button("plain", t("Clear"), clearPicked),
  );
}

/** Pick all that the list holds, on this page and behind it. */
async function pickAll(event) {
  event.currentTarget.disabled = true;
  try {
    for (const { asset_id: id } of await wholeList()) picked.add(id);
  } catch (error) {
    if (error.name !== "AbortError") showError(byId("notice"), error);
  }
  draw();
}

/** Have the browser save each of the picked files. */
async function download() {
  for (const id of [...picked]) {
    el("a", { href: address(`v1/assets/${encodeURIComponent(id)}/content`), download: true }).click();
    await new Promise((resume) => setTimeout(resume, BETWEEN_DOWNLOADS_MS));
  }
}

function show(text, ...acts) {
  const held = bar.contains(document.activeElement);
  bar.replaceChildren(el("span", {}, text), ...acts);
  bar.hidden = false;
  if (held) acts[0].focus();
  say(text);
}

/** Hide the bar; its focus goes to the card picked last, or to what took its place. */
function close() {
  const held = bar.contains(document.activeElement);
  bar.hidden = true;
  if (held) while (last >= 0 && !focusAt(last)) last -= 1;
}

/** Ask for a tag that the picked files get or lose; false if nothing is picked. */
export function tagPicked() {
  if (!picked.size) return false;
  const known = new Set(hitsOf(picked).flatMap((hit) => hit.tags ?? []));
  const input = el("input", { id: "tag", list: "known-tags", "aria-label": t("Tag"), placeholder: t("Tag"), autocomplete: "off", maxlength: 1000, required: true });
  const take = (event) => {
    event.preventDefault();
    changeTag(input.value.trim(), event.submitter.value === "add");
  };
  const form = el(
    "form",
    { on: { submit: take, keydown: (event) => event.key === "Escape" && (draw(), event.preventDefault()) } },
    input,
    el("datalist", { id: "known-tags" }, [...known].map((tag) => el("option", { value: tag }))),
    el("button", { class: "small", value: "add" }, t("Add tag")),
    known.size ? el("button", { class: "small", value: "" }, t("Remove tag")) : null,
    button("plain", t("Cancel"), draw),
  );
  bar.replaceChildren(form);
  input.focus();
  return true;
}

/** Change a tag of the picked files that have it not, or have it; all of that can be undone. */
async function changeTag(tag, isAdded) {
  if (!tag) return;
  const ids = [...picked];
  const held = bar.contains(document.activeElement);
  clearPicked();
  const back = document.activeElement.dataset.asset;
  const changed = await retag(ids, tag, isAdded);
  if (picked.size || removing) return; // the bar is in use again
  const text = isAdded ? tn(changed.length, "{n} file tagged", "{n} files tagged") : tn(changed.length, "Tag removed from {n} file", "Tag removed from {n} files");
  show(text, button("small", t("Undo"), () => retag(changed, tag, !isAdded).then(draw)));
  if (held && document.activeElement.dataset.asset === back) bar.querySelector("button").focus(); // else one is elsewhere
  const shown = bar.firstChild;
  setTimeout(() => bar.firstChild === shown && draw(), UNDO_MS);
}

/** The assets whose tags this changed; the first that could not be changed says why. */
async function retag(ids, tag, isAdded) {
  const changed = [];
  const shown = new Map(hitsOf(ids).map((hit) => [hit.asset_id, hit]));
  try {
    for (const id of ids) {
      const { tags = [] } = shown.get(id) ?? (await getAsset(id));
      if (tags.includes(tag) === isAdded) continue;
      setTags(id, (await changeTags(id, isAdded ? [tag] : [], isAdded ? [] : [tag])).tags);
      changed.push(id);
    }
  } catch (error) {
    showError(byId("notice"), error);
  }
  return changed;
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
  close();
}

/** Remove what waits for it; the first that could not be removed says why, and all such come back. */
async function finish({ keepalive = false } = {}) {
  if (!removing) return;
  const { ids, timer } = removing;
  clearTimeout(timer);
  removing = null;
  if (!picked.size) close();
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
