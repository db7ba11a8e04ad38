// What there is to narrow by, with counts, and chips of what narrows already.

import { getFacets } from "./api.js";
import { button, byId, el, icon } from "./dom.js";
import { list, toFilter } from "./filter_tree.js";
import { number, t, tn } from "./i18n.js";
import { loadKinds, pluralOf } from "./kinds.js";
import { current, update } from "./state.js";

const FEW = 10;
const box = byId("facets");
const chips = byId("narrowed");
const unfolded = new Set(); // groups whose values are all shown
let latest = 0;

const setForm = (changes) => update({ form: { ...current().form, ...changes } });
const without = (values, value) => values.filter((one) => one !== value);
const setTags = (tags) => setForm({ tags: tags.join(", ") });
/** One value of a field, or none. */
const single = (name) => ({
  chosen: ({ form }) => [form[name]].filter(Boolean),
  add: (value) => setForm({ [name]: value }),
  remove: () => setForm({ [name]: "" }),
});
const lastPart = (folder) => folder.split("/").at(-2) || folder;

/** By the name of a field: its heading, what a value is called, and how it is taken and left. */
const GROUPS = {
  modality: {
    title: t("Kinds of file"),
    name: pluralOf,
    chosen: ({ kinds }) => kinds,
    add: (kind) => update({ kinds: [...current().kinds, kind] }),
    remove: (kind) => update({ kinds: without(current().kinds, kind) }),
  },
  folders: { title: t("Folders"), name: lastPart, chip: (value) => t("Folder: {value}", { value }), ...single("folder") },
  tags: {
    title: t("Tags"),
    name: (tag) => tag,
    chip: (value) => t("Tag: {value}", { value }),
    chosen: ({ form }) => list(form.tags),
    add: (tag) => setTags([...list(current().form.tags), tag]),
    remove: (tag) => setTags(without(list(current().form.tags), tag)),
  },
  country: { title: t("Countries"), name: (value) => value, chip: (place) => t("Place: {place}", { place }), ...single("country") },
  city: { title: t("Towns"), name: (value) => value, chip: (place) => t("Place: {place}", { place }), ...single("city") },
};

/** Show the chips of a state; the counts too, where they are looked at. */
export async function showFacets(state, isOpen) {
  showChips(state);
  const turn = (latest += 1);
  if (!isOpen) return;
  try {
    const [found] = await Promise.all([getFacets(toFilter(state), state.form.folder), loadKinds()]);
    if (turn === latest) draw(current(), found);
  } catch {
    if (turn === latest) box.replaceChildren(); // a search says what is wrong
  }
}

function draw(state, { fields, folders, assets, complete }) {
  const held = box.contains(document.activeElement) ? document.activeElement.value : null;
  const groups = Object.keys(GROUPS).map((field) => group(state, field, fields[field] ?? folders));
  box.replaceChildren(
    ...groups.filter(Boolean),
    ...(complete ? [] : [el("p", { class: "hint" }, tn(assets, "Counted in the first {n} file.", "Counted in the first {n} files."))]),
  );
  if (held === null) return;
  const buttons = [...box.querySelectorAll("button")];
  (buttons.find(({ value }) => value === held) ?? buttons[0])?.focus();
}

function group(state, field, { values, others }) {
  const { title, name, chosen, add, remove } = GROUPS[field];
  if (!values.length) return null;
  const taken = chosen(state);
  const shown = unfolded.has(field) ? values : values.slice(0, FEW);
  const pills = shown.map(({ value, count }) => {
    const isTaken = taken.includes(value);
    return button("pill", [el("bdi", {}, name(value)), el("span", { class: "hint" }, number(count))], () => (isTaken ? remove : add)(value), {
      "aria-pressed": String(isTaken),
      value: `${field} ${value}`,
      title: value,
    });
  });
  const hidden = values.length - shown.length;
  const more = () => {
    unfolded.add(field);
    showFacets(current(), true);
  };
  return el(
    "section",
    { role: "group", "aria-label": title },
    el("h2", {}, title),
    el("div", { class: "kinds" }, pills, hidden ? button("plain", tn(hidden, "{n} more", "{n} more"), more, { value: `${field} ` }) : null),
    !hidden && others ? el("p", { class: "hint" }, tn(others, "{n} rarer value is not listed", "{n} rarer values are not listed")) : null,
  );
}

function showChips(state) {
  const shown = Object.values(GROUPS)
    .filter(({ chip }) => chip)
    .flatMap(({ chip, chosen, remove }) => chosen(state).map((value) => narrowing(chip(value), () => remove(value))));
  chips.replaceChildren(...shown);
  chips.hidden = !shown.length;
}

function narrowing(name, onRemove) {
  const leave = () => {
    onRemove();
    showChips(current());
    (chips.querySelector("button") ?? byId("words")).focus();
  };
  return el(
    "li",
    {},
    el("span", { class: "chip" }, el("bdi", { class: "label" }, name)),
    button("remove", icon("close"), leave, { "aria-label": t("Remove the filter “{name}”", { name }) }),
  );
}
