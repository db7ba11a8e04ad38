// How a score came about, as a small table. Whatever the API tells is shown.

import { el } from "./dom.js";

/** A table or list of an explanation; a sentence where there is none. */
export function explanation(value) {
  if (value == null) return el("p", { class: "hint" }, "This result is no longer among those found.");
  return node(value);
}

function node(value) {
  if (Array.isArray(value)) {
    return value.every(isRecord) && value.length ? table(value) : el("span", {}, value.map(plain).join(", "));
  }
  if (isRecord(value)) {
    return el("dl", { class: "known" }, Object.entries(value).filter(([, one]) => one != null).map(([name, one]) => el("div", {}, el("dt", {}, label(name)), el("dd", {}, isRecord(one) || Array.isArray(one) ? node(one) : plain(one)))));
  }
  return el("span", {}, plain(value));
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
const label = (name) => name.replaceAll("_", " ");

function plain(value) {
  if (value == null) return "–";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : value.toFixed(3);
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
