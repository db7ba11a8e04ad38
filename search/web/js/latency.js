// The Latency view: percentiles per stage and per kind of query, over sliding windows.

import { getLatency } from "./api.js";
import { button, byId, el, svg } from "./dom.js";
import { millis } from "./format.js";
import { showEmpty, showError } from "./notice.js";
import { stageName } from "./waterfall.js";

const EVERY_MS = 2000;
const KEPT = 120;
const SHORTEST = 15;
const body = byId("latency-body");
const slo = byId("slo");
const history = [];
let chosen = "5m";
let timer = 0;

/** Refresh the view while it is shown. */
export function showLatency(visible) {
  clearInterval(timer);
  if (!visible) return;
  refresh();
  timer = setInterval(() => document.hidden || refresh(), EVERY_MS);
}

async function refresh() {
  try {
    const latency = await getLatency();
    remember(latency);
    draw(latency);
  } catch (error) {
    clearInterval(timer);
    const problem = el("div");
    body.replaceChildren(problem);
    showError(problem, error, () => showLatency(true));
  }
}

function remember({ windows }) {
  const total = windows["1m"]?.total;
  history.push(total?.n ? total.p95_ms : null);
  if (history.length > KEPT) history.shift();
}

function draw(latency) {
  const names = Object.keys(latency.windows);
  if (!names.includes(chosen)) chosen = names.at(-1);
  drawWindows(names, latency);
  drawSlo(latency);
  const stages = latency.windows[chosen] ?? {};
  if (!stages.total?.n) {
    const empty = el("div");
    body.replaceChildren(empty);
    showEmpty(empty, "No searches in this window.", el("p", {}, "Search for something, and see here where the time goes."));
    return;
  }
  const { total, ...parts } = stages;
  body.replaceChildren(
    totals(total),
    el("div", { class: "charts" },
      chart("Stages", "Stage", "p50 to p95 as a bar, p99 as a line, the largest as a dot", parts),
      chart("By kind of query", "Kind", "the whole request", byKind(latency)),
      trend(latency.slo?.p95_ms),
    ),
  );
}

function drawWindows(names, latency) {
  const target = byId("windows");
  if (target.childElementCount === names.length) {
    for (const one of target.children) one.setAttribute("aria-pressed", String(one.dataset.window === chosen));
    return;
  }
  target.replaceChildren(
    ...names.map((name) =>
      button("choice", WINDOWS[name] ?? name, () => {
        chosen = name;
        draw(latency);
        refresh();
      }, { "aria-pressed": String(name === chosen), "data-window": name }),
    ),
  );
}

const WINDOWS = { "1m": "1 minute", "5m": "5 minutes", "60m": "1 hour" };

function drawSlo({ slo: aim }) {
  const wanted = aim?.p95_ms;
  slo.hidden = wanted == null;
  if (wanted == null) return;
  const text = aim.ok ? `Within the aim: 95 % of requests in ${millis(wanted)}` : `The aim is missed: 95 % of requests should take ${millis(wanted)} at most`;
  // Said again only when it changes: this is a live region.
  if (slo.textContent !== text) slo.textContent = text;
  slo.classList.toggle("broken", !aim.ok);
}

function totals(total) {
  const cell = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  return el(
    "dl",
    { class: "totals" },
    cell("Median", millis(total.p50_ms)),
    cell("p95", millis(total.p95_ms)),
    cell("p99", millis(total.p99_ms)),
    cell("Longest", millis(total.max_ms)),
    cell("Requests", total.n.toLocaleString()),
  );
}

/** Totals of each kind of query in the chosen window, whichever way the API nests them. */
function byKind({ by_modality: kinds = {} }) {
  const rows = {};
  for (const [kind, value] of Object.entries(kinds)) {
    const found = value[chosen]?.total ?? value[chosen] ?? value.total ?? value;
    if (found?.n) rows[kind] = found;
  }
  return rows;
}

function chart(title, first, hint, rows) {
  const entries = Object.entries(rows).filter(([, row]) => row.n);
  if (!entries.length) return null;
  const most = Math.max(...entries.map(([, row]) => row.max_ms), 0.001);
  const place = (ms) => `${(scale(ms) / scale(most)) * 98}%`;
  return el(
    "figure",
    { class: "chart" },
    el("figcaption", {}, el("h2", {}, title), el("span", { class: "hint" }, hint)),
    el(
      "table",
      {},
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, first), el("td", { class: "lane" }), ["p50", "p95", "p99"].map((name) => el("th", { scope: "col", class: "number" }, name)))),
      el("tbody", {}, entries.map(([name, row]) =>
        el(
          "tr",
          {},
          el("th", { scope: "row" }, stageName(name)),
          el("td", { class: "lane" }, lane(name, row, place)),
          [row.p50_ms, row.p95_ms, row.p99_ms].map((ms) => el("td", { class: "number" }, millis(ms))),
        ),
      )),
    ),
  );
}

/** A logarithm that begins at 0: stages of 0.1 ms and of 100 ms are both to be seen. */
const scale = (ms) => Math.log1p(ms * 10);

function lane(name, row, place) {
  const [from, to] = [place(row.p50_ms), place(row.p95_ms)];
  const width = `${Math.max(parseFloat(to) - parseFloat(from), 0.8)}%`;
  return svg(
    "svg",
    { width: "100%", height: 18, "aria-hidden": "true" },
    svg("line", { x1: 0, x2: "100%", y1: 9, y2: 9, class: "axis" }),
    svg("line", { x1: from, x2: place(row.p99_ms), y1: 9, y2: 9, class: "whisker" }),
    svg("rect", { x: from, y: 3, width, height: 12, rx: 3, "data-stage": name.split("_")[0] }),
    svg("circle", { cx: place(row.max_ms), cy: 9, r: 2.5, class: "longest" }),
  );
}

/** p95 of the last minute, as long as this page has watched it. */
function trend(aim) {
  const known = history.filter((ms) => ms != null);
  if (known.length < 2) return null;
  const top = Math.max(...known, aim ?? 0) * 1.15;
  const x = (n) => (n / (Math.max(history.length, SHORTEST) - 1)) * 100;
  const y = (ms) => 100 - (ms / top) * 100;
  const line = history.flatMap((ms, n) => (ms == null ? [] : [`${x(n)},${y(ms)}`])).join(" ");
  return el(
    "figure",
    { class: "chart trend" },
    el("figcaption", {}, el("h2", {}, "p95 of the last minute"), el("span", { class: "hint" }, "while this page is open")),
    svg(
      "svg",
      { viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": `p95 of the last minute, now ${millis(known.at(-1))}` },
      aim ? svg("line", { x1: 0, x2: 100, y1: y(aim), y2: y(aim), class: "aim" }) : null,
      svg("polyline", { points: line }),
    ),
    el("p", { class: "hint" }, `now ${millis(known.at(-1))}${aim ? ` · aim ${millis(aim)}` : ""}`),
  );
}
