// Where the time of one query went: a bar per stage, one after the other.

import { el, svg } from "./dom.js";
import { millis } from "./format.js";
import { t } from "./i18n.js";

const ORDER = ["queue", "decode", "plan", "encode", "search", "lexical", "filter", "fuse", "fetch", "explain", "serialize"];

const place = (name) => (ORDER.indexOf(familyOf(name)) + 1 || ORDER.length + 1) * 100;

/** Compares the names of two stages by when they run. */
export const byOrder = (a, b) => place(a) - place(b);

/** What stages of one colour have in common: encode_text and encode_image are "encode". */
export const familyOf = (name) => name.split("_")[0];

/** Stages in the order in which they run, with where each begins, in ms; "network" is the rest. */
export function stagesOf(latency, roundTripMs) {
  const { total, ...stages } = latency;
  const rows = Object.entries(stages).sort(([a], [b]) => byOrder(a, b));
  let at = 0;
  const placed = rows.map(([name, ms]) => ({ name, ms, from: (at += ms) - ms }));
  const server = Math.max(total ?? at, at);
  if (server - at > 0.05) placed.push({ name: "other", ms: server - at, from: at });
  if (roundTripMs > server) placed.push({ name: "network", ms: roundTripMs - server, from: server });
  return placed;
}

/** What a stage is called. */
export function stageName(name) {
  const [family, ...rest] = name.split("_");
  return [family, ...rest].map((word) => t(word)).join(" ");
}

/** The chart as a list: name, bar, milliseconds. */
export function waterfall(latency, roundTripMs) {
  const stages = stagesOf(latency, roundTripMs);
  const end = Math.max(...stages.map(({ from, ms }) => from + ms), 0.001);
  const rows = stages.map(({ name, ms, from }) =>
    el(
      "li",
      {},
      el("span", { class: "name" }, stageName(name)),
      svg(
        "svg",
        { width: "100%", height: 14, "aria-hidden": "true" },
        svg("rect", { x: `${(from / end) * 100}%`, y: 1, width: `${Math.max((ms / end) * 100, 0.25)}%`, height: 12, rx: 2, "data-stage": familyOf(name) }),
      ),
      el("span", { class: "value" }, millis(ms)),
    ),
  );
  return el("ol", { "aria-label": t("Time of each stage of this query") }, rows);
}
