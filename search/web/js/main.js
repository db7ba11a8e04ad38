// Wires the parts of the page together.

import { onKeyNeeded, openSession } from "./api.js";
import { byId, el, painted, say } from "./dom.js";
import { startDrop } from "./drop.js";
import { closeFilters, showFilters, startFilters, toggleFilters } from "./filters.js";
import { focusedCard, focusFirst, moveFocus, picked, startHits } from "./hits.js";
import { t, translatePage } from "./i18n.js";
import { loadKinds } from "./kinds.js";
import { keep } from "./media_store.js";
import { showError } from "./notice.js";
import { LESS, splitNegatives } from "./query.js";
import { goOn, renew, showMore, showNewer, showSearch, showWeaker, speechEnded, toggleWaterfall } from "./search.js";
import { showSaved, toggleSaved } from "./saved.js";
import { startShortcuts } from "./shortcuts.js";
import { current, onState, update } from "./state.js";

const words = byId("words");
const VIEWS = ["search", "add", "latency"];

function show(state, before) {
  document.body.dataset.view = state.view;
  for (const view of VIEWS) byId(`view-${view}`).hidden = view !== state.view;
  for (const link of document.querySelectorAll(".views a")) {
    if (link.dataset.nav === state.view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = [state.words, "anymodal"].filter(Boolean).join(" · ");
  // What is being typed stays, also before the page was ready, unless another search is shown.
  if (state.words !== (before?.words ?? "")) words.value = state.words;
  showFilters(state);
  showSaved();
  if (state.view === "search") showSearch(state).then(() => showDetail(state));
  if (state.view !== before?.view) {
    if ([state.view, before?.view].includes("latency")) showLatency();
    if (state.view === "add") loadUploads().then(({ showJobs }) => showJobs());
    if (before) say(document.querySelector(".views [aria-current]").textContent);
  }
}

let detail = null;

/** Load what shows a file in full on first use. */
async function showDetail(state) {
  if (!state.open && !detail) return;
  detail ??= import("./detail.js").then((module) => {
    module.startDetail();
    return module;
  });
  const module = await detail;
  painted(() => module.showDetail(current())); // it makes the rest of the page inert, which takes a while
}

/** Load a style sheet once; what it styles can be seen without it. */
function styles(href) {
  if (document.querySelector(`link[href="${href}"]`)) return null;
  return new Promise((done) => {
    document.head.append(el("link", { rel: "stylesheet", href, on: { load: done, error: done } }));
  });
}

/** Load its charts on first use. */
async function showLatency() {
  const [charts] = await Promise.all([import("./latency.js"), styles("css/latency.css")]);
  charts.showLatency(current().view === "latency");
}

let uploads = null;

/** Load what adds files on first use. */
function loadUploads() {
  uploads ??= import("./uploads.js").then((module) => {
    module.startUploads((job) => job.ingested && renew());
    return module;
  });
  return uploads;
}

const addFiles = async (files) => (await loadUploads()).addFiles(files);

function startAdding() {
  for (const [opener, input] of [["choose-files", "add-files"], ["choose-folder", "add-folder"]]) {
    byId(opener).addEventListener("click", () => byId(input).click());
    byId(input).addEventListener("change", () => {
      addFiles([...byId(input).files]);
      byId(input).value = "";
    });
  }
}

async function searchWith(files) {
  const { addTerm } = await import("./chips.js");
  for (const file of files) addTerm({ kind: "file", value: await keep(file) });
}

function problem(message, remedy = "") {
  showError(byId("notice"), { message, remedy });
}

function submit() {
  const { words: text, without } = splitNegatives(words.value);
  words.value = text;
  const terms = [...current().terms, ...without.map((value) => ({ kind: "text", value, weight: LESS }))];
  update({ view: "search", words: text, terms, open: null });
}

function goTo(view) {
  update({ view, open: null });
}

function startComposer() {
  byId("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  words.addEventListener("search", () => {
    if (!words.value && current().words) submit();
  });
  byId("pick").addEventListener("click", () => byId("query-file").click());
  byId("query-file").addEventListener("change", async () => {
    await searchWith([...byId("query-file").files]);
    byId("query-file").value = "";
  });
  byId("record").addEventListener("click", record);
  byId("recording-stop").addEventListener("click", record);
  byId("recording-cancel").addEventListener("click", cancelRecording);
  for (const example of document.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
      words.value = example.textContent;
      submit();
    });
  }
}

