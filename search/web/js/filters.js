// The filter form: what is in the state is in its fields, and the other way round.

import { byId, debounced, el } from "./dom.js";
import { countFilters, toFilter } from "./filter_tree.js";
import { fixed } from "./format.js";
import { locale, t } from "./i18n.js";
import { modalities, onKinds } from "./kinds.js";
import { current, NO_FILTERS, update } from "./state.js";

/** Fields that have chips. */
const NARROWING = ["tags", "folder", "country", "city"];
const panel = byId("filters");
const opener = byId("filters-button");
const problem = byId("filters-problem");
const fields = () => [...panel.querySelectorAll("[name]")];
const kindBoxes = () => [...byId("kinds").querySelectorAll("input")];

/** Listen to the form. */
export function startFilters() {
  opener.addEventListener("click", () => toggleFilters());
  panel.addEventListener("input", debounced(take, 350));
  panel.addEventListener("change", take); // who leaves a field may do something else at once
  byId("filters-clear").addEventListener("click", () => {
    update({ form: { ...NO_FILTERS }, kinds: [] });
    opener.focus();
  });
  byId("kinds").addEventListener("change", () =>
    update({ kinds: kindBoxes().filter((one) => one.checked).map((one) => one.value) }),
  );
  onKinds(drawKinds);
}

/** A box for each modality, and what to match by. */
function drawKinds() {
  const boxes = modalities().map(({ modality, plural }) =>
    el("label", { class: "pill" }, el("input", { type: "checkbox", name: "kind", value: modality }), el("span", {}, t(plural))),
  );
  byId("kinds").replaceChildren(byId("kinds").firstElementChild, ...boxes);
  const { match } = panel.closest("form").elements;
  // Films are found by their pictures and sounds.
  const matched = modalities().filter(({ modality }) => modality !== "video");
  match.replaceChildren(match.firstElementChild, ...matched.map(({ modality, plural }) => el("option", { value: modality }, t("{kind} only", { kind: t(plural).toLocaleLowerCase(locale) }))));
  showFilters(current());
}

/** Show or hide the panel. */
export function toggleFilters(open = panel.hidden) {
  panel.hidden = !open;
  opener.setAttribute("aria-expanded", String(open));
  if (open) fields()[0].focus();
  showNarrowing();
}

let facets = null;

/** Load counts and chips on first use. */
async function showNarrowing() {
  const { form } = current();
  if (!facets && panel.hidden && !NARROWING.some((name) => form[name])) return;
  facets ??= import("./facets.js");
  (await facets).showFacets(current(), !panel.hidden);
}

/** Hide the panel; false if it is hidden already. */
export function closeFilters() {
  if (panel.hidden) return false;
  toggleFilters(false);
  opener.focus();
  return true;
}

/** Draw the form of a state. */
export function showFilters({ form, kinds }) {
  for (const field of fields()) {
    const value = String(form[field.name]);
    if (field.value !== value && field !== document.activeElement) field.value = value;
  }
  for (const box of kindBoxes()) box.checked = kinds.includes(box.value);
  byId("threshold-out").textContent = form.threshold ? fixed(form.threshold, 1) : t("off");
  byId("diversity-out").textContent = form.diversity ? `${Math.round(form.diversity * 100)} %` : t("off");
  const count = countFilters(form);
  byId("filters-count").textContent = count;
  byId("filters-count").hidden = !count;
  showNarrowing();
}

function take() {
  const form = { ...current().form };
  for (const field of fields()) {
    form[field.name] = field.type === "range" ? Number(field.value) : field.value;
  }
  const reason = fault(form);
  problem.textContent = reason;
  problem.hidden = !reason;
  panel.elements?.filter?.setAttribute("aria-invalid", String(Boolean(reason)));
  if (!reason) update({ form }, { push: false });
}

function fault(form) {
  try {
    toFilter({ kinds: [], form });
    return "";
  } catch (error) {
    return t("The filter is not valid JSON yet: {reason}", { reason: error.message });
  }
}
