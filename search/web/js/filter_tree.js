// From the filter form to the filter language of the API.

import { NO_FILTERS } from "./state.js";

/** The filter of a state, or null where nothing is filtered. Throws a SyntaxError for bad JSON. */
export function toFilter({ kinds, form }) {
  const parts = [
    kinds.length && { field: "modality", in: kinds },
    ...list(form.tags).map((tag) => ({ field: "tags", contains: tag })),
    form.path && { field: "path", contains: form.path },
    form.folder && { field: "path", prefix: form.folder },
    form.city && { field: "city", eq: form.city },
    form.country && { field: "country", eq: form.country },
    form.language && { field: "language", eq: form.language },
    between("duration_s", form.min_s === "" ? null : Number(form.min_s), form.max_s === "" ? null : Number(form.max_s)),
    between("modified", midnight(form.since, 0), midnight(form.until, 1)),
    written(form.filter.trim()),
  ].filter(Boolean);
  if (parts.length < 2) return parts[0] ?? null;
  return { and: parts };
}

/** JSON, or a condition as people write it, which the server reads. */
const written = (text) => (text.startsWith("{") ? JSON.parse(text) : text);

/** Words between commas. */
export const list = (text) => text.split(",").map((word) => word.trim()).filter(Boolean);

/** From `least` on, up to `most`; a range of days ends before the midnight that follows. */
function between(field, least, most) {
  if (least == null && most == null) return null;
  const upper = field === "modified" ? "lt" : "lte";
  return { field, ...(least != null && { gte: least }), ...(most != null && { [upper]: most }) };
}

/** Epoch seconds of the reader's own midnight, `days` after the day "2026-01-31". */
function midnight(date, days) {
  if (!date) return null;
  const [year, month, day] = date.split("-").map(Number);
  return new Date(year, month - 1, day + days).getTime() / 1000;
}

/** How many fields of the form ask for something. */
export const countFilters = (form) =>
  Object.keys(NO_FILTERS).filter((name) => form[name] !== NO_FILTERS[name]).length;
