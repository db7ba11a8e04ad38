// One file in full: a large preview at the moment found, its moments, what is known about it.

import { address, deleteAsset, getAsset, showFolder } from "./api.js";
import { draw, markedText, thumbnailAt, waveform } from "./cards.js";
import { pageView, textView } from "./document.js";
import { button, byId, el, icon, styled } from "./dom.js";
import { framed } from "./framed.js";
import { bytes, clock, day, fixed, languageName, likelihood, percent, placeName } from "./format.js";
import { withoutMarks } from "./highlight.js";
import { cardOf } from "./hits.js";
import { t } from "./i18n.js";
import { isReadable, isShown, kindIcon, kindName, modalityOf, tileOf } from "./kinds.js";
import { beginning, picture, stopLoading } from "./media_elements.js";
import { kindOfMoment, lengthOf, openingOf, timedMoments, timeline, wordsFound } from "./moments.js";
import { showError } from "./notice.js";
import { pauseAll, playAt, player } from "./player.js";
import { termNames } from "./query.js";
import { explained, forgetAsset, markedWords, moreLike, shownHits, toHit } from "./search.js";
import { current, update } from "./state.js";

const dialog = byId("detail");
const HIDDEN_FACTS = ["title", "tags", "duration_s", "width", "height", "colour", "modified", "taken", "latitude", "longitude", "camera_model", "city", "region", "country", "places", "language", "n_pages", "author", "created", "caption", "rating", "speech_s"];
const BEGINNING_BYTES = 20_000;
const FRAMES = 8;
const LOOPBACK = ["localhost", "127.0.0.1", "[::1]"];
const UNSURE = 0.5;
let shownId = null;
let asking = new AbortController(); // about the file that is shown

/** Open, change or close the dialog as a state says. */
export async function showDetail({ open, at }) {
  if (open === shownId) return;
  shownId = open;
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  pauseAll();
  if (!open) {
    dialog.close();
    return;
  }
  const hit = shownHits().find((one) => one.asset_id === open);
  fill(hit ?? { asset_id: open, loading: true }, at);
  if (!dialog.open) dialog.showModal();
  try {
    const asset = await getAsset(open, signal);
    if (shownId === open) fill({ ...toHit(asset), ...hit, metadata: asset.metadata ?? hit?.metadata, size_bytes: asset.size_bytes }, at, Boolean(hit));
  } catch (error) {
    if (signal.aborted) return;
    const problem = el("div");
    if (shownId !== open) return;
    if (hit) return fill(hit, at, true);
    dialog.replaceChildren(closeButton(), problem, el("h2", { id: "detail-title", class: "unseen" }, t("Not found")));
    showError(problem, error);
  }
}

/** Listen to what closes and turns the pages of the dialog. */
export function startDetail() {
  dialog.addEventListener("close", () => {
    if (current().open) leave();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && !event.target.matches("video, audio, input")) turn(step);
  });
}

/** Back to the results. */
function leave() {
  const card = cardOf(current().open);
  update({ open: null, at: null });
  card?.focus();
}

function turn(step) {
  const hits = shownHits();
  const next = hits[hits.findIndex((hit) => hit.asset_id === shownId) + step];
  if (next) update({ open: next.asset_id, at: openingOf(next, markedWords()).start_s }, { push: false });
}

const closeButton = () => button("tool close", icon("close"), () => dialog.close(), { "aria-label": t("Close"), autofocus: true });

function fill(hit, at, again = false) {
  if (!again) stopLoading(dialog);
  if (hit.loading) return refill(closeButton(), el("h2", { id: "detail-title" }, "…"));
  if (again) {
    // The rest is there already: it may be playing, be open, or be asking whether one is sure.
    dialog.querySelector(".facts-pane > .known").replaceWith(knownFacts(hit));
    return;
  }
  const pane = preview(hit, at ?? openingOf(hit, markedWords()).start_s ?? 0);
  const layout = tileOf(hit) === "text" && isShown(hit) ? "detail pages" : "detail";
  refill(...[closeButton(), pager(-1), pager(1), el("div", { class: layout }, pane, aside(hit))].filter(Boolean));
}

