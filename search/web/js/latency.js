// The Latency view: percentiles per stage and per kind of query, over sliding windows.

import { getLatency } from "./api.js";
import { longest, spans, trend } from "./charts.js";
import { button, byId, el } from "./dom.js";
import { millis } from "./format.js";
import { number, t } from "./i18n.js";
import { showEmpty, showError } from "./notice.js";
import { byOrder } from "./waterfall.js";

const EVERY_MS = 2000;
const KEPT = 120;
const body = byId("latency-body");
const slo = byId("slo");
const history = [];
let chosen = "5m";
let timer = 0;
let asked = 0; // how often
let answered = 0; // which of them was answered last
let latest = null;

/** Refresh the view while it is shown. */
export function showLatency(visible) {
  clearInterval(timer);
  if (!visible) return;
  refresh();
  timer = setInterval(() => document.hidden || refresh(), EVERY_MS);
}

async function refresh() {
  const turn = (asked += 1);
  try {
    const latency = await getLatency();
    if (turn < answered) return; // a later question was answered before
    [answered, latest] = [turn, latency];
    remember(latency);
    draw(latency);
  } catch (error) {
    if (turn < answered) return;
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
    showEmpty(empty, t("No searches in this window."), el("p", {}, t("Search for something to see where the time goes.")));
    return;
  }
  const { total, ...parts } = stages;
  const kinds = byKind(latency);
  const aim = latency.slo?.p95_ms;
  // One axis for both, so that they compare.
  const most = longest(parts, kinds);
  const rows = Object.fromEntries(Object.entries(parts).sort(([a], [b]) => byOrder(a, b)));
  const hint = t("p50 to p95 as a bar, p99 as a line, the longest as a dot");
  body.replaceChildren(
    totals(total),
    el(
      "div",
      { class: "charts" },
      spans({ title: t("Stages"), first: t("Stage"), hint, rows, most }),
      spans({ title: t("By kind of query"), first: t("Kind"), hint: aim ? t("the whole request; the dashed line is the target, {time}", { time: millis(aim) }) : t("the whole request"), rows: kinds, most, aim }),
      trend(history, aim),
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
        draw(latest);
        refresh();
      }, { "aria-pressed": String(name === chosen), "data-window": name }),
    ),
  );
}

const WINDOWS = { "1m": t("1 minute"), "5m": t("5 minutes"), "60m": t("1 hour") };

function drawSlo({ slo: aim }) {
  const wanted = aim?.p95_ms;
  slo.hidden = wanted == null;
  if (wanted == null) return;
  const text = aim.ok ? t("On target: 95 % of requests within {time}", { time: millis(wanted) }) : t("Target missed: 95 % of requests should take at most {time}", { time: millis(wanted) });
  // Said again only when it changes: this is a live region.
  if (slo.textContent !== text) slo.textContent = text;
  slo.classList.toggle("broken", !aim.ok);
}

function totals(total) {
  const cell = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  return el(
    "dl",
    { class: "totals" },
    cell(t("Median"), millis(total.p50_ms)),
    cell("p95", millis(total.p95_ms)),
    cell("p99", millis(total.p99_ms)),
    cell(t("Longest"), millis(total.max_ms)),
    cell(t("Requests"), number(total.n)),
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