let recorder = null;

/** Load what records on first use. */
async function record() {
  recorder ??= await import("./recorder.js");
  recorder.toggleRecording((file, endedMs) => {
    speechEnded(endedMs);
    searchWith([file]);
  }, problem);
}

const cancelRecording = () => recorder?.cancelRecording() ?? false;

let selection = null;

/** Load what does something with many files on first use. */
async function pick(card, range = false) {
  selection ??= await import("./selection.js");
  selection.pick(card, range);
}

function startPicking() {
  byId("hits").addEventListener("click", (event) => {
    if (event.target.closest(".pick")) pick(event.target.closest(".hit"), event.shiftKey);
  });
}

function startLinks() {
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    const link = event.target.closest?.("[data-nav], .hit a.open");
    if (!link) return;
    event.preventDefault();
    if (picked.size && !link.dataset.nav) return void pick(link.closest(".hit"));
    if (link.dataset.nav) {
      const home = link.classList.contains("wordmark");
      update({ view: link.dataset.nav, open: null, ...(home && { words: "", terms: [], from: "", order: "" }) });
      if (home) words.value = "";
    } else {
      openCard(link.closest(".hit"));
    }
  });
}

function openCard(card) {
  const link = new URL(card.querySelector("a.open").href);
  const at = link.searchParams.get("at");
  update({ open: card.dataset.asset, at: at === null ? null : Number(at) });
}

function onCard(act) {
  return () => {
    const card = focusedCard();
    return card ? act(card) : false;
  };
}

const KEYS = {
  "/": () => {
    goTo("search");
    words.focus();
    words.select();
  },
  Enter: (event) => (event.target.classList?.contains("hit") ? openCard(event.target) : false),
  Escape: (event) => {
    if (document.querySelector("dialog[open], :popover-open")) return false;
    if (cancelRecording() || closeFilters() || selection?.clearPicked()) return true;
    if (event.target === words && focusFirst()) return true;
    document.activeElement?.blur();
    return true;
  },
  p: onCard((card) => card.querySelector(".play, .moment")?.click()),
  m: onCard((card) => card.querySelector(".like").click()),
  x: onCard((card) => void pick(card)),
  "#": () => selection?.tagPicked() ?? false,
  r: () => void record(),
  f: () => toggleFilters(),
  w: () => toggleWaterfall(),
  b: () => toggleSaved(),
  s: () => goTo("search"),
  a: () => goTo("add"),
  l: () => goTo("latency"),
  t: () => switchTheme(),
};
for (const key of ["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight", "Home", "End"]) {
  KEYS[key] = (event) => (event.target.matches?.("button, input") ? false : focusedCard() ? moveFocus(key) : key === "ArrowDown" && focusFirst());
}

function switchTheme() {
  const chosen = document.documentElement.dataset.theme;
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = dark ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  say(t(theme));
}

translatePage();
// The parts that are loaded on first use.
addEventListener("unhandledrejection", ({ reason }) => {
  if (!/module/i.test(reason?.message)) return;
  showError(byId("page-notice"), { message: t("A part of this page could not be loaded."), remedy: t("Reload the page.") });
});
onKeyNeeded(async (...asked) => (await import("./keys.js")).askForKey(...asked));
startComposer();
startLinks();
startPicking();
startFilters();
startAdding();
startDrop({ onSearch: searchWith, onAdd: addFiles, adds: () => current().view === "add" });
startShortcuts(KEYS);
byId("more").addEventListener("click", () => showMore());
startHits(goOn, showNewer);
byId("order").addEventListener("change", ({ target }) => update({ order: target.value }));
byId("weaker").addEventListener("click", showWeaker);
byId("timing").addEventListener("click", toggleWaterfall);
byId("theme-button").addEventListener("click", switchTheme);
words.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" && focusFirst()) event.preventDefault();
});
loadKinds().catch(() => {}); // a search says what is wrong, and asks again
await openSession(); // pictures need it; what is done meanwhile is shown after it
onState(show);
show(current());