/** Replace what the dialog shows; the focus stays in it, and on the button that turns pages. */
function refill(...content) {
  const held = dialog.querySelector(":focus")?.className;
  dialog.replaceChildren(...content);
  if (dialog.open) (content.find(({ className }) => className === held) ?? content[0]).focus();
}

function pager(step) {
  const hits = shownHits();
  const at = hits.findIndex((hit) => hit.asset_id === shownId);
  const name = step < 0 ? t("Previous result") : t("Next result");
  if (at < 0 || !hits[at + step]) return null;
  return button(`tool pager ${step < 0 ? "before" : "after"}`, icon(step < 0 ? "left" : "right"), () => turn(step), { "aria-label": name, title: name });
}

function preview(hit, startS) {
  const kind = tileOf(hit);
  const pane = el("div", { class: `preview ${kind}` });
  if (kind === "image" || kind === "drawn") pane.append(fullPicture(hit));
  else if (kind === "text") pane.append(...documentOf(hit));
  else pane.append(...playable(hit, kind, startS));
  return pane;
}

/** Its pages, if there are pictures of them, or else all of its text. */
function documentOf(hit) {
  const prose = fullText(hit);
  if (!isShown(hit)) return [textView(hit, prose, markedWords(), asking.signal), prose].filter(Boolean);
  const [bar, sheet] = pageView(hit, () => sheet.remove());
  return [bar, sheet, prose];
}

/** The thumbnail at once, and the file itself where the browser can show it. */
function fullPicture(hit) {
  const image = picture(thumbnailAt(hit, null, 1024), hit.title || hit.name, () => image.replaceWith(el("span", { class: "blank" }, kindIcon(hit))));
  const { width, height } = hit.metadata ?? {};
  if (width && height) {
    image.setAttribute("width", width);
    image.setAttribute("height", height);
  }
  if (/jpeg|png|webp|gif|avif|bmp/.test(hit.media_type)) image.src = address(hit.content_url);
  // The tile's picture until the larger one is there. One that is still loading would be asked for again.
  const tile = cardOf(hit.asset_id)?.querySelector(".screen img");
  if (tile?.complete && tile.naturalWidth) {
    styled(image, { background: `center / cover no-repeat url("${tile.currentSrc}")` });
    image.addEventListener("load", () => styled(image, { background: "none" }), { once: true });
  }
  return framed(image, [hit, ...(hit.moments ?? [])]);
}

/** What was found of a text, or its beginning, or its card, where nothing was searched for. */
function fullText(hit) {
  const words = markedWords();
  const parts = [hit, ...(hit.moments ?? [])].filter((part) => part.snippet).sort((a, b) => (a.char_start ?? 0) - (b.char_start ?? 0));
  const prose = el(
    "div",
    { class: "prose", tabindex: "0", role: "region", "aria-label": t("Text") },
    parts.map((part) =>
      el("p", { dir: "auto", class: part.segment_id === hit.segment_id ? "best" : null }, placeName(part.place) ? el("span", { class: "hint" }, placeName(part.place), el("br")) : null, markedText(withoutMarks(part.snippet), words)),
    ),
  );
  if (!parts.length && isReadable(hit.media_type)) {
    beginning(hit.content_url, { most: BEGINNING_BYTES, signal: asking.signal }).then((text) => prose.replaceChildren(...text.split(/\n\s*\n/).map((part) => el("p", {}, part))));
  } else if (!parts.length) {
    prose.replaceChildren(picture(thumbnailAt(hit), t("The beginning"), (image) => image.remove()));
  }
  return prose;
}

