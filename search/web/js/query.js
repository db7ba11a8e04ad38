// From the state of the page to the body of a search. No document here, only values.

import { toFilter } from "./filter_tree.js";
import { t } from "./i18n.js";
import { READINGS } from "./state.js";

export const PAGE = 24;
/** How much of the library is asked for at once. */
export const LISTED = 100;
/** What answers are sorted by, all of them. */
const SORTS = { newest: "-date", oldest: "date", name: "name", size: "-size_bytes" };
/** The weight of an excluded term: more ruins the list (docs/search.md). */
export const LESS = -0.5;

/** Where the library begins that a state shows: "", or after the end of a month. */
export function firstCursor({ from }) {
  const [year, month] = from.split("-").map(Number);
  return from && `${Date.UTC(year, month, 1) / 1000}_`;
}

/** Take -words and -"several words" out of a text: {words, without}. */
export function splitNegatives(text) {
  const without = [];
  const words = text.replace(/(^|\s)-(?:"([^"]+)"|([\p{L}\p{N}][^\s]*))/gu, (_, space, quoted, word) => {
    without.push(quoted ?? word);
    return space;
  });
  return { words: words.replace(/\s+/g, " ").trim(), without };
}

/** Words without a date or place that was understood in them. */
export const withoutPhrase = (words, phrase) => words.replace(phrase, " ").replace(/\s+([,;])/g, "$1").replace(/\s+/g, " ").replace(/^[\s,;]+|[\s,;]+$/g, "");

/** Whether there is anything to search with; what is pushed away does not suffice. */
export const asks = ({ words, terms }) => Boolean(words.trim()) || terms.some((term) => term.weight > 0);

/** Media that a state needs, as their ids. */
export const mediaOf = ({ terms }) =>
  terms.filter((term) => !["text", "asset"].includes(term.kind)).map((term) => term.value);

/**
 * The body of POST /v1/search; media are referred to by their id as part name.
 * Throws a SyntaxError where the free filter is no JSON.
 */
export function toRequest(state, cursor = "") {
  const { form } = state;
  const body = {
    query: [
      ...(state.words.trim() ? [{ text: state.words.trim() }] : []),
      ...state.terms.map(toTerm),
    ],
    limit: PAGE,
    moments: 12,
  };
  const filter = toFilter(state);
  if (filter) body.filter = filter;
  if (form.match) body.modalities = [form.match];
  if (form.threshold) body.score_threshold = form.threshold;
  if (form.diversity) body.diversity = form.diversity;
  if (form.lexical === "off") body.lexical = false;
  if (state.literal?.length) body.understand = READINGS.filter((kind) => !state.literal.includes(kind));
  if (state.only?.length) body.only = state.only;
  if (SORTS[state.order]) body.sort = SORTS[state.order];
  if (cursor) body.cursor = cursor;
  return body;
}

const KINDS = { file: t("the file"), asset: t("what is stored") };

/** What the terms of a request are called, in its order. */
export const termNames = ({ words, terms }) => [
  ...(words.trim() ? [`“${words.trim()}”`] : []),
  ...terms.map(({ kind, value }) => (kind === "text" ? `“${value}”` : KINDS[kind])),
];

function toTerm({ kind, value, weight }) {
  const content = { [{ asset: "asset_id" }[kind] ?? kind]: value };
  return weight === 1 ? content : { ...content, weight };
}
