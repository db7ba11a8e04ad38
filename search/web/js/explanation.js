// Explain a score as a small table. Shows whatever the API returns.

import { el } from "./dom.js";
import { fixed } from "./format.js";
import { t } from "./i18n.js";

const NAMES = {
  terms: t("Terms"),
  term: t("Term"),
  modality: t("Kind"),
  weight: t("Weight"),
  cosine: t("Cosine"),
  score: t("Score"),
  dense_score: t("By meaning"),
  dense: t("Meaning"),
  words: t("Words"),
  named: t("Names"),
  evidence: t("Dates and places"),
  prior: t("Kind of file"),
  dense_rank: t("Rank by meaning"),
  lexical_score: t("By words (BM25)"),
  lexical_rank: t("Rank by words"),
  words_held: t("Share of the words"),
  value: t("Above chance"),
  rank: t("Overall rank"),
};

/**
 * A table or list of an explanation; a sentence where there is none.
 *
 * @param terms what the terms are called, in the order of the request
 */
export function explanation(value, terms = []) {
  if (value == null) return el("p", { class: "hint" }, t("This result is no longer among those found."));
  const rows = value.terms?.map((row) => ({ ...row, term: terms[row.term] ?? row.term }));
  return node(rows ? { ...value, terms: rows } : value);
}

function node(value) {
  if (Array.isArray(value)) {
    return value.every(isRecord) && value.length ? table(value) : el("span", {}, value.map(plain).join(", "));
  }
  if (isRecord(value)) return el("dl", { class: "known" }, Object.entries(value).filter(([, one]) => one != null).map(fact));
  return el("span", {}, plain(value));
}

function fact([name, value]) {
  const isTable = Array.isArray(value) && value.every(isRecord);
  return el("div", { class: isTable ? "whole" : null }, el("dt", {}, label(name)), el("dd", {}, isRecord(value) || Array.isArray(value) ? node(value) : plain(value)));
}

function table(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))].filter((name) => rows.some((row) => row[name] != null));
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, names.map((name) => el("th", { scope: "col" }, label(name))))),
      el("tbody", {}, rows.map((row) => el("tr", {}, names.map((name) => el("td", {}, plain(row[name])))))),
    ),
  );
}

const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const label = (name) => NAMES[name] ?? name.replaceAll("_", " ");

function plain(value) {
  if (value == null) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : fixed(value, 2);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