function playable(hit, kind, startS) {
  const element = player(kind, hit.content_url, startS, hit.title || hit.name);
  if (kind === "video") element.poster = address(thumbnailAt(hit, startS, 1024));
  const wave = kind === "audio" ? waveform() : null;
  if (wave) draw(wave, hit, asking.signal);
  const line = timedMoments(hit).length ? timeline(hit, { onPick: (moment) => playAt(element, moment.start_s) }) : null;
  return [wave, element, kind === "video" && hit.duration_s ? filmStrip(hit, element) : null, line].filter(Boolean);
}

/** Frames of a film, above the line of its moments. By keyboard, the player and the moments serve. */
function filmStrip(hit, element) {
  const frames = Array.from({ length: FRAMES }, (_, n) => ((n + 0.5) / FRAMES) * lengthOf(hit));
  const shown = (at) => picture(thumbnailAt(hit, at), "", (image) => image.remove());
  return el("div", { class: "film-strip", "aria-hidden": "true" }, frames.map((at) => button("", shown(at), () => playAt(element, at), { tabindex: -1 })));
}

function aside(hit) {
  const kind = tileOf(hit);
  return el(
    "div",
    { class: "facts-pane" },
    el("h2", { id: "detail-title", dir: "auto" }, hit.title || hit.name),
    el("p", { class: "facts" }, el("span", { class: "kind", data: { modality: modalityOf(hit) } }, kindName(hit)), hit.duration_s ? ` · ${clock(hit.duration_s)}` : ""),
    hit.score == null ? null : el("p", { class: "because" }, because(hit)),
    el(
      "div",
      { class: "row" },
      button("small", [icon("like"), t("More like this")], () => moreLike(hit)),
      el("a", { class: "small", href: address(hit.content_url), download: hit.name }, icon("download"), t("Download")),
      folderButton(hit),
      removeButton(hit),
    ),
    momentList(hit),
    kind === "image" ? writtenIn(hit) : null,
    hit.score == null ? null : why(hit),
    hit.size_bytes == null ? el("dl", { class: "known" }) : knownFacts(hit), // of a hit, when all is known
  );
}

/** Where the server is this machine: open the folder in which the file lies. */
function folderButton(hit) {
  if (!LOOPBACK.includes(location.hostname) || hit.uri === null) return null;
  const open = button("small", [icon("folder"), t("Open its folder")], async () => {
    open.nextElementSibling.matches(".notice") && open.nextElementSibling.remove();
    try {
      await showFolder(hit.asset_id);
    } catch (error) {
      const problem = el("div", { class: "notice" });
      open.after(problem);
      showError(problem, error);
    }
  });
  return open;
}

const BY = { text: t("found by what it says"), image: t("found by what is seen"), audio: t("found by what is heard") };

