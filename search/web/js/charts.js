// The charts of the Latency view.

import { el, styled, svg } from "./dom.js";
import { millis } from "./format.js";
import { t } from "./i18n.js";
import { decades, placeOn, roundUp } from "./scale.js";
import { familyOf, stageName } from "./waterfall.js";

const SHORTEST = 15;
const PERCENTILES = ["p50", "p95", "p99"];

/** The longest time among rows of percentiles: the end of an axis. */
export const longest = (...tables) => Math.max(...tables.flatMap(Object.values).map((row) => row.max_ms ?? 0), 1);

/**
 * A table of percentiles with a lane for each row: p50 to p95 as a bar, p99 as a line, the largest
 * as a dot.
 *
 * @param most where the axis ends, in ms
 * @param aim a time to be marked in each lane, in ms; optional
 */
export function spans({ title, first, hint, rows, most, aim }) {
  const entries = Object.entries(rows).filter(([, row]) => row.n);
  if (!entries.length) return null;
  const place = placeOn(most);
  return el(
    "figure",
    { class: "chart" },
    el("figcaption", {}, el("h2", {}, title), el("span", { class: "hint" }, hint)),
    el(
      "table",
      {},
      el(
        "thead",
        {},
        el("tr", {}, el("th", { scope: "col" }, first), el("td", { class: "lane" }, axis(most, place)), PERCENTILES.map((name) => el("th", { scope: "col", class: "number" }, name))),
      ),
      el("tbody", {}, entries.map(([name, row]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, stageName(name)),
          el("td", { class: "lane" }, lane(familyOf(name), row, { most, place, aim })),
          PERCENTILES.map((one) => el("td", { class: "number" }, millis(row[`${one}_ms`]))),
        ),
      )),
    ),
  );
}

/** The names of the powers of ten, above their lines. */
function axis(most, place) {
  const names = decades(most).map((ms) => styled(el("span", {}, short(ms)), { "--at": `${place(ms)}%` }));
  return el("div", { class: "ticks", "aria-hidden": "true" }, names);
}

const short = (ms) => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);

function lane(family, row, { most, place, aim }) {
  const [from, to] = [place(row.p50_ms), place(row.p95_ms)];
  const line = (ms, name) => svg("line", { x1: `${place(ms)}%`, x2: `${place(ms)}%`, y1: 0, y2: "100%", class: name });
  return svg(
    "svg",
    { width: "100%", height: 26, "aria-hidden": "true" },
    decades(most).map((ms) => line(ms, "axis")),
    aim && aim < most ? line(aim, "aim") : null,
    svg("line", { x1: `${from}%`, x2: `${place(row.p99_ms)}%`, y1: 13, y2: 13, class: "whisker" }),
    svg("rect", { x: `${from}%`, y: 7, width: `${Math.max(to - from, 0.8)}%`, height: 12, rx: 3, "data-stage": family }),
    svg("circle", { cx: `${place(row.max_ms)}%`, cy: 13, r: 3, class: "longest" }),
  );
}

/**
 * A line of p95 over time, and the aim.
 *
 * @param history p95 in ms, or null where nothing was searched; the newest last
 */
export function trend(history, aim) {
  const known = history.filter((ms) => ms != null);
  if (known.length < 2) return null;
  const top = roundUp(Math.max(...known, aim ?? 0) * 1.05);
  const x = (n) => (n / (Math.max(history.length, SHORTEST) - 1)) * 100;
  const y = (ms) => 100 - (ms / top) * 100;
  const points = history.flatMap((ms, n) => (ms == null ? [] : [`${x(n)},${y(ms)}`]));
  const level = (ms, name) => svg("line", { x1: 0, x2: 100, y1: y(ms), y2: y(ms), class: name });
  const label = (ms, text, name) => styled(el("span", { class: name }, text), { "--at": `${y(ms)}%` });
  const now = millis(known.at(-1));
  const half = Math.abs(aim / top - 0.5) < 0.1 ? null : top / 2;
  return el(
    "figure",
    { class: "chart trend" },
    el("figcaption", {}, el("h2", {}, t("p95 of the last minute")), el("span", { class: "hint" }, t("now {now}; drawn while this page is open", { now }))),
    el(
      "div",
      { class: "plot" },
      svg(
        "svg",
        { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": t("p95 of the last minute, now {now}", { now }) },
        [top, half, 0].filter((ms) => ms != null).map((ms) => level(ms, "axis")),
        aim ? level(aim, "aim") : null,
        svg("polyline", { points: `${points[0].split(",")[0]},100 ${points.join(" ")} ${points.at(-1).split(",")[0]},100`, class: "under" }),
        svg("polyline", { points: points.join(" ") }),
      ),
      label(top, short(top), "level"),
      half == null ? null : label(half, short(half), "level"),
      aim && Math.abs(aim / top - 1) > 0.08 ? label(aim, t("target {time}", { time: short(aim) }), "level wanted") : null,
    ),
  );
}