/** Why it was found, where in it, and how likely it answers. */
function because(hit) {
  const words = wordsFound(hit).map((word) => t("“{word}”", { word }));
  const { start_s: start } = openingOf(hit, markedWords());
  return [
    words.length ? t("found by its words {words}", { words: words.join(", ") }) : (BY[hit.modality] ?? ""),
    start == null ? placeName(hit.place) : t("at {time}", { time: clock(start) }),
    hit.probability == null ? "" : `${likelihood(hit)} (${percent(hit.probability)})`,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** What can be read in a picture, as far as it was found. */
function writtenIn(hit) {
  const read = [hit, ...(hit.moments ?? [])].filter((part) => part.modality === "text" && part.snippet);
  if (!read.length) return null;
  const parts = read.map((part) => el("p", { class: "said" }, markedText(part.snippet, markedWords())));
  return el("div", { class: "written" }, el("h3", {}, t("Text in the picture")), parts);
}

function momentList(hit) {
  const moments = timedMoments(hit);
  if (!moments.length) return null;
  return el(
    "div",
    { class: "moments" },
    el("h3", {}, moments.length === 1 ? t("Moment") : t("Moments")),
    el(
      "ol",
      {},
      moments.map((moment) =>
        el(
          "li",
          { class: moment.segment_id === hit.segment_id ? "best" : null },
          button("time", clock(moment.start_s), () => playAt(dialog.querySelector("video, audio"), moment.start_s), { "aria-label": t("Play from {time}", { time: clock(moment.start_s) }) }),
          el("span", { class: "kind", data: { modality: moment.modality } }, kindOfMoment(moment)),
          moment.snippet ? el("span", { class: "said", dir: "auto", lang: moment.language || null }, markedText(moment.snippet, markedWords())) : null,
          doubtOf(moment) ? el("span", { class: "hint" }, doubtOf(moment)) : null,
        ),
      ),
    ),
  );
}

/** In which language something is said, and whether it was hardly understood. */
const doubtOf = ({ language, confidence }) => [language && languageName(language), confidence < UNSURE ? t("unsure") : ""].filter(Boolean).join(", ");

function why(hit) {
  const body = el("div");
  const box = el("details", { class: "why" }, el("summary", {}, t("Score {score}: how it was computed", { score: fixed(hit.score, 2) })), body);
  box.addEventListener("toggle", async () => {
    if (!box.open || body.childElementCount) return;
    try {
      const { explanation } = await import("./explanation.js");
      body.replaceChildren(explanation(await explained(hit, asking.signal), termNames(current())));
    } catch (error) {
      showError(body, error);
    }
  });
  return box;
}

function knownFacts(hit) {
  const metadata = hit.metadata ?? {};
  const facts = [
    [t("File"), hit.name],
    [t("Type"), hit.media_type],
    [t("Size"), hit.size_bytes ? bytes(hit.size_bytes) : ""],
    [t("Pixels"), metadata.width && metadata.height ? `${metadata.width} × ${metadata.height}` : ""],
    [t("Taken"), metadata.taken != null ? day(metadata.taken, "UTC") : ""],
    [t("Place"), [metadata.city, metadata.region, metadata.country].filter(Boolean).join(", ")],
    [t("At"), metadata.latitude != null ? `${metadata.latitude.toFixed(4)}, ${metadata.longitude.toFixed(4)}` : ""],
    [t("Camera"), metadata.camera_model ?? ""],
    [t("Changed"), metadata.modified ? day(metadata.modified) : ""],
    [t("Language"), metadata.language ? languageName(metadata.language) : ""],
    [t("Pages"), metadata.n_pages],
    [t("Author"), metadata.author],
    [t("Created"), metadata.created ? day(Date.parse(metadata.created) / 1000, "UTC") : ""],
    [t("Caption"), metadata.caption],
    [t("Rating"), metadata.rating],
    [t("Speech"), metadata.speech_s ? clock(metadata.speech_s) : ""],
    [t("Tags"), (hit.tags ?? []).join(", ")],
    ...Object.entries(metadata)
      .filter(([name]) => !HIDDEN_FACTS.includes(name))
      .map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]),
  ].filter(([, value]) => value);
  return el("dl", { class: "known" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

/** Asks a second time before it removes. */
function removeButton(hit) {
  let isRemoving = false;
  const remove = button("small quiet", [icon("trash"), t("Remove")], async (event) => {
    if (isRemoving || event.detail > 1) return; // the second of a double click is no second answer
    if (!remove.classList.contains("sure")) {
      remove.classList.add("sure");
      remove.replaceChildren(icon("trash"), t("Remove from the library?"));
      return;
    }
    isRemoving = true;
    // Else it might be answered when the file is no longer there.
    asking.abort();
    asking = new AbortController();
    const resume = [dialog, cardOf(hit.asset_id)].filter(Boolean).map(stopLoading);
    try {
      await deleteAsset(hit.asset_id);
      dialog.close();
      forgetAsset(hit.asset_id);
    } catch (error) {
      isRemoving = false;
      for (const load of resume) load();
      const problem = el("div");
      remove.after(problem);
      showError(problem, error);
    }
  });
  return remove;
}
